//! The messages of a stream that holds a session.

use std::time::Duration;

use super::{Field, Input, input::not_empty, validator::Validator};
use crate::{
    presence::{Activity, Availability, SessionId, Timestamp, UserId},
    store::{SessionChange, SessionKey},
};

/// A message of the stream: the session to hold and its pair, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPresence {
    /// Required in the first message.
    pub user_id: Input<String>,
    /// Required in the first message.
    pub session_id: Input<String>,
    /// Required: forms one of five pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// How long the session outlives a broken stream: 5 s to 5 min; 15 s if missing.
    pub grace: Input<Duration>,
    /// When the application observed the pair; now if missing.
    pub observed_time: Input<Timestamp>,
    /// The text of the session, up to 280 characters; none if missing or empty.
    pub message: Input<String>,
}

/// A valid first message.
pub(super) struct FirstMessage {
    pub(super) user_id: UserId,
    pub(super) session_id: SessionId,
    pub(super) grace: Duration,
    pub(super) value: SessionChange,
}

impl HoldPresence {
    /// The values of the first message; `None` if `validator` recorded a violation.
    pub(super) fn validate_first(self, validator: &mut Validator, now: Timestamp) -> Option<FirstMessage> {
        let user_id = validator.user_id(self.user_id);
        let session_id = validator.session_id(self.session_id);
        let pair = validator.session_pair(self.availability, self.activity);
        let grace = validator.grace(self.grace);
        let observed = validator.observed(self.observed_time, now);
        let message = validator.session_message(self.message);
        let value = SessionChange { pair: pair?, message: not_empty(message?), observed: observed? };
        Some(FirstMessage { user_id: user_id?, session_id: session_id?, grace: grace?, value })
    }

    /// The value of a later message; `None` if `validator` recorded a violation.
    pub(super) fn validate_later(
        self,
        validator: &mut Validator,
        key: &SessionKey,
        grace: Duration,
        now: Timestamp,
    ) -> Option<SessionChange> {
        let user = validator.unchanged(Field::UserId, &self.user_id.parse(), &key.user.user_id);
        let session = validator.unchanged(Field::SessionId, &self.session_id.parse(), &key.session_id);
        let pair = validator.session_pair(self.availability, self.activity);
        let grace = validator.unchanged(Field::Grace, &self.grace, &grace);
        let observed = validator.observed(self.observed_time, now);
        let message = validator.session_message(self.message);
        user.and(session).and(grace)?;
        Some(SessionChange { pair: pair?, message: not_empty(message?), observed: observed? })
    }
}
