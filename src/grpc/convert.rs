//! Between the proto's types and the service's.

use std::time::Duration;

use super::pb;
use crate::{
    presence::{Activity, Availability, DecidingRule, Pair, Session, Timestamp, UserId},
    service::{Explanation, Given, Presence, SetPresence},
};

impl From<pb::SetPresenceRequest> for SetPresence {
    fn from(request: pb::SetPresenceRequest) -> Self {
        Self {
            user_id: Given::text(request.user_id),
            session_id: Given::text(request.session_id),
            availability: availability(request.availability),
            activity: activity(request.activity),
            expiration_duration: request.expiration_duration.map_or(Given::Missing, duration),
        }
    }
}

/// A span on the wire. Only what is negative, or no valid Duration, is
/// unreadable: whether it is too long is for the service to say.
fn duration(duration: prost_types::Duration) -> Given<Duration> {
    match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
        (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) => Given::Value(Duration::new(seconds, nanos)),
        _ => Given::Unreadable(format!("{} s {} ns", duration.seconds, duration.nanos)),
    }
}

fn availability(number: i32) -> Given<Availability> {
    match pb::Availability::try_from(number) {
        Ok(pb::Availability::Unspecified) => Given::Missing,
        Ok(pb::Availability::Available) => Given::Value(Availability::Available),
        Ok(pb::Availability::Busy) => Given::Value(Availability::Busy),
        Ok(pb::Availability::Away) => Given::Value(Availability::Away),
        Ok(pb::Availability::DoNotDisturb) => Given::Value(Availability::DoNotDisturb),
        Ok(pb::Availability::Offline) => Given::Value(Availability::Offline),
        Err(_) => Given::Unreadable(number.to_string()),
    }
}

fn activity(number: i32) -> Given<Activity> {
    match pb::Activity::try_from(number) {
        Ok(pb::Activity::Unspecified) => Given::Missing,
        Ok(pb::Activity::Available) => Given::Value(Activity::Available),
        Ok(pb::Activity::AvailableInactive) => Given::Value(Activity::AvailableInactive),
        Ok(pb::Activity::InACall) => Given::Value(Activity::InACall),
        Ok(pb::Activity::InAConferenceCall) => Given::Value(Activity::InAConferenceCall),
        Ok(pb::Activity::Away) => Given::Value(Activity::Away),
        Ok(pb::Activity::Presenting) => Given::Value(Activity::Presenting),
        Ok(pb::Activity::Offline) => Given::Value(Activity::Offline),
        Err(_) => Given::Unreadable(number.to_string()),
    }
}

/// The pair's two numbers on the wire.
fn numbers(pair: Pair) -> (i32, i32) {
    let availability = match pair.availability {
        Availability::Available => pb::Availability::Available,
        Availability::Busy => pb::Availability::Busy,
        Availability::Away => pb::Availability::Away,
        Availability::DoNotDisturb => pb::Availability::DoNotDisturb,
        Availability::Offline => pb::Availability::Offline,
    };
    let activity = match pair.activity {
        Activity::Available => pb::Activity::Available,
        Activity::AvailableInactive => pb::Activity::AvailableInactive,
        Activity::InACall => pb::Activity::InACall,
        Activity::InAConferenceCall => pb::Activity::InAConferenceCall,
        Activity::Away => pb::Activity::Away,
        Activity::Presenting => pb::Activity::Presenting,
        Activity::Offline => pb::Activity::Offline,
    };
    (availability.into(), activity.into())
}

impl From<Presence> for pb::Presence {
    fn from(Presence { user_id, pair }: Presence) -> Self {
        presence(&user_id, pair)
    }
}

fn presence(user_id: &UserId, pair: Pair) -> pb::Presence {
    let (availability, activity) = numbers(pair);
    pb::Presence { user_id: user_id.to_string(), availability, activity }
}

impl From<Explanation> for pb::ExplainPresenceResponse {
    fn from(explanation: Explanation) -> Self {
        let rule = match explanation.rule {
            DecidingRule::NoLiveSession => pb::DecidingRule::NoLiveSession,
            DecidingRule::OnlySession => pb::DecidingRule::OnlySession,
            DecidingRule::Precedence => pb::DecidingRule::Precedence,
            DecidingRule::LatestChange => pb::DecidingRule::LatestChange,
            DecidingRule::SmallestSessionId => pb::DecidingRule::SmallestSessionId,
        };
        let now = explanation.now;
        Self {
            presence: Some(presence(&explanation.user_id, explanation.presence)),
            rule: rule.into(),
            deciding_session_id: explanation.live.first().map(|(session, _)| session.session_id.to_string()),
            explanation: explanation.text,
            sessions: explanation.live.iter().map(|(live, shown)| session(live, *shown, now)).collect(),
            read_time: Some(timestamp(now)),
            next_transition_time: explanation.next_transition.map(|transition| timestamp(transition.at)),
        }
    }
}

/// A live session, and what it shows at `now`.
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
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}
