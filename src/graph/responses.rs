//! The bodies that are written. Their comments are the document's at
//! `/openapi.json`.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::{Map, Value};
use strum::VariantArray as _;
use utoipa::{ToSchema, openapi::schema::Schema};

use super::{
    odata::{Select, ServiceRoot},
    refusal::Refusal,
    schemas::{camel_case, one_of, shown_activity, shown_availability},
};
use crate::{
    presence::{StatusMessage, Timestamp, WorkLocation, WorkLocationSource, WorkLocationType},
    service::Presence,
};

/// What Graph calls a JSON answer.
const JSON: HeaderValue = HeaderValue::from_static(
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
);
const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");

/// What a user is shown as: all of the properties, unless `$select` asked for
/// less. Graph: presence.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Presence)]
pub(super) struct PresenceJson {
    /// What is in the answer; only of one presence that was asked for by itself.
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The user; a GUID in lower case.
    #[schema(required = false)]
    id: String,
    /// The base state.
    #[schema(required = false, schema_with = shown_availability)]
    availability: &'static str,
    /// Its supplement.
    #[schema(required = false, schema_with = shown_activity)]
    activity: &'static str,
    #[schema(required = false)]
    out_of_office_settings: OutOfOfficeSettings,
    /// What the user has to say; null if nothing.
    status_message: Option<StatusMessageJson>,
    /// When the presence last changed, as a text that sorts by it: of two
    /// presences of one user that differ the later has the greater number.
    #[schema(required = false, example = "A1795315800000")]
    sequence_number: String,
    #[schema(required = false)]
    work_location: WorkLocationJson,
}

/// Always empty: there is no calendar here. Graph: outOfOfficeSettings.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutOfOfficeSettings {
    #[schema(required = true, value_type = Option<String>)]
    message: (),
    is_out_of_office: bool,
}

/// A text for others to read. Graph: presenceStatusMessage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatusMessage)]
pub(super) struct StatusMessageJson {
    message: ItemBodyJson,
    /// When it ends by itself. Left out if it does not, or if somebody else
    /// than the user reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_date_time: Option<DateTimeTimeZoneJson>,
    /// When it was published. Left out if somebody else than the user reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T02:50:00.0000000Z")]
    published_date_time: Option<String>,
}

/// A text. Graph: itemBody.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ItemBody)]
pub(super) struct ItemBodyJson {
    content: String,
    #[schema(schema_with = text_only)]
    content_type: &'static str,
}

/// A time in UTC. Graph: dateTimeTimeZone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DateTimeTimeZone)]
pub(super) struct DateTimeTimeZoneJson {
    #[schema(example = "2026-11-22T17:30:00.0000000")]
    date_time: String,
    #[schema(schema_with = utc_only)]
    time_zone: &'static str,
}

/// Where a user works. Graph: userWorkLocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WorkLocation)]
pub(super) struct WorkLocationJson {
    /// Which place; null if that is not known.
    #[schema(required = true)]
    place_id: Option<String>,
    /// Who said so.
    #[schema(schema_with = shown_source)]
    source: String,
    /// The kind of place.
    #[schema(schema_with = shown_location_type)]
    work_location_type: String,
}

/// Presences, in the order of the request. Graph: collection of presence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Presences)]
pub(super) struct CollectionJson {
    /// What is in the answer.
    #[serde(rename = "@odata.context")]
    pub(super) context: String,
    /// Where the next page is; left out on the last one.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    pub(super) next_link: Option<String>,
    /// The presences.
    #[schema(value_type = Vec<PresenceJson>)]
    pub(super) value: Vec<PresenceProperties>,
}

/// A presence, or the properties of it that were selected.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PresenceProperties {
    All(Box<PresenceJson>),
    Selected(Map<String, Value>),
}

