//! The request bodies. `/openapi.json` publishes the doc comments of their types.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use strum::VariantArray as _;
use utoipa::{
    ToSchema,
    openapi::{ArrayBuilder, RefOr, schema::Schema},
};

use super::{
    body::{any_text, object, text, texts},
    schemas::{camel_case, one_of, user_id},
};
use crate::{
    presence::{Pair, USER_IDS_MAX, WorkLocationType, parse_duration, parse_instant},
    service::{
        ClearPresence, Expiry, HoldPresence, Input, SetLocation, SetPresence, SetStatusMessage,
        SetUserPreferredPresence,
    },
    telemetry::Api,
};

/// The session to open or refresh.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetPresenceRequest)]
pub(super) struct SetPresenceBody {
    /// The id of the session: 1 to 128 visible ASCII characters. It is the id of the
    /// application, with a colon and a suffix for each tab, device or call if there are
    /// several. A GUID may have any spelling. Placeholders such as `undefined` are refused.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    #[schema(example = "22553876-f5ab-4529-bffb-cfe50aa89f87")]
    session_id: Input<String>,
    /// The availability. With `activity`, it must be one of the pairs
    /// Available/Available, Busy/InACall, Busy/InAConferenceCall, Away/Away and
    /// DoNotDisturb/Presenting. Case does not matter.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = session_availability)]
    availability: Input<String>,
    /// The activity; see `availability`.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = session_activity)]
    activity: Input<String>,
    /// How long the session lasts unless it is refreshed: an ISO 8601 duration from PT5M
    /// to PT4H. The default is PT5M.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "PT1H")]
    expiration_duration: Input<String>,
    /// When the application observed what it sets: a date and time with an offset, at most 5
    /// seconds in the future. A write that was observed before what the session reflects is refused
    /// with 412. An extension.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T17:30:00.125Z")]
    observed_date_time: Input<String>,
    /// A text of the session, such as the subject of a call: at most 280 Unicode characters without
    /// U+0000. While the session decides the presence, `statusMessage` of the presence is this text,
    /// unless the user has a status message. It ends with the session; a set without it removes it. An
    /// extension.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 280, example = "In a call with the bank")]
    message: Input<String>,
}

impl SetPresenceBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> SetPresence {
        SetPresence {
            user_id,
            session_id: self.session_id,
            availability: self.availability.parse(),
            activity: self.activity.parse(),
            api: Api::Http,
            expiration_duration: self.expiration_duration.parse_with(|text| parse_duration(text).ok()),
            observed_time: self.observed_date_time.parse_with(parse_instant),
            message: self.message,
        }
    }
}

/// The session to hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HoldPresenceRequest)]
pub(super) struct HoldPresenceBody {
    /// The id of the session: 1 to 128 visible ASCII characters.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    #[schema(example = "22553876-f5ab-4529-bffb-cfe50aa89f87")]
    session_id: Input<String>,
    /// The availability; see setPresence.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = session_availability)]
    availability: Input<String>,
    /// The activity; see setPresence.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = session_activity)]
    activity: Input<String>,
    /// How long the session outlives the response: an ISO 8601 duration from PT5S to PT5M. The
    /// default is PT15S.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "PT15S")]
    grace: Input<String>,
    /// When the application observed what it sets; see setPresence.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T17:30:00.125Z")]
    observed_date_time: Input<String>,
    /// A text of the session; see setPresence.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 280, example = "In a call with the bank")]
    message: Input<String>,
}

impl HoldPresenceBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> HoldPresence {
        HoldPresence {
            user_id,
            session_id: self.session_id,
            availability: self.availability.parse(),
            activity: self.activity.parse(),
            grace: self.grace.parse_with(|text| parse_duration(text).ok()),
            observed_time: self.observed_date_time.parse_with(parse_instant),
            message: self.message,
        }
    }
}

/// The session to clear.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClearPresenceRequest)]
pub(super) struct ClearPresenceBody {
    /// The id of the session, as in setPresence: 1 to 128 visible ASCII characters.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    #[schema(example = "22553876-f5ab-4529-bffb-cfe50aa89f87")]
    session_id: Input<String>,
    /// When the application observed that the session ended: a date and time with an offset, at most
    /// 5 seconds in the future. A later setPresence that was observed before is refused with 412. An
    /// extension.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T17:30:00.125Z")]
    observed_date_time: Input<String>,
}

impl ClearPresenceBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> ClearPresence {
        let observed_time = self.observed_date_time.parse_with(parse_instant);
        ClearPresence { user_id, session_id: self.session_id, observed_time }
    }
}

/// The preferred presence to set.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetUserPreferredPresenceRequest)]
pub(super) struct SetUserPreferredPresenceBody {
    /// The availability. With `activity`, it must be one of the pairs
    /// Available/Available, Busy/Busy, DoNotDisturb/DoNotDisturb,
    /// BeRightBack/BeRightBack, Away/Away and Offline/OffWork. Case does not matter.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = preferred_availability)]
    availability: Input<String>,
    /// The activity; see `availability`.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = preferred_activity)]
    activity: Input<String>,
    /// How long the preferred presence lasts: an ISO 8601 duration of more than zero and
    /// at most 365 days. The default is P1D for Busy and DoNotDisturb, otherwise P7D.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "PT8H")]
    expiration_duration: Input<String>,
}

impl SetUserPreferredPresenceBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> SetUserPreferredPresence {
        SetUserPreferredPresence {
            user_id,
            availability: self.availability.parse(),
            activity: self.activity.parse(),
            expiration_duration: self.expiration_duration.parse_with(|text| parse_duration(text).ok()),
        }
    }
}

