//! Conversions of the messages and events of streams that hold a session.

use super::{
    convert::{activity, availability, duration, optional_instant, timestamp},
    pb,
};
use crate::service::{HoldEvent, HoldPresence, Input};

impl From<pb::HoldPresenceRequest> for HoldPresence {
    fn from(request: pb::HoldPresenceRequest) -> Self {
        Self {
            user_id: Input::text(request.user_id),
            session_id: Input::text(request.session_id),
            availability: availability(request.availability),
            activity: activity(request.activity),
            grace: request.grace.map_or(Input::Missing, duration),
            observed_time: optional_instant(request.observed_time),
            message: Input::text(request.message),
        }
    }
}

impl From<pb::KeepPresenceRequest> for HoldPresence {
    fn from(request: pb::KeepPresenceRequest) -> Self {
        Self::from(pb::HoldPresenceRequest {
            user_id: request.user_id,
            session_id: request.session_id,
            availability: request.availability,
            activity: request.activity,
            grace: request.grace,
            observed_time: request.observed_time,
            message: request.message,
        })
    }
}

impl From<HoldEvent> for pb::KeepPresenceResponse {
    fn from(event: HoldEvent) -> Self {
        use pb::{hold_presence_response::Event as Held, keep_presence_response::Event};
        let event = pb::HoldPresenceResponse::from(event).event.map(|event| match event {
            Held::SessionSet(set) => Event::SessionSet(set),
            Held::SessionExtended(extended) => Event::SessionExtended(extended),
        });
        Self { event }
    }
}

impl From<HoldEvent> for pb::HoldPresenceResponse {
    fn from(event: HoldEvent) -> Self {
        use pb::hold_presence_response::Event;
        let event = match event {
            HoldEvent::Set(at) => Event::SessionSet(pb::SessionSet { expire_time: Some(timestamp(at)) }),
            HoldEvent::Extended(at) => {
                Event::SessionExtended(pb::SessionExtended { expire_time: Some(timestamp(at)) })
            }
        };
        Self { event: Some(event) }
    }
}
