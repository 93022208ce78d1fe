//! Subscriptions to change notifications: what the methods of the store take and return.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use crate::presence::{Author, SessionId, Timestamp, UserId};

/// A subscription of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// The organisation. No operation crosses tenants.
    pub tenant_id: Uuid,
    /// The subscription.
    pub subscription_id: Uuid,
}

/// A stored subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The key.
    pub key: SubscriptionKey,
    /// The application, and the user for whom it acted.
    pub created_by: Author,
    /// What the subscriber asked for.
    pub request: SubscriptionRequest,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The token that last authorized it; `None` without authentication.
    pub authorized: Option<Authorized>,
    /// Every change before this time was delivered, or is older than the subscription.
    pub delivered_through: Timestamp,
    /// The number of times that a replica took it over. 0 before the first one.
    pub generation: u64,
    /// Since when deliveries fail.
    pub failing_since: Option<Timestamp>,
    /// What the receiver answered, or why it could not be reached, when a delivery last failed.
    pub last_error: Option<String>,
}

/// The life of the token that authorized a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// When the subscription was authorized.
    pub at: Timestamp,
    /// When the token expires. Nothing is delivered from then on.
    pub until: Timestamp,
    /// Whether the subscriber was asked to authorize it again.
    pub reauthorization_sent: bool,
}

impl Authorized {
    /// Whether at most a quarter of the token's life is left at `now`. Graph: `reauthorizationRequired`.
    #[must_use]
    pub fn is_short(&self, now: Timestamp) -> bool {
        now >= self.until - self.until.since(self.at) / 4
    }
}

/// What a subscriber asks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRequest {
    /// The form of the notifications.
    pub format: NotificationFormat,
    /// The users; `None` is everybody of the tenant.
    #[serde(serialize_with = "write_user_ids", deserialize_with = "read_user_ids")]
    pub user_ids: Option<Vec<UserId>>,
    /// The users as the subscriber named them. Graph: resource.
    pub resource: String,
    /// The receiver of notifications.
    pub url: String,
    /// The receiver of lifecycle notifications, if there is one.
    pub lifecycle_url: Option<String>,
    /// A text that each notification repeats.
    pub client_state: Option<String>,
    /// The certificate with which presences are encrypted; `None` sends notifications without them.
    pub certificate: Option<EncryptionCertificate>,
    /// The time for which a lower availability must last before it is sent.
    pub settle_time: Duration,
    /// The keys that sign the notifications of the format `Service`: the current one, and the previous
    /// one while the subscriber replaces it. A secret.
    #[serde(skip)]
    pub signing_keys: Vec<String>,
}

/// The form of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotificationFormat {
    /// Graph: changeNotificationCollection.
    Graph,
    /// That of this service, signed by the Standard Webhooks specification.
    Service,
}

/// The certificate of a subscriber. Graph: encryptionCertificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionCertificate {
    /// The certificate in DER, as base64.
    pub base64: String,
    /// The subscriber's name of it. Graph: encryptionCertificateId.
    pub id: String,
}

/// A subscription to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSubscription {
    /// The key.
    pub key: SubscriptionKey,
    /// The author.
    pub created_by: Author,
    /// What the subscriber asked for.
    pub request: SubscriptionRequest,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the token expires; `None` without authentication.
    pub authorized_until: Option<Timestamp>,
    /// The maximum number of subscriptions of the application in the tenant.
    pub application_max: u32,
    /// The maximum number of subscriptions of the tenant.
    pub tenant_max: u32,
}

/// The result of creating a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It was created.
    Created(Box<Subscription>),
    /// The application has its maximum number of subscriptions.
    ApplicationFull,
    /// The tenant has its maximum number of subscriptions.
    TenantFull,
}

/// A change of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateSubscription {
    /// The key.
    pub key: SubscriptionKey,
    /// When it ends; `None` keeps that.
    pub expires_at: Option<Timestamp>,
    /// When the new token expires; `None` without authentication.
    pub authorized_until: Option<Timestamp>,
    /// What the subscriber asks for; `None` keeps that.
    pub request: Option<SubscriptionRequest>,
}

/// A page of subscriptions of one tenant to list, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSubscriptions {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Only those of this application (of callers without one, if it is `Some(None)`); `None` lists all.
    pub application: Option<Option<SessionId>>,
    /// Only subscriptions after this one.
    pub after: Option<Uuid>,
    /// The maximum number of subscriptions.
    pub limit: u32,
}