impl PresenceProperties {
    /// The presence, reduced to the properties that were selected.
    pub(super) fn new(presence: PresenceJson, select: &Select) -> Self {
        let Some(selected) = select.properties() else { return Self::All(Box::new(presence)) };
        // A struct is always an object.
        let mut properties = match serde_json::to_value(presence) {
            Ok(Value::Object(properties)) => properties,
            _ => Map::new(),
        };
        properties.retain(|name, _| name.starts_with('@') || selected.contains(&name.as_str()));
        Self::Selected(properties)
    }
}

fn text_only() -> Schema {
    one_of(["text".to_owned()])
}

fn utc_only() -> Schema {
    one_of(["UTC".to_owned()])
}

fn shown_source() -> Schema {
    one_of(["none", "manual", "automatic"].map(ToOwned::to_owned))
}

fn shown_location_type() -> Schema {
    let set = WorkLocationType::VARIANTS.iter().map(|value| camel_case(value.into()));
    one_of(std::iter::once("unspecified".to_owned()).chain(set))
}

impl From<Presence> for PresenceJson {
    fn from(presence: Presence) -> Self {
        Self {
            context: None,
            id: presence.user_id.to_string(),
            availability: presence.pair.availability.into(),
            activity: presence.pair.activity.into(),
            out_of_office_settings: OutOfOfficeSettings::default(),
            status_message: presence.status_message.map(Into::into),
            sequence_number: presence.sequence_number.to_string(),
            work_location: presence.work_location.into(),
        }
    }
}

impl From<StatusMessage> for StatusMessageJson {
    fn from(message: StatusMessage) -> Self {
        Self {
            message: ItemBodyJson { content: message.content, content_type: "text" },
            expiry_date_time: message
                .expires_at
                .map(|at| DateTimeTimeZoneJson { date_time: date_time(at), time_zone: "UTC" }),
            published_date_time: message.published_at.map(|at| date_time(at) + "Z"),
        }
    }
}

impl From<Option<(WorkLocation, WorkLocationSource)>> for WorkLocationJson {
    fn from(location: Option<(WorkLocation, WorkLocationSource)>) -> Self {
        match location {
            Some((location, source)) => Self {
                place_id: location.place_id.map(|id| id.to_string()),
                source: camel_case(source.into()),
                work_location_type: camel_case(location.location_type.into()),
            },
            None => Self {
                place_id: None,
                source: "none".to_owned(),
                work_location_type: "unspecified".to_owned(),
            },
        }
    }
}

/// As Graph writes it: seven digits, and no zone.
fn date_time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.7f").to_string())
        .unwrap_or_default()
}

/// One presence, as the answer to a request for it.
pub(super) fn entity(root: &ServiceRoot, presence: Presence, select: &Select) -> Result<Response, Refusal> {
    let context = Some(root.entity_context(&presence.user_id, select));
    json(&PresenceProperties::new(PresenceJson { context, ..presence.into() }, select))
}

/// Presences, as the answer to a request for them.
pub(super) fn collection(
    context: String,
    next_link: Option<String>,
    presences: Vec<Presence>,
    select: &Select,
) -> Result<Response, Refusal> {
    let value =
        presences.into_iter().map(|presence| PresenceProperties::new(presence.into(), select)).collect();
    json(&CollectionJson { context, next_link, value })
}

/// An answer with a body. What it holds changes by itself: nobody may keep it.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| Refusal::internal(error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, JSON),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ODATA_VERSION, HeaderValue::from_static("4.0")),
    ];
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_user_sees_when_the_own_message_was_published_and_ends() {
        let message = StatusMessage {
            content: "In the workshop".to_owned(),
            published_at: Some(Timestamp::from_millis(1_795_315_800_123)),
            expires_at: Some(Timestamp::from_millis(1_795_319_400_000)),
        };
        let written = serde_json::to_value(StatusMessageJson::from(message)).unwrap();
        let expected = json!({
            "message": { "content": "In the workshop", "contentType": "text" },
            "expiryDateTime": { "dateTime": "2026-11-22T03:50:00.0000000", "timeZone": "UTC" },
            "publishedDateTime": "2026-11-22T02:50:00.1230000Z",
        });
        assert_eq!(written, expected);
    }
}
