//! Conversions between the proto's types and the service's.

use std::time::Duration;

use super::pb;
use crate::{
    presence::{
        Activity, Availability, DecidingRule, EndReason, Pair, Part, Session, Span, SpanEnd, SpanValue,
        Timestamp, WorkLocation, WorkLocationSource, WorkLocationType,
    },
    service::{
        ClearOutcome, ClearPresence, Expiry, Explanation, HistoryPage, Input, Interval, ListPresenceHistory,
        Presence, SetLocation, SetOutcome, SetPresence, SetStatusMessage, SetUserPreferredPresence, View,
        WaitForPresence, WatchEvent, WatchedUsers,
    },
    telemetry::Api,
};

impl From<pb::SetPresenceRequest> for SetPresence {
    fn from(request: pb::SetPresenceRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            session_id: Input::text(request.session_id),
            availability: availability(request.availability),
            activity: activity(request.activity),
            api: Api::Grpc,
            expiration_duration: request.expiration_duration.map_or(Input::Missing, duration),
            observed_time: optional_instant(request.observed_time),
            message: Input::text(request.message),
        }
    }
}

impl From<pb::ClearPresenceRequest> for ClearPresence {
    fn from(request: pb::ClearPresenceRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            session_id: Input::text(request.session_id),
            observed_time: optional_instant(request.observed_time),
        }
    }
}

/// The proto's outcome.
impl From<SetOutcome> for pb::SetOutcome {
    fn from(outcome: SetOutcome) -> Self {
        match outcome {
            SetOutcome::Set => Self::Set,
            SetOutcome::Stale => Self::StaleWrite,
            SetOutcome::NoRoom => Self::TooManySessions,
        }
    }
}

/// The proto's outcome.
impl From<ClearOutcome> for pb::ClearOutcome {
    fn from(outcome: ClearOutcome) -> Self {
        match outcome {
            ClearOutcome::Cleared => Self::Cleared,
            ClearOutcome::NotLive => Self::NotLive,
            ClearOutcome::Stale => Self::StaleWrite,
        }
    }
}

/// A Duration. Only a negative or malformed one is unreadable; the service checks the range.
pub(super) fn duration(duration: prost_types::Duration) -> Input<Duration> {
    match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
        (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) => Input::Value(Duration::new(seconds, nanos)),
        _ => Input::Unreadable(fields(duration.seconds, duration.nanos)),
    }
}

/// The users to follow.
pub(super) fn watched_users(everyone: bool, user_ids: Vec<String>) -> WatchedUsers {
    WatchedUsers { everyone, user_ids: Input::Value(user_ids.into_iter().map(Input::text).collect()) }
}

impl From<pb::WaitForPresenceRequest> for WaitForPresence {
    fn from(request: pb::WaitForPresenceRequest) -> Self {
        Self {
            users: watched_users(request.everyone, request.user_ids),
            availabilities: Input::Value(request.availabilities.into_iter().map(availability).collect()),
            wait_duration: request.wait_duration.map_or(Input::Missing, duration),
            view: view(request.view),
        }
    }
}

/// Converts between an enum of the proto and ours with the same names of values.
macro_rules! same_names {
    ($name:ident, $read:ident: $($value:ident)+) => {
        /// The proto's value.
        impl From<$name> for pb::$name {
            fn from(value: $name) -> Self {
                match value { $($name::$value => Self::$value,)+ }
            }
        }

        pub(super) fn $read(number: i32) -> Input<$name> {
            match pb::$name::try_from(number) {
                Ok(pb::$name::Unspecified) => Input::Missing,
                $(Ok(pb::$name::$value) => Input::Value($name::$value),)+
                Err(_) => Input::Unreadable(number.to_string()),
            }
        }
    };
}

same_names!(Availability, availability: Available Busy Away BeRightBack DoNotDisturb Offline);
same_names!(Activity, activity:
    Available AvailableInactive Busy InACall InAConferenceCall Away BeRightBack DoNotDisturb Presenting Offline OffWork);
same_names!(WorkLocationType, work_location_type: Office Remote TimeOff);

/// The numbers of the pair's enum values in the proto.
fn numbers(pair: Pair) -> (i32, i32) {
    (pb::Availability::from(pair.availability).into(), pb::Activity::from(pair.activity).into())
}

impl From<Presence> for pb::Presence {
    fn from(presence: Presence) -> Self {
        let (availability, activity) = numbers(presence.pair);
        Self {
            user_id: presence.user_id.to_string(),
            availability,
            activity,
            sequence_number: presence.sequence_number.to_string(),
            change_time: presence.times.and_then(|times| times.change_time).map(timestamp),
            last_active_time: presence.times.and_then(|times| times.last_active_time).map(timestamp),
            history_start_time: presence.times.and_then(|times| times.history_start).map(timestamp),
            status_message: presence.status_message.map(|message| pb::StatusMessage {
                content: message.content,
                publish_time: message.published_at.map(timestamp),
                expire_time: message.expires_at.map(timestamp),
            }),
            work_location: presence.work_location.map(|(location, source)| work_location(location, source)),
        }
    }
}

