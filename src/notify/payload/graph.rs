//! Bodies in Graph's form. Graph: changeNotificationCollection.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use uuid::Uuid;

use super::body::{ArrayAt, Body, PayloadError};
use crate::{
    notify::{certificate::Certificate, encryption::EncryptedContent},
    presence::{Presence, Timestamp, UserId},
    store::Subscription,
};

/// The characters of a user id that are percent-encoded in the paths of a notification.
const ENCODED_IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

const PRESENCE_TYPE: &str = "#microsoft.graph.presence";

/// The start of a collection, up to its items.
const HEAD: &str = r#"{"value":["#;

/// What a subscription with encrypted presences needs. Graph: includeResourceData.
#[derive(Clone, Copy, Debug)]
pub struct RichContent<'a> {
    /// The subscriber's certificate.
    pub certificate: &'a Certificate,
    /// The subscriber's name of it.
    pub certificate_id: &'a str,
    /// The token that shows the origin of the notification.
    pub validation_token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Collection<'a, T> {
    value: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_tokens: Option<[&'a str; 1]>,
}

/// Graph: changeNotification.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    subscription_id: Uuid,
    client_state: Option<&'a str>,
    change_type: &'static str,
    tenant_id: Uuid,
    resource: String,
    subscription_expiration_date_time: String,
    resource_data: ResourceData<'a>,
    organization_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted_content: Option<EncryptedContent>,
}

#[derive(Serialize)]
struct ResourceData<'a> {
    #[serde(rename = "@odata.id")]
    odata_id: String,
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    id: &'a str,
}

/// The content that is encrypted.
#[derive(Serialize)]
struct Clear<'a> {
    #[serde(flatten)]
    data: ResourceData<'a>,
    availability: &'static str,
    activity: &'static str,
}

/// Graph: changeNotification with lifecycleEvent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleItem<'a> {
    lifecycle_event: &'static str,
    subscription_id: Uuid,
    subscription_expiration_date_time: String,
    client_state: Option<&'a str>,
    tenant_id: Uuid,
    resource: &'a str,
    organization_id: Uuid,
}

/// The body of a notification about presences: with their ids only, or with the encrypted presences.
pub fn graph_body<'a>(
    subscription: &Subscription,
    presences: impl IntoIterator<Item = &'a Presence>,
    rich: Option<RichContent<'_>>,
) -> Result<Body, PayloadError> {
    let validation_tokens = rich.map(|rich| [rich.validation_token]);
    let envelope = Collection::<Item<'_>> { value: &[], validation_tokens };
    let items = presences.into_iter().map(|presence| item(subscription, presence, rich));
    Body::fill(&envelope, ArrayAt::FromStart(HEAD.len()), items)
}

/// The body that asks the subscriber to authorize the subscription again.
pub fn graph_reauthorization(
    Subscription { key, request, expires_at, .. }: &Subscription,
) -> Result<Vec<u8>, PayloadError> {
    let event = LifecycleItem {
        lifecycle_event: "reauthorizationRequired",
        subscription_id: key.subscription_id,
        subscription_expiration_date_time: utc(*expires_at),
        client_state: request.client_state.as_deref(),
        tenant_id: key.tenant_id,
        resource: &request.resource,
        organization_id: key.tenant_id,
    };
    Ok(serde_json::to_vec(&Collection { value: &[event], validation_tokens: None })?)
}

fn item<'a>(
    Subscription { key, request, expires_at, .. }: &'a Subscription,
    presence: &'a Presence,
    rich: Option<RichContent<'_>>,
) -> Result<Item<'a>, PayloadError> {
    let encrypted_content = rich.map(|rich| encrypt(presence, rich)).transpose()?;
    Ok(Item {
        subscription_id: key.subscription_id,
        client_state: request.client_state.as_deref(),
        change_type: "updated",
        tenant_id: key.tenant_id,
        resource: format!("communications/presences/{}", encode(&presence.user_id)),
        subscription_expiration_date_time: utc(*expires_at),
        resource_data: data(presence),
        organization_id: key.tenant_id,
        encrypted_content,
    })
}

fn encrypt(presence: &Presence, rich: RichContent<'_>) -> Result<EncryptedContent, PayloadError> {
    let clear = Clear {
        data: data(presence),
        availability: presence.pair.availability.into(),
        activity: presence.pair.activity.into(),
    };
    let clear = serde_json::to_vec(&clear)?;
    Ok(EncryptedContent::encrypt(rich.certificate, rich.certificate_id, &clear)?)
}

fn data(presence: &Presence) -> ResourceData<'_> {
    ResourceData {
        odata_id: format!("users/{}/presence", encode(&presence.user_id)),
        odata_type: PRESENCE_TYPE,
        id: presence.user_id.as_str(),
    }
}

fn encode(user_id: &UserId) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(user_id.as_str(), ENCODED_IN_PATHS)
}