/// What a replica writes and takes when it renews its leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSubscriptions {
    /// The name of the replica.
    pub owner: Uuid,
    /// The duration of the leases.
    pub lease: Duration,
    /// The maximum number of subscriptions to take over.
    pub take_max: u32,
    /// What was delivered of the subscriptions that the replica has; one report for each at most.
    pub reports: Vec<DeliveryReport>,
}

/// What a replica writes when it ends its leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseSubscriptions {
    /// The name of the replica.
    pub owner: Uuid,
    /// What was delivered of the subscriptions that the replica has; one report for each at most.
    pub reports: Vec<DeliveryReport>,
}

/// What was delivered of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The subscription.
    pub key: SubscriptionKey,
    /// The generation in which the replica has it. Another one makes the report void.
    pub generation: u64,
    /// Every change before this time was delivered.
    pub delivered_through: Timestamp,
    /// Since when deliveries fail.
    pub failing_since: Option<Timestamp>,
    /// What the receiver answered, or why it could not be reached, when a delivery last failed.
    pub last_error: Option<String>,
    /// Whether the subscriber was asked to authorize the subscription again, since
    /// [`Authorized::at`] was this time.
    pub reauthorization_sent: Option<Timestamp>,
}

/// A subscription whose deliveries fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingSubscription {
    /// The subscription.
    pub subscription_id: String,
    /// The receiver of notifications. It can contain a secret.
    pub url: String,
    /// Since when deliveries fail.
    pub since: Timestamp,
    /// What the receiver last answered, or why it could not be reached.
    pub last_error: String,
}

/// The columns of a failing subscription.
pub(super) type FailingRow = (String, String, i64, Option<String>);

impl FailingSubscription {
    /// Reads a row. A URL that a later version stores in another way is empty.
    pub(super) fn read((subscription_id, request, since, last_error): FailingRow) -> Self {
        let request: serde_json::Value = serde_json::from_str(&request).unwrap_or_default();
        let url = request.get("url").and_then(|url| url.as_str()).unwrap_or_default().to_owned();
        let (since, last_error) = (Timestamp::from_millis(since), last_error.unwrap_or_default());
        Self { subscription_id, url, since, last_error }
    }
}

/// A key pair of the service, which signs tokens in notifications.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// The name of the key.
    pub key_id: String,
    /// The private key, in PKCS#8 and base64. A secret.
    pub private_key: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for SigningKeyRow {
    /// Writes no private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyRow").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscriptionRequest {
    /// Writes no secrets: no key, no client state, and no query of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionRequest")
            .field("format", &self.format)
            .field("user_ids", &self.user_ids)
            .field("resource", &self.resource)
            .field("url", &without_query(&self.url))
            .field("lifecycle_url", &self.lifecycle_url.as_deref().map(without_query))
            .field("certificate", &self.certificate)
            .field("settle_time", &self.settle_time)
            .finish_non_exhaustive()
    }
}

fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn write_user_ids<S: Serializer>(user_ids: &Option<Vec<UserId>>, serializer: S) -> Result<S::Ok, S::Error> {
    let texts = user_ids.as_ref().map(|user_ids| user_ids.iter().map(UserId::as_str).collect::<Vec<_>>());
    texts.serialize(serializer)
}

fn read_user_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<UserId>>, D::Error> {
    let Some(texts) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(None) };
    let parse = |text: String| text.parse().map_err(|_| D::Error::custom("a stored user id is invalid"));
    texts.into_iter().map(parse).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_text_of_a_request_has_no_secrets() {
        let request = SubscriptionRequest {
            format: NotificationFormat::Service,
            user_ids: None,
            resource: "communications/presences".to_owned(),
            url: "https://example.com/notify?code=secret".to_owned(),
            lifecycle_url: Some("https://example.com/ends?code=secret".to_owned()),
            client_state: Some("secret".to_owned()),
            certificate: None,
            settle_time: Duration::ZERO,
            signing_keys: vec!["whsec_secret".to_owned()],
        };
        let text = format!("{request:?}");
        assert!(
            text.contains("https://example.com/notify") && text.contains("https://example.com/ends"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}