fn work_location(location: WorkLocation, source: WorkLocationSource) -> pb::WorkLocation {
    pb::WorkLocation {
        work_location_type: pb::WorkLocationType::from(location.location_type).into(),
        place_id: location.place_id.map(|id| id.to_string()),
        source: match source {
            WorkLocationSource::Manual => pb::WorkLocationSource::Manual,
            WorkLocationSource::Automatic => pb::WorkLocationSource::Automatic,
        }
        .into(),
    }
}

impl From<pb::SetUserPreferredPresenceRequest> for SetUserPreferredPresence {
    fn from(request: pb::SetUserPreferredPresenceRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            availability: availability(request.availability),
            activity: activity(request.activity),
            expiration_duration: request.expiration_duration.map_or(Input::Missing, duration),
        }
    }
}

impl From<pb::SetStatusMessageRequest> for SetStatusMessage {
    fn from(request: pb::SetStatusMessageRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            content: Input::Value(request.content),
            content_type: Input::Missing,
            expiry: Expiry::At(optional_instant(request.expire_time)),
        }
    }
}

/// A location to set, from either of the two requests, which have the same fields.
pub(super) fn set_location(user_id: String, location_type: i32, place_id: String) -> SetLocation {
    SetLocation {
        user_id: Input::text(user_id),
        work_location_type: work_location_type(location_type),
        place_id: Input::text(place_id),
    }
}

impl From<Explanation> for pb::ExplainPresenceResponse {
    fn from(explanation: Explanation) -> Self {
        let rule = match explanation.rule {
            DecidingRule::NoLiveSession => pb::DecidingRule::NoLiveSession,
            DecidingRule::PreferredPresence => pb::DecidingRule::PreferredPresence,
            DecidingRule::OnlySession => pb::DecidingRule::OnlySession,
            DecidingRule::Precedence => pb::DecidingRule::Precedence,
            DecidingRule::LatestChange => pb::DecidingRule::LatestChange,
            DecidingRule::SmallestSessionId => pb::DecidingRule::SmallestSessionId,
        };
        let now = explanation.now;
        let deciding = explanation.live.first().filter(|_| rule != pb::DecidingRule::PreferredPresence);
        Self {
            rule: rule.into(),
            deciding_session_id: deciding.map(|(session, _)| session.session_id.to_string()),
            explanation: explanation.text,
            sessions: explanation.live.iter().map(|(live, shown)| session(live, *shown, now)).collect(),
            read_time: Some(timestamp(now)),
            next_transition_time: explanation.next_transition.map(|transition| timestamp(transition.at)),
            preferred_presence: explanation.preferred.map(|preferred| {
                let (availability, activity) = numbers(preferred.pair);
                let expire_time = Some(timestamp(preferred.expires_at));
                pb::PreferredPresence { availability, activity, expire_time }
            }),
            presence: Some(pb::Presence {
                sequence_number: if explanation.is_past {
                    String::new()
                } else {
                    explanation.presence.sequence_number.to_string()
                },
                ..explanation.presence.into()
            }),
            spans: explanation.spans.into_iter().map(span).collect(),
        }
    }
}

impl From<WatchEvent> for pb::WatchPresencesResponse {
    fn from(event: WatchEvent) -> Self {
        use pb::watch_presences_response::Event;
        let event = match event {
            WatchEvent::Presence(presence) => Event::Presence(presence.into()),
            WatchEvent::SnapshotComplete => Event::SnapshotComplete(pb::SnapshotComplete {}),
            WatchEvent::Heartbeat => Event::Heartbeat(pb::Heartbeat {}),
        };
        Self { event: Some(event) }
    }
}

impl From<pb::ListPresenceHistoryRequest> for ListPresenceHistory {
    fn from(request: pb::ListPresenceHistoryRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            from: optional_instant(request.from),
            to: optional_instant(request.to),
            parts: request.parts.into_iter().map(part).collect(),
            page_size: page_size(request.page_size),
            page_token: Input::text(request.page_token),
        }
    }
}

/// The number of items on a page; missing if it is 0.
pub(super) fn page_size(size: i32) -> Input<u32> {
    match size {
        0 => Input::Missing,
        size => u32::try_from(size).map_or_else(|_| Input::Unreadable(size.to_string()), Input::Value),
    }
}

fn part(number: i32) -> Input<Part> {
    match pb::HistoryPart::try_from(number) {
        Ok(pb::HistoryPart::Session) => Input::Value(Part::Session),
        Ok(pb::HistoryPart::Preference) => Input::Value(Part::Preference),
        Ok(pb::HistoryPart::Message) => Input::Value(Part::Message),
        Ok(pb::HistoryPart::Locations) => Input::Value(Part::Locations),
        Ok(pb::HistoryPart::Unspecified) | Err(_) => Input::Unreadable(number.to_string()),
    }
}