fn utc(at: Timestamp) -> String {
    at.graph_date_time() + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::{
        body::{BODY_MAX_BYTES, PRESENCES_MAX},
        tests::{presence, subscription, text},
    };

    #[test]
    fn a_basic_notification_has_the_ids_alone() {
        let body =
            graph_body(&subscription(Some("mine")), [&presence("ada"), &presence("a#b")], None).unwrap();
        let expected = concat!(
            r#"{"value":[{"subscriptionId":"00000000-0000-0000-0000-000000000002","clientState":"mine","#,
            r#""changeType":"updated","tenantId":"00000000-0000-0000-0000-000000000001","#,
            r#""resource":"communications/presences/ada","#,
            r#""subscriptionExpirationDateTime":"2026-11-22T02:50:00.1230000Z","#,
            r##""resourceData":{"@odata.id":"users/ada/presence","@odata.type":"#microsoft.graph.presence","##,
            r#""id":"ada"},"organizationId":"00000000-0000-0000-0000-000000000001"},"#,
            r#"{"subscriptionId":"00000000-0000-0000-0000-000000000002","clientState":"mine","#,
            r#""changeType":"updated","tenantId":"00000000-0000-0000-0000-000000000001","#,
            r#""resource":"communications/presences/a%23b","#,
            r#""subscriptionExpirationDateTime":"2026-11-22T02:50:00.1230000Z","#,
            r##""resourceData":{"@odata.id":"users/a%23b/presence","@odata.type":"#microsoft.graph.presence","##,
            r##""id":"a#b"},"organizationId":"00000000-0000-0000-0000-000000000001"}]}"##,
        );
        assert_eq!((text(body.json), body.presences), (expected.to_owned(), 2));
    }

    #[test]
    fn a_rich_notification_has_encrypted_presences_and_a_token() {
        let certificate = Certificate::parse_stored(include_str!("../fixtures/rsa2048.pem")).unwrap();
        let rich = RichContent { certificate: &certificate, certificate_id: "c", validation_token: "t" };
        let body = graph_body(&subscription(None), [&presence("ada")], Some(rich)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
        assert_eq!(json["validationTokens"], serde_json::json!(["t"]));
        assert!(json["value"][0]["clientState"].is_null());
        assert_eq!(json["value"][0]["encryptedContent"]["encryptionCertificateId"], "c");
        assert!(!text(body.json).contains("InACall"), "the presence is encrypted");
    }

    #[test]
    fn the_encrypted_content_is_graphs() {
        let presence = presence("ada");
        let clear = Clear { data: data(&presence), availability: "Busy", activity: "InACall" };
        let expected = concat!(
            r##"{"@odata.id":"users/ada/presence","@odata.type":"#microsoft.graph.presence","##,
            r#""id":"ada","availability":"Busy","activity":"InACall"}"#,
        );
        assert_eq!(serde_json::to_string(&clear).unwrap(), expected);
    }

    #[test]
    fn a_lifecycle_notification_is_graphs() {
        let expected = concat!(
            r#"{"value":[{"lifecycleEvent":"reauthorizationRequired","#,
            r#""subscriptionId":"00000000-0000-0000-0000-000000000002","#,
            r#""subscriptionExpirationDateTime":"2026-11-22T02:50:00.1230000Z","clientState":"mine","#,
            r#""tenantId":"00000000-0000-0000-0000-000000000001","resource":"/communications/presences","#,
            r#""organizationId":"00000000-0000-0000-0000-000000000001"}]}"#,
        );
        assert_eq!(text(graph_reauthorization(&subscription(Some("mine"))).unwrap()), expected);
    }

    #[test]
    fn a_body_has_up_to_100_presences_and_256_kib() {
        let presences: Vec<_> = (0..150).map(|index| presence(&format!("user-{index}"))).collect();
        let body = graph_body(&subscription(None), &presences, None).unwrap();
        assert_eq!(body.presences, PRESENCES_MAX);
        let json: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
        assert_eq!(json["value"].as_array().unwrap().len(), PRESENCES_MAX);
        assert_eq!(json["value"][99]["resourceData"]["id"], "user-99");

        // Each character is six in JSON.
        let long = subscription(Some(&"\u{1}".repeat(900)));
        let body = graph_body(&long, &presences, None).unwrap();
        assert!(body.presences > 30 && body.presences < PRESENCES_MAX, "{}", body.presences);
        assert!(body.json.len() <= BODY_MAX_BYTES && body.json.len() > BODY_MAX_BYTES - 7_000);
        let json: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
        assert_eq!(json["value"].as_array().unwrap().len(), body.presences);

        // A single presence is sent, whatever its size.
        let huge = subscription(Some(&"\u{1}".repeat(BODY_MAX_BYTES)));
        assert_eq!(graph_body(&huge, &presences, None).unwrap().presences, 1);
        assert_eq!(text(graph_body(&huge, [], None).unwrap().json), r#"{"value":[]}"#);
    }
}
