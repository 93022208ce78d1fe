//! The response bodies. `/openapi.json` publishes the doc comments of their types.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::{Map, Value};
use strum::VariantArray as _;
use tokio::task::yield_now;
use utoipa::{ToSchema, openapi::schema::Schema};

use super::{
    odata::{Select, ServiceRoot},
    refusal::Refusal,
    schemas::{camel_case, one_of, shown_activity, shown_availability},
};
use crate::{
    presence::{StatusMessage, Timestamp, WorkLocation, WorkLocationSource, WorkLocationType},
    service::{PRESENCES_IN_TURN, Presence},
};

/// The content type of Graph's JSON responses.
const JSON: HeaderValue = HeaderValue::from_static(
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
);
const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");
/// The header of a count with the number of users that were read for it.
pub(super) const USERS_READ: HeaderName = HeaderName::from_static("presence-users-read");

/// The usual length of a presence.
const PRESENCE_BYTES: usize = 300;
/// The end of a collection.
const END: &[u8] = b"]}";

/// The presence of a user; `$select` reduces the properties. Graph: presence.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Presence)]
pub(super) struct PresenceJson {
    /// The OData context of the response. Only the response with a single presence has it.
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The user id; a GUID in lower case.
    #[schema(required = false)]
    id: String,
    /// The availability, such as Busy.
    #[schema(required = false, schema_with = shown_availability)]
    availability: &'static str,
    /// The activity, which details the availability, such as InACall.
    #[schema(required = false, schema_with = shown_activity)]
    activity: &'static str,
    #[schema(required = false)]
    out_of_office_settings: OutOfOfficeSettings,
    /// The status message of the user, or else the `message` of the session that decides, which is an
    /// extension; null if there is none.
    status_message: Option<StatusMessageJson>,
    /// When the presence last changed. Of two different presences of one user, the later
    /// one has the greater number; the numbers compare as strings.
    #[schema(required = false, example = "A1795315800000")]
    sequence_number: String,
    #[schema(required = false)]
    work_location: WorkLocationJson,
    /// When the user was first shown so without a break. An extension: only with `$select` or `Prefer:
    /// include-extensions`, and omitted if that was before the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T09:00:00.0000000Z")]
    last_change_date_time: Option<String>,
    /// When the user was last shown as Available, Busy or DoNotDisturb by a session that had not
    /// faded. An extension, as lastChangeDateTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T09:30:00.0000000Z")]
    last_active_date_time: Option<String>,
    /// From when on the history is complete; omitted if nothing was removed. An extension, as
    /// lastChangeDateTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-15T09:00:00.0000000Z")]
    history_start_date_time: Option<String>,
}

impl PresenceJson {
    /// The presence of an earlier instant, of which no sequence number is known.
    pub(super) fn without_sequence_number(self) -> Self {
        Self { sequence_number: String::new(), ..self }
    }
}

/// Always empty, as the service has no calendar. Graph: outOfOfficeSettings.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutOfOfficeSettings {
    #[schema(required = true, value_type = Option<String>)]
    message: (),
    is_out_of_office: bool,
}

/// The status message of a user. Graph: presenceStatusMessage.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatusMessage)]
pub(super) struct StatusMessageJson {
    message: ItemBodyJson,
    /// When the message expires. Omitted if it does not expire, and for every reader
    /// other than the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_date_time: Option<DateTimeTimeZoneJson>,
    /// When the message was published. Omitted for every reader other than the user, and for the
    /// `message` of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T02:50:00.0000000Z")]
    published_date_time: Option<String>,
}

/// The text of a status message. Graph: itemBody.
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

/// The work location of a user. Graph: userWorkLocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WorkLocation)]
pub(super) struct WorkLocationJson {
    /// The id of the place; null if unknown.
    #[schema(required = true)]
    place_id: Option<String>,
    /// Whether the user (manual) or an application (automatic) set the location.
    #[schema(schema_with = shown_source)]
    source: Cow<'static, str>,
    /// The kind of place.
    #[schema(schema_with = shown_location_type)]
    work_location_type: Cow<'static, str>,
}

/// Presences. Graph: collection of presence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Presences)]
pub(super) struct CollectionJson {
    /// The OData context of the response.
    #[serde(rename = "@odata.context")]
    pub(super) context: String,
    /// The URL of the next page; omitted on the last page.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    pub(super) next_link: Option<String>,
    /// The presences, in the order of the request or of the user ids.
    #[schema(value_type = Vec<PresenceJson>)]
    pub(super) value: Vec<PresenceProperties>,
}