/// The status message to publish.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetStatusMessageRequest)]
pub(super) struct SetStatusMessageBody {
    /// `null` removes the status message.
    #[serde(default, deserialize_with = "removable")]
    #[schema(value_type = StatusMessageBody, required = true)]
    status_message: Input<StatusMessageBody>,
}

/// A status message and its expiry.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatusMessageRequest)]
pub(super) struct StatusMessageBody {
    /// `null` removes the status message.
    #[serde(default, deserialize_with = "removable")]
    #[schema(value_type = ItemBody, required = true)]
    message: Input<ItemBody>,
    /// When the message expires; must be in the future. Without it, the message does not
    /// expire.
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<DateTimeTimeZone>)]
    expiry_date_time: Input<DateTimeTimeZone>,
}

impl Removal for StatusMessageBody {
    fn removal() -> Self {
        Self { message: Input::Value(ItemBody::removal()), expiry_date_time: Input::Missing }
    }
}

/// The text of a status message. Graph: itemBody.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ItemBodyRequest)]
pub(super) struct ItemBody {
    /// At most 280 Unicode characters. An empty text and `null` remove the
    /// status message.
    #[serde(default, deserialize_with = "any_text")]
    #[schema(value_type = String, required = true, max_length = 280, example = "In the workshop until noon")]
    content: Input<String>,
    /// Must be `text`, which is the default.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "text")]
    content_type: Input<String>,
}

impl Removal for ItemBody {
    fn removal() -> Self {
        Self { content: Input::Value(String::new()), content_type: Input::Missing }
    }
}

/// A local time. Graph: dateTimeTimeZone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DateTimeTimeZoneRequest)]
pub(super) struct DateTimeTimeZone {
    /// A date and time. It may have an offset, which must be that of `timeZone`, if given.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "2036-10-18T17:05:33.2079781")]
    date_time: Input<String>,
    /// The name of a time zone in Windows or in the IANA database. The default is UTC.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "Pacific Standard Time")]
    time_zone: Input<String>,
}

impl SetStatusMessageBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> SetStatusMessage {
        // A missing object is one violation: that of its `content`.
        let (message, expiry) = match self.status_message {
            Input::Value(it) => (it.message, it.expiry_date_time),
            Input::Missing => (Input::Missing, Input::Missing),
            Input::Unreadable(found) => (Input::Unreadable(found), Input::Missing),
        };
        let (content, content_type) = match message {
            Input::Value(it) => (it.content, it.content_type),
            Input::Missing => (Input::Missing, Input::Missing),
            Input::Unreadable(found) => (not_an_object(&found, "content"), Input::Missing),
        };
        let expiry = match expiry {
            Input::Value(it) => Expiry::Local { date_time: it.date_time, time_zone: it.time_zone },
            Input::Missing => Expiry::At(Input::Missing),
            Input::Unreadable(found) => Expiry::At(not_an_object(&found, "dateTime and timeZone")),
        };
        SetStatusMessage { user_id, content, content_type, expiry }
    }
}

/// The work location to set.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetLocationRequest)]
pub(super) struct SetLocationBody {
    /// The kind of place. Case does not matter.
    #[serde(default, deserialize_with = "text")]
    #[schema(required = true, schema_with = work_location_type)]
    work_location_type: Input<String>,
    /// The id of the place: 1 to 128 visible ASCII characters.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 128, example = "eb706f15-137e-4722-b4d1-b601481d9251")]
    place_id: Input<String>,
}

impl SetLocationBody {
    pub(super) fn for_user(self, user_id: Input<String>) -> SetLocation {
        SetLocation { user_id, work_location_type: self.work_location_type.parse(), place_id: self.place_id }
    }
}

/// The users to read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GetPresencesByUserIdRequest)]
pub(super) struct GetPresencesByUserIdBody {
    /// 1 to 650 user ids.
    #[serde(default, deserialize_with = "texts")]
    #[schema(required = true, schema_with = user_ids)]
    pub(super) ids: Input<Vec<Input<String>>>,
}

/// An object of a status message, which `null` removes.
trait Removal: DeserializeOwned {
    /// The object that removes the status message.
    fn removal() -> Self;
}

/// Reads a property as an object; `null` counts as its [`Removal`].
fn removable<'de, D: Deserializer<'de>, T: Removal>(deserializer: D) -> Result<Input<T>, D::Error> {
    let read = object(deserializer)?;
    Ok(if matches!(read, Input::Missing) { Input::Value(T::removal()) } else { read })
}

/// The input of a property that must be an object with `properties` and is `found`.
fn not_an_object<T>(found: &str, properties: &str) -> Input<T> {
    Input::Unreadable(format!("{found}; send an object with {properties}"))
}

fn user_ids() -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(user_id()))
        .min_items(Some(1))
        .max_items(Some(USER_IDS_MAX))
        .examples([vec!["fa8bf3dc-eca7-46b7-bad1-db199b62afc3"]])
        .build()
        .into()
}

fn session_availability() -> Schema {
    one_of(Pair::OF_SESSION.map(|pair| pair.availability.to_string()))
}

fn session_activity() -> Schema {
    one_of(Pair::OF_SESSION.map(|pair| pair.activity.to_string()))
}

fn preferred_availability() -> Schema {
    one_of(Pair::PREFERRED.map(|pair| pair.availability.to_string()))
}

fn preferred_activity() -> Schema {
    one_of(Pair::PREFERRED.map(|pair| pair.activity.to_string()))
}

fn work_location_type() -> Schema {
    one_of(WorkLocationType::VARIANTS.iter().map(|value| camel_case(value.into())))
}
