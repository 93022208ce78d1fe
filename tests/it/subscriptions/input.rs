//! Invalid subscriptions.

use presenced::grpc::pb::{CreateSubscriptionRequest, GetSubscriptionRequest};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use super::Fixture;
use crate::support::{database::Engine, receiver::accept};

#[tokio::test]
async fn each_invalid_property_is_named_with_what_is_allowed() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let ids: Vec<_> = (0..651).map(|number| format!("'{number}'")).collect();
    let many = format!("communications/presences?$filter=id in ({})", ids.join(","));
    let long = "x".repeat(129);
    for (property, value, part) in [
        ("changeType", json!("created"), "must be \"updated\""),
        ("changeType", json!(null), "is required"),
        ("resource", json!("users/ada/presence"), "communications/presences/{id}"),
        ("resource", json!("/me/messages"), "communications/presences?$filter=id in"),
        ("resource", json!(many), "at most 650 items"),
        ("resource", json!("communications/presences/*"), "must be one id"),
        ("resource", json!(5), "communications/presences"),
        ("notificationUrl", json!(null), "is required"),
        ("notificationUrl", json!("http://example.com/"), "https"),
        ("notificationUrl", json!("https://user:secret@example.com/"), "user"),
        ("notificationUrl", json!("https://10.0.0.1/"), "not allowed"),
        ("notificationUrl", json!("https://2852039166/latest"), "not allowed"),
        ("notificationUrl", json!("nowhere"), "URL"),
        ("lifecycleNotificationUrl", json!("https://[::1]/"), "not allowed"),
        ("clientState", json!(long), "128"),
        ("clientState", json!("a\u{0}"), "128"),
        ("expirationDateTime", json!(null), "is required"),
        ("expirationDateTime", json!("2026-11-22T02:50:00Z"), "must be later than now"),
        ("expirationDateTime", json!("2026-11-22T03:50:00.001Z"), "at most PT1H later"),
        ("expirationDateTime", json!("tomorrow"), "with an offset"),
        ("includeResourceData", json!("yes"), "must be true or false"),
        ("settleDuration", json!("PT61S"), "PT1M"),
    ] {
        let mut body = fixture.body(&["ada"]);
        body[property] = value;
        let refused = fixture.send(Method::POST, "/subscriptions", "", &body).await;
        refused.is_refused(400, "InvalidArgument");
        assert_eq!(refused.targets(), [property], "{}", refused.body);
        assert!(refused.message().contains(part), "{property}: {}", refused.message());
        assert!(!refused.message().contains("secret"), "{}", refused.message());
    }
    assert_eq!(fixture.receiver.connections(), 0, "nothing was sent");
    fixture.server.stop().await;
}

#[tokio::test]
async fn presences_need_a_certificate_and_its_name() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let mut body = fixture.body(&["ada"]);
    body["includeResourceData"] = json!(true);
    let refused = fixture.send(Method::POST, "/subscriptions", "", &body).await;
    assert_eq!(refused.targets(), ["encryptionCertificate", "encryptionCertificateId"]);
    body["encryptionCertificateId"] = json!("x".repeat(129));
    body["encryptionCertificate"] = json!("bm9uZQ==");
    let refused = fixture.send(Method::POST, "/subscriptions", "", &body).await;
    assert_eq!(refused.targets(), ["encryptionCertificate", "encryptionCertificateId"]);
    fixture.server.stop().await;
}

#[tokio::test]
async fn each_invalid_field_of_grpc_is_named() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let valid = || CreateSubscriptionRequest { user_ids: vec!["ada".to_owned()], ..Default::default() };
    let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
    for (field, request) in [
        ("user_ids", CreateSubscriptionRequest { user_ids: Vec::new(), ..valid() }),
        ("everyone", CreateSubscriptionRequest { everyone: true, ..valid() }),
        ("signing_keys", CreateSubscriptionRequest { signing_keys: keys(&["secret"]), ..valid() }),
        ("signing_keys", CreateSubscriptionRequest { signing_keys: keys(&["a", "b", "c"]), ..valid() }),
        (
            "expire_time",
            CreateSubscriptionRequest {
                expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
                ..valid()
            },
        ),
        (
            "settle_duration",
            CreateSubscriptionRequest {
                settle_duration: Some(prost_types::Duration { seconds: 61, nanos: 0 }),
                ..valid()
            },
        ),
    ] {
        let status = fixture.subscribe_grpc(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    let get = GetSubscriptionRequest { subscription_id: "x".to_owned() };
    let status = fixture.grpc().await.get_subscription(get).await.unwrap_err();
    assert!(status.message().contains("must be a GUID"), "{}", status.message());
    fixture.server.stop().await;
}

#[tokio::test]
async fn an_application_has_a_maximum_of_subscriptions() {
    let fixture = Fixture::with(Engine::Sqlite, &["--subscriptions-max", "1"], accept).await;
    fixture.subscribe(&["ada"]).await;
    let refused = fixture.send(Method::POST, "/subscriptions", "", &fixture.body(&["ada"])).await;
    refused.is_refused(429, "TooManyRequests");
    assert_eq!(refused.body["error"]["innerError"]["code"], "TOO_MANY_SUBSCRIPTIONS");
    fixture.server.stop().await;
}

#[tokio::test]
async fn graphs_limit_of_one_subscription_can_be_set() {
    let fixture = Fixture::with(Engine::Sqlite, &["--graph-limits"], accept).await;
    let id = fixture.subscribe(&["ada"]).await;
    let refused = fixture.send(Method::POST, "/subscriptions", "", &fixture.body(&["bob"])).await;
    refused.is_refused(409, "Conflict");
    let text = "A subscripton already exists. It must be deleted before a another can be made.";
    assert_eq!(refused.message(), text);
    fixture.send(Method::DELETE, &format!("/subscriptions/{id}"), "", &Value::Null).await;
    fixture.subscribe(&["bob"]).await;
    fixture.server.stop().await;
}
