//! The fields of requests and their names in each API.

use crate::telemetry::Api;

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The user.
    UserId,
    /// Several users.
    UserIds,
    /// All users instead of several; gRPC API only.
    Everyone,
    /// The session.
    SessionId,
    /// The availability of a pair.
    Availability,
    /// The activity of a pair.
    Activity,
    /// Several availabilities; in the HTTP API a filter.
    Availabilities,
    /// How long a session or a preferred presence lasts.
    ExpirationDuration,
    /// How long a call waits; gRPC API only.
    WaitDuration,
    /// How long a held session outlives a broken stream.
    Grace,
    /// The items of a batch.
    Requests,
    /// The text of a status message.
    Content,
    /// The format of that text; HTTP API only.
    ContentType,
    /// When a status message expires.
    ExpireTime,
    /// The time zone of that time; HTTP API only.
    TimeZone,
    /// The type of a work location.
    WorkLocationType,
    /// The place of a work location.
    PlaceId,
    /// The size of a page.
    PageSize,
    /// The start of a page.
    PageToken,
    /// The fields of a presence; gRPC API only.
    View,
    /// The instant to explain.
    At,
    /// The start of a range of time.
    From,
    /// The end of a range of time.
    To,
    /// The parts of a history.
    Parts,
    /// When an application observed what it writes.
    ObservedTime,
    /// The text of a session.
    Message,
    /// A subscription.
    SubscriptionId,
    /// The users of a subscription; HTTP API only.
    Resource,
    /// The kind of changes; HTTP API only.
    ChangeType,
    /// The receiver of notifications.
    Url,
    /// The receiver of lifecycle notifications; HTTP API only.
    LifecycleUrl,
    /// A text that notifications repeat; HTTP API only.
    ClientState,
    /// When a subscription ends.
    SubscriptionExpireTime,
    /// Whether notifications have presences; HTTP API only.
    IncludeResourceData,
    /// The certificate that encrypts presences; HTTP API only.
    EncryptionCertificate,
    /// The subscriber's name of the certificate; HTTP API only.
    EncryptionCertificateId,
    /// How long a lower availability must last.
    SettleDuration,
    /// The keys that sign notifications; gRPC API only.
    SigningKeys,
}

/// The position of a field in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A field of the request.
    Field(Field),
    /// An item of a repeated field.
    Item(Field, usize),
    /// A field of an item of `requests`.
    InRequest(usize, Field),
}

impl Field {
    /// The name in the proto or in Graph's JSON, path and query.
    #[must_use]
    pub const fn name(self, api: Api) -> &'static str {
        let (proto, graph) = match self {
            Self::UserId => ("user_id", "id"),
            Self::UserIds => ("user_ids", "ids"),
            Self::Everyone => ("everyone", "everyone"),
            Self::SessionId => ("session_id", "sessionId"),
            Self::Availability => ("availability", "availability"),
            Self::Activity => ("activity", "activity"),
            Self::Availabilities => ("availabilities", "$filter"),
            Self::ExpirationDuration => ("expiration_duration", "expirationDuration"),
            Self::WaitDuration => ("wait_duration", "waitDuration"),
            Self::Grace => ("grace", "grace"),
            Self::Requests => ("requests", "requests"),
            Self::Content => ("content", "statusMessage.message.content"),
            Self::ContentType => ("content_type", "statusMessage.message.contentType"),
            Self::ExpireTime => ("expire_time", "statusMessage.expiryDateTime.dateTime"),
            Self::TimeZone => ("time_zone", "statusMessage.expiryDateTime.timeZone"),
            Self::WorkLocationType => ("work_location_type", "workLocationType"),
            Self::PlaceId => ("place_id", "placeId"),
            Self::PageSize => ("page_size", "$top"),
            Self::PageToken => ("page_token", "$skiptoken"),
            Self::View => ("view", "$select"),
            Self::At => ("at", "at"),
            Self::From => ("from", "from"),
            Self::To => ("to", "to"),
            Self::Parts => ("parts", "parts"),
            Self::ObservedTime => ("observed_time", "observedDateTime"),
            Self::Message => ("message", "message"),
            Self::SubscriptionId => ("subscription_id", "id"),
            Self::Resource => ("user_ids", "resource"),
            Self::ChangeType => ("change_type", "changeType"),
            Self::Url => ("url", "notificationUrl"),
            Self::LifecycleUrl => ("lifecycle_url", "lifecycleNotificationUrl"),
            Self::ClientState => ("client_state", "clientState"),
            Self::SubscriptionExpireTime => ("expire_time", "expirationDateTime"),
            Self::IncludeResourceData => ("include_resource_data", "includeResourceData"),
            Self::EncryptionCertificate => ("encryption_certificate", "encryptionCertificate"),
            Self::EncryptionCertificateId => ("encryption_certificate_id", "encryptionCertificateId"),
            Self::SettleDuration => ("settle_duration", "settleDuration"),
            Self::SigningKeys => ("signing_keys", "signingKeys"),
        };
        match api {
            Api::Grpc => proto,
            Api::Http => graph,
        }
    }
}

impl Path {
    /// The path in the API's spelling, e.g. `requests[3].session_id` in the gRPC API.
    #[must_use]
    pub fn name(self, api: Api) -> String {
        match self {
            Self::Field(field) => field.name(api).to_owned(),
            Self::Item(field, index) => format!("{}[{index}]", field.name(api)),
            Self::InRequest(index, field) => {
                format!("{}[{index}].{}", Field::Requests.name(api), field.name(api))
            }
        }
    }
}
