//! Opens or refreshes a session. Graph: setPresence.

use std::time::Duration;

use crate::{
    presence::{Activity, Availability, Pair, SessionId, Timestamp, UserId},
    service::{Caller, Error, Input, Operation, Service, input::not_empty, validator::Validator},
    store::{Observed, SetSession},
    telemetry::Api,
};

/// A session to open or refresh, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPresence {
    /// Required.
    pub user_id: Input<String>,
    /// Required.
    pub session_id: Input<String>,
    /// Required: forms one of five pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// The API of the request, which decides how short a session may be.
    pub api: Api,
    /// 5 to 240 minutes; 5 if missing. The settings may allow less in the gRPC API.
    pub expiration_duration: Input<Duration>,
    /// When the application observed the pair; now if missing.
    pub observed_time: Input<Timestamp>,
    /// The text of the session, up to 280 characters; none if missing or empty.
    pub message: Input<String>,
}

/// A valid [`SetPresence`] that is not authorized yet.
pub(super) struct ValidSetPresence {
    user_id: UserId,
    session_id: SessionId,
    pair: Pair,
    message: Option<String>,
    expires_after: Duration,
    observed: Observed,
}

impl SetPresence {
    /// The valid request; `None` if `validator` recorded a violation.
    pub(super) fn validate(self, validator: &mut Validator, now: Timestamp) -> Option<ValidSetPresence> {
        let user_id = validator.user_id(self.user_id);
        let session_id = validator.session_id(self.session_id);
        let pair = validator.session_pair(self.availability, self.activity);
        let expires_after = validator.session_expiration(self.api, self.expiration_duration);
        let observed = validator.observed(self.observed_time, now);
        let message = validator.session_message(self.message);
        Some(ValidSetPresence {
            user_id: user_id?,
            session_id: session_id?,
            pair: pair?,
            message: not_empty(message?),
            expires_after: expires_after?,
            observed: observed?,
        })
    }
}

impl ValidSetPresence {
    /// The session to set, if the caller has the permission.
    pub(super) fn authorize(self, caller: &Caller, operation: Operation) -> Result<SetSession, Error> {
        let Self { user_id, session_id, pair, message, expires_after, observed } = self;
        let key = caller.authorize_session(operation, user_id, session_id)?;
        let set_by = caller.author();
        Ok(SetSession { key, pair, message, expires_after, set_by, observed, holder: None })
    }
}

impl Service {
    /// Opens or refreshes one session. The result is durable when this returns.
    pub async fn set_presence(&self, caller: &Caller, request: SetPresence) -> Result<(), Error> {
        let mut validator = self.validator();
        let set = request.validate(&mut validator, self.clock.now());
        let set = validator.finish(set)?.authorize(caller, Operation::SetPresence)?;
        Error::of_set(self.batches.set_sessions.call_one(set).await?)
    }
}
