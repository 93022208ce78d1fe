//! What subscriptions and notifications look like.

use presenced::{
    grpc::pb::{
        CreateSubscriptionRequest, DeleteSubscriptionRequest, GetSubscriptionRequest,
        ListSubscriptionsRequest, NotificationFormat, UpdateSubscriptionRequest,
    },
    notify::SigningKey,
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use super::Fixture;
use crate::support::{client::Outcome::Done, database::Engine, on_every_engine};

on_every_engine![
    graph_makes_reads_changes_and_ends_a_subscription,
    grpc_makes_reads_changes_and_ends_a_subscription,
    a_notification_of_graph_names_the_user,
    a_notification_of_the_service_is_signed_and_has_the_presence,
];

async fn graph_makes_reads_changes_and_ends_a_subscription(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let created = fixture.send(Method::POST, "/subscriptions", "", &fixture.body(&["ada"])).await;
    let root = format!("http://{}/v1.0", fixture.server.addresses.http);
    let id = created.body["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "@odata.context": format!("{root}/$metadata#subscriptions/$entity"),
        "id": id,
        "resource": "/communications/presences/ada",
        "applicationId": null,
        "changeType": "updated",
        "clientState": "state",
        "notificationUrl": fixture.url(),
        "lifecycleNotificationUrl": null,
        "expirationDateTime": "2026-11-22T03:40:00.0000000Z",
        "creatorId": null,
        "includeResourceData": false,
        "latestSupportedTlsVersion": "v1_2",
        "encryptionCertificateId": null,
        "settleDuration": "PT0S",
    });
    assert_eq!((created.status, &created.body), (201, &expected));
    let path = format!("/subscriptions/{id}");
    assert_eq!(fixture.send(Method::GET, &path, "", &Value::Null).await.body, expected);
    let listed = fixture.send(Method::GET, "/subscriptions", "", &Value::Null).await.body;
    assert_eq!(listed["value"][0]["id"], id.as_str());
    let address = fixture.receiver.address;
    assert_eq!(listed["value"][0]["notificationUrl"], format!("https://{address}/notify"));
    let later = json!({ "expirationDateTime": "2026-11-22T03:45:00Z" });
    let updated = fixture.send(Method::PATCH, &path, "", &later).await;
    assert_eq!(updated.body["expirationDateTime"], "2026-11-22T03:45:00.0000000Z");
    let again = fixture.send(Method::POST, &format!("{path}/reauthorize"), "", &Value::Null).await;
    assert_eq!((again.status, again.body), (204, Value::Null));
    assert_eq!(fixture.send(Method::DELETE, &path, "", &Value::Null).await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        let gone = fixture.send(method, &path, "", &Value::Null).await;
        gone.is_refused(404, "NotFound");
        assert_eq!(gone.body["error"]["innerError"]["code"], "SUBSCRIPTION_NOT_FOUND");
    }
    fixture.server.stop().await;
}

async fn grpc_makes_reads_changes_and_ends_a_subscription(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let request = CreateSubscriptionRequest { everyone: true, ..Default::default() };
    let created = fixture.subscribe_grpc(request).await.unwrap();
    assert!(created.signing_key.starts_with("whsec_"), "{}", created.signing_key);
    let subscription = created.subscription.unwrap();
    assert!(subscription.everyone && subscription.user_ids.is_empty());
    assert_eq!(subscription.format(), NotificationFormat::Service);
    assert_eq!(subscription.url, fixture.url());
    let mut client = fixture.grpc().await;
    let subscription_id = subscription.subscription_id.clone();
    let get = GetSubscriptionRequest { subscription_id: subscription_id.clone() };
    let read = client.get_subscription(get).await.unwrap().into_inner().subscription.unwrap();
    assert_eq!(read.create_time, subscription.create_time);
    let list = ListSubscriptionsRequest::default();
    let listed = client.list_subscriptions(list).await.unwrap().into_inner();
    assert_eq!(listed.subscriptions.len(), 1);
    assert!(!listed.subscriptions[0].url.contains("secret"));
    let key = "whsk_BWZhcgCd7g0hVzpgqVDZ/Ju8Lhf8kPTbWVKWg3nYNS2dxYOH5aEkR8GQrPUmM1mVKVdMMyDn9xVUiAhXkLVUNA==";
    let invalid = UpdateSubscriptionRequest {
        subscription_id: subscription_id.clone(),
        signing_keys: vec![key.to_owned()],
        ..Default::default()
    };
    let refused = client.update_subscription(invalid).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(!refused.message().contains("BWZhcg"), "{}", refused.message());
    let update = UpdateSubscriptionRequest {
        subscription_id: subscription_id.clone(),
        signing_keys: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()],
        ..Default::default()
    };
    client.update_subscription(update).await.unwrap();
    let delete = DeleteSubscriptionRequest { subscription_id };
    client.delete_subscription(delete.clone()).await.unwrap();
    assert_eq!(client.delete_subscription(delete).await.unwrap_err().code(), Code::NotFound);
    fixture.server.stop().await;
}

async fn a_notification_of_graph_names_the_user(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let id = fixture.subscribe(&["ada", "bob"]).await;
    assert_eq!(fixture.api().set("ada", "app", "Busy/InACall", "PT1H").await, Done);
    let bodies = fixture.received(1).await;
    let tenant = "00000000-0000-0000-0000-000000000000";
    let item = json!({
        "subscriptionId": id,
        "clientState": "state",
        "changeType": "updated",
        "resource": "communications/presences/ada",
        "subscriptionExpirationDateTime": "2026-11-22T03:40:00.0000000Z",
        "resourceData": {
            "@odata.id": "users/ada/presence",
            "@odata.type": "#microsoft.graph.presence",
            "id": "ada",
        },
        "tenantId": tenant,
        "organizationId": tenant,
    });
    assert_eq!(bodies, [json!({ "value": [item] })]);
    fixture.server.stop().await;
}

async fn a_notification_of_the_service_is_signed_and_has_the_presence(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let request = CreateSubscriptionRequest { user_ids: vec!["ada".to_owned()], ..Default::default() };
    let created = fixture.subscribe_grpc(request).await.unwrap();
    assert_eq!(fixture.api().set_text("ada", "app", "Busy/InACall", "In a call").await, Done);
    let body = fixture.received(1).await.remove(0);
    assert_eq!(body["type"], "presence.changed");
    let presence = json!({
        "userId": "ada",
        "availability": "AVAILABILITY_BUSY",
        "activity": "ACTIVITY_IN_A_CALL",
        "sequenceNumber": "A1795315800000",
        "changeTime": "2026-11-22T02:50:00.000Z",
        "statusMessage": { "content": "In a call" },
    });
    let data = json!({
        "subscriptionId": created.subscription.unwrap().subscription_id,
        "generation": 1,
        "count": 1,
        "presences": [presence],
    });
    assert_eq!(body["data"], data);
    let received = fixture.notifications().remove(0);
    let header = |name: &str| received.headers[name].to_str().unwrap().to_owned();
    let key = SigningKey::parse(&created.signing_key).unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    assert_eq!(timestamp, 1_795_315_800);
    assert_eq!(header("webhook-signature"), key.sign(&header("webhook-id"), timestamp, &received.body));
    fixture.server.stop().await;
}