/// The view that a request selects.
pub(super) fn view(number: i32) -> Input<View> {
    match pb::PresenceView::try_from(number) {
        Ok(pb::PresenceView::Unspecified) => Input::Missing,
        Ok(pb::PresenceView::Basic) => Input::Value(View::Basic),
        Ok(pb::PresenceView::Full) => Input::Value(View::Full),
        Err(_) => Input::Unreadable(number.to_string()),
    }
}

impl From<HistoryPage> for pb::ListPresenceHistoryResponse {
    fn from(page: HistoryPage) -> Self {
        let interval = |interval: Interval| {
            let (availability, activity) = numbers(interval.pair);
            pb::PresenceInterval {
                availability,
                activity,
                start_time: interval.started_at.map(timestamp),
                end_time: interval.ended_at.map(timestamp),
                cause: interval.cause,
                spans: interval.spans.into_iter().map(span).collect(),
            }
        };
        Self {
            intervals: page.intervals.into_iter().map(interval).collect(),
            next_page_token: page.next.unwrap_or_default(),
            history_start_time: page.start.map(timestamp),
        }
    }
}

fn span(span: Span) -> pb::HistorySpan {
    let mut message = pb::HistorySpan {
        start_time: Some(timestamp(span.started_at)),
        end_time: span.ended_at.map(timestamp),
        set_time: Some(timestamp(span.set_at)),
        set_by_application: span.set_by.application_id.map(|id| id.to_string()),
        set_by_user: span.set_by.user_id.map(|id| id.to_string()),
        ..pb::HistorySpan::default()
    };
    if let Some(SpanEnd { reason, by }) = span.end {
        message.end_reason = match reason {
            EndReason::Changed => pb::EndReason::Changed,
            EndReason::Cleared => pb::EndReason::Cleared,
            EndReason::Expired => pb::EndReason::Expired,
            EndReason::Evicted => pb::EndReason::Evicted,
        }
        .into();
        message.ended_by_application = by.application_id.map(|id| id.to_string());
        message.ended_by_user = by.user_id.map(|id| id.to_string());
    }
    let part = match span.value {
        SpanValue::Session { session_id, pair, message: text, .. } => {
            message.session_id = Some(session_id.to_string());
            message.content = text;
            (message.availability, message.activity) = numbers(pair);
            pb::HistoryPart::Session
        }
        SpanValue::Preferred(pair) => {
            (message.availability, message.activity) = numbers(pair);
            pb::HistoryPart::Preference
        }
        SpanValue::StatusMessage(content) => {
            message.content = Some(content);
            pb::HistoryPart::Message
        }
        SpanValue::Locations { manual, automatic } => {
            message.manual_location =
                manual.map(|location| work_location(location, WorkLocationSource::Manual));
            message.automatic_location =
                automatic.map(|location| work_location(location, WorkLocationSource::Automatic));
            pb::HistoryPart::Locations
        }
    };
    pb::HistorySpan { part: part.into(), ..message }
}

/// A live session and the pair that it shows at `now`.
fn session(session: &Session, shown: Pair, now: Timestamp) -> pb::Session {
    let (availability, activity) = numbers(session.pair);
    let (shown_availability, shown_activity) = numbers(shown);
    pb::Session {
        session_id: session.session_id.to_string(),
        availability,
        activity,
        shown_availability,
        shown_activity,
        set_time: Some(timestamp(session.set_at)),
        change_time: Some(timestamp(session.changed_at)),
        fade_time: session.next_fade(now).map(timestamp),
        expire_time: Some(timestamp(session.expires_at)),
        message: session.message.clone(),
    }
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

/// An optional Timestamp, rounded down to a millisecond.
pub(super) fn optional_instant(time: Option<prost_types::Timestamp>) -> Input<Timestamp> {
    time.map_or(Input::Missing, |time| instant(&time))
}

fn instant(time: &prost_types::Timestamp) -> Input<Timestamp> {
    match u32::try_from(time.nanos) {
        Ok(nanos @ 0..1_000_000_000) if (YEAR_1..YEAR_10000).contains(&time.seconds) => {
            Input::Value(Timestamp::from_millis(time.seconds * 1_000 + i64::from(nanos / 1_000_000)))
        }
        _ => Input::Unreadable(fields(time.seconds, time.nanos)),
    }
}

/// The range of `google.protobuf.Timestamp`, in seconds: 0001-01-01 to before
/// 10000-01-01.
const YEAR_1: i64 = -62_135_596_800;
const YEAR_10000: i64 = 253_402_300_800;

/// The fields of a Timestamp or Duration, for an error message.
fn fields(seconds: i64, nanos: i32) -> String {
    format!("{seconds} seconds and {nanos} nanos")
}