/// A presence, or only its selected properties.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PresenceProperties {
    All(Box<PresenceJson>),
    Selected(Map<String, Value>),
}

impl PresenceProperties {
    /// Reduces the presence to the selected properties.
    pub(super) fn new(presence: PresenceJson, select: &Select) -> Self {
        let Some(selected) = select.properties() else { return Self::All(Box::new(presence)) };
        Self::Selected(reduced(&presence, selected))
    }
}

/// The annotations of a struct's object, and its properties with these names.
pub(super) fn reduced<T: Serialize>(object: &T, names: &[&str]) -> Map<String, Value> {
    // A struct is always an object.
    let mut properties = match serde_json::to_value(object) {
        Ok(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    properties.retain(|name, _| name.starts_with('@') || names.contains(&name.as_str()));
    properties
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
            last_change_date_time: presence.times.and_then(|times| times.change_time).map(utc),
            last_active_date_time: presence.times.and_then(|times| times.last_active_time).map(utc),
            history_start_date_time: presence.times.and_then(|times| times.history_start).map(utc),
        }
    }
}

impl From<StatusMessage> for StatusMessageJson {
    fn from(message: StatusMessage) -> Self {
        Self {
            message: ItemBodyJson { content: message.content, content_type: "text" },
            expiry_date_time: message
                .expires_at
                .map(|at| DateTimeTimeZoneJson { date_time: at.graph_date_time(), time_zone: "UTC" }),
            published_date_time: message.published_at.map(utc),
        }
    }
}

impl From<Option<(WorkLocation, WorkLocationSource)>> for WorkLocationJson {
    fn from(location: Option<(WorkLocation, WorkLocationSource)>) -> Self {
        match location {
            Some((location, source)) => Self {
                place_id: location.place_id.map(|id| id.to_string()),
                source: camel_case(source.into()).into(),
                work_location_type: camel_case(location.location_type.into()).into(),
            },
            None => Self { place_id: None, source: "none".into(), work_location_type: "unspecified".into() },
        }
    }
}

/// A date and time in UTC.
pub(super) fn utc(at: Timestamp) -> String {
    at.graph_date_time() + "Z"
}

/// An ISO 8601 duration.
pub(super) fn iso_duration(duration: Duration) -> String {
    SignedDuration::try_from(duration).map(|duration| duration.to_string()).unwrap_or_default()
}

/// The response with a single presence.
pub(super) fn entity(root: &ServiceRoot, presence: Presence, select: &Select) -> Result<Response, Refusal> {
    let context = Some(root.entity_context(&presence.user_id, select));
    json(&PresenceProperties::new(PresenceJson { context, ..presence.into() }, select))
}

/// The response with several presences. In between, other requests of the worker have their turns.
pub(super) async fn collection(
    context: String,
    next_link: Option<String>,
    presences: Vec<Presence>,
    select: &Select,
) -> Result<Response, Refusal> {
    let internal = |error: serde_json::Error| Refusal::internal(error.to_string());
    let mut body = Vec::with_capacity(PRESENCE_BYTES * (presences.len() + 1));
    let empty = CollectionJson { context, next_link, value: Vec::new() };
    serde_json::to_writer(&mut body, &empty).map_err(internal)?;
    // The array is last, so the presences belong before its end.
    body.truncate(body.len() - END.len());
    for (index, presence) in presences.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
            if index % PRESENCES_IN_TURN == 0 {
                yield_now().await;
            }
        }
        let properties = PresenceProperties::new(presence.into(), select);
        serde_json::to_writer(&mut body, &properties).map_err(internal)?;
    }
    body.extend_from_slice(END);
    Ok(json_body(body))
}

/// A response with lines of JSON.
pub(super) fn lines(lines: &[String]) -> Response {
    let mut body = lines.join("\n");
    if !body.is_empty() {
        body.push('\n');
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

/// A response with a JSON body. Caches must not store it, as presences change with time.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(json_body(body))
}

fn json_body(body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, JSON),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ODATA_VERSION, HeaderValue::from_static("4.0")),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_message_includes_its_times_when_the_user_reads_it() {
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
