//! Bodies in the form of this service, as the Standard Webhooks specification recommends: a type, a
//! time, and the data. The names are those of the proto's JSON.

use serde::Serialize;
use uuid::Uuid;

use super::body::{ArrayAt, Body, PayloadError};
use crate::{
    presence::{PlaceId, Presence, PresenceTimes, Timestamp, proto_name},
    store::Subscription,
};

/// The end of a body, after the presences.
const TAIL: &str = "]}}";

/// The place of a notification among those of its subscription. A receiver ignores presences of a
/// notification that is not newer than the last one that it applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The number of times that a replica took the subscription over.
    pub generation: u64,
    /// The number of the notification since then.
    pub count: u64,
}

#[derive(Serialize)]
struct Message<T> {
    r#type: &'static str,
    timestamp: String,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    subscription_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_state: Option<&'a str>,
    generation: u64,
    count: u64,
    /// The last field, see [`TAIL`].
    presences: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reauthorization<'a> {
    subscription_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_state: Option<&'a str>,
    expire_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_expire_time: Option<String>,
}

/// The proto's Presence.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceJson<'a> {
    user_id: &'a str,
    availability: String,
    activity: String,
    sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<StatusMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_location: Option<Location<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_start_time: Option<String>,
}

/// The text alone: only the user sees its times.
#[derive(Serialize)]
struct StatusMessage<'a> {
    content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    work_location_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place_id: Option<&'a str>,
    source: String,
}

/// The body of a notification about presences, made at `now`.
pub fn service_body<'a>(
    subscription: &Subscription,
    order: Order,
    presences: impl IntoIterator<Item = &'a Presence>,
    now: Timestamp,
) -> Result<Body, PayloadError> {
    let data = Changed {
        subscription_id: subscription.key.subscription_id,
        client_state: subscription.request.client_state.as_deref(),
        generation: order.generation,
        count: order.count,
        presences: [],
    };
    let envelope = Message { r#type: "presence.changed", timestamp: now.to_string(), data };
    let items = presences.into_iter().map(|presence| Ok(json(presence)));
    Body::fill(&envelope, ArrayAt::FromEnd(TAIL.len()), items)
}

/// The body that asks the subscriber to authorize the subscription again.
pub fn service_reauthorization(subscription: &Subscription, now: Timestamp) -> Result<Vec<u8>, PayloadError> {
    let data = Reauthorization {
        subscription_id: subscription.key.subscription_id,
        client_state: subscription.request.client_state.as_deref(),
        expire_time: subscription.expires_at.to_string(),
        authorization_expire_time: subscription.authorized.map(|authorized| authorized.until.to_string()),
    };
    let r#type = "subscription.reauthorizationRequired";
    Ok(serde_json::to_vec(&Message { r#type, timestamp: now.to_string(), data })?)
}

fn json(presence: &Presence) -> PresenceJson<'_> {
    let PresenceTimes { change_time, last_active_time, history_start } = presence.times.unwrap_or_default();
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    PresenceJson {
        user_id: presence.user_id.as_str(),
        availability: proto_name("AVAILABILITY", presence.pair.availability.into()),
        activity: proto_name("ACTIVITY", presence.pair.activity.into()),
        sequence_number: presence.sequence_number.to_string(),
        status_message: presence
            .status_message
            .as_ref()
            .map(|message| StatusMessage { content: &message.content }),
        work_location: presence.work_location.as_ref().map(|(location, source)| Location {
            work_location_type: proto_name("WORK_LOCATION_TYPE", location.location_type.into()),
            place_id: location.place_id.as_ref().map(PlaceId::as_str),
            source: proto_name("WORK_LOCATION_SOURCE", (*source).into()),
        }),
        change_time: time(change_time),
        last_active_time: time(last_active_time),
        history_start_time: time(history_start),
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;
    use crate::{
        grpc::pb,
        notify::payload::tests::{NOW, presence, subscription, text},
        presence::{
            Activity, Availability, StatusMessage as Text, WorkLocation, WorkLocationSource, WorkLocationType,
        },
        store::Authorized,
    };

    const ORDER: Order = Order { generation: 3, count: 7 };

    fn full() -> Presence {
        Presence {
            status_message: Some(Text {
                content: "At \"lunch\"".to_owned(),
                published_at: Some(NOW),
                expires_at: Some(NOW),
            }),
            work_location: Some((
                WorkLocation {
                    location_type: WorkLocationType::TimeOff,
                    place_id: Some("desk".parse().unwrap()),
                },
                WorkLocationSource::Manual,
            )),
            times: Some(PresenceTimes {
                change_time: Some(NOW),
                last_active_time: None,
                history_start: None,
            }),
            ..presence("ada")
        }
    }

    #[test]
    fn a_notification_has_the_presences_as_the_proto_writes_them() {
        let body =
            service_body(&subscription(Some("mine")), ORDER, [&full(), &presence("bob")], NOW).unwrap();
        let expected = concat!(
            r#"{"type":"presence.changed","timestamp":"2026-11-22T02:50:00.123Z","#,
            r#""data":{"subscriptionId":"00000000-0000-0000-0000-000000000002","clientState":"mine","#,
            r#""generation":3,"count":7,"presences":[{"userId":"ada","availability":"AVAILABILITY_BUSY","#,
            r#""activity":"ACTIVITY_IN_A_CALL","sequenceNumber":"A0000000000000","#,
            r#""statusMessage":{"content":"At \"lunch\""},"#,
            r#""workLocation":{"workLocationType":"WORK_LOCATION_TYPE_TIME_OFF","placeId":"desk","#,
            r#""source":"WORK_LOCATION_SOURCE_MANUAL"},"changeTime":"2026-11-22T02:50:00.123Z"},"#,
            r#"{"userId":"bob","availability":"AVAILABILITY_BUSY","activity":"ACTIVITY_IN_A_CALL","#,
            r#""sequenceNumber":"A0000000000000"}]}}"#,
        );
        assert_eq!((text(body.json), body.presences), (expected.to_owned(), 2));
    }

    #[test]
    fn a_lifecycle_notification_says_until_when_the_subscription_is_authorized() {
        let authorized = Some(Authorized { at: NOW, until: NOW, reauthorization_sent: false });
        let subscription = Subscription { authorized, ..subscription(None) };
        let expected = concat!(
            r#"{"type":"subscription.reauthorizationRequired","timestamp":"2026-11-22T02:50:00.123Z","#,
            r#""data":{"subscriptionId":"00000000-0000-0000-0000-000000000002","#,
            r#""expireTime":"2026-11-22T02:50:00.123Z","#,
            r#""authorizationExpireTime":"2026-11-22T02:50:00.123Z"}}"#,
        );
        assert_eq!(text(service_reauthorization(&subscription, NOW).unwrap()), expected);
    }

    #[test]
    fn every_value_has_the_name_of_the_proto() {
        for value in Availability::VARIANTS {
            let expected = pb::Availability::from(*value).as_str_name();
            assert_eq!(proto_name("AVAILABILITY", value.into()), expected);
        }
        for value in Activity::VARIANTS {
            assert_eq!(proto_name("ACTIVITY", value.into()), pb::Activity::from(*value).as_str_name());
        }
        for value in WorkLocationType::VARIANTS {
            let expected = pb::WorkLocationType::from(*value).as_str_name();
            assert_eq!(proto_name("WORK_LOCATION_TYPE", value.into()), expected);
        }
        for value in WorkLocationSource::VARIANTS {
            let name = proto_name("WORK_LOCATION_SOURCE", value.into());
            assert!(pb::WorkLocationSource::from_str_name(&name).is_some(), "{name}");
        }
    }
}
