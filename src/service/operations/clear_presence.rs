//! Ends a session. Graph: clearPresence.

use crate::{
    presence::{SessionId, Timestamp, UserId},
    service::{Caller, ClearOutcome, Error, Input, Operation, Service, validator::Validator},
    store::{ClearSession, Observed},
};

/// A session to end, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearPresence {
    /// Required.
    pub user_id: Input<String>,
    /// Required.
    pub session_id: Input<String>,
    /// When the application observed that the session ended; now if missing.
    pub observed_time: Input<Timestamp>,
}

/// A valid [`ClearPresence`] that is not authorized yet.
pub(super) struct ValidClearPresence {
    user_id: UserId,
    session_id: SessionId,
    observed: Observed,
}

impl ClearPresence {
    /// The valid request; `None` if `validator` recorded a violation.
    pub(super) fn validate(self, validator: &mut Validator, now: Timestamp) -> Option<ValidClearPresence> {
        let user_id = validator.user_id(self.user_id);
        let session_id = validator.session_id(self.session_id);
        let observed = validator.observed(self.observed_time, now);
        Some(ValidClearPresence { user_id: user_id?, session_id: session_id?, observed: observed? })
    }
}

impl ValidClearPresence {
    /// The session to end, if the caller has the permission.
    pub(super) fn authorize(self, caller: &Caller, operation: Operation) -> Result<ClearSession, Error> {
        let key = caller.authorize_session(operation, self.user_id, self.session_id)?;
        Ok(ClearSession { key, cleared_by: caller.author(), observed: self.observed, holder: None })
    }
}

impl Service {
    /// Ends one session; an error if the session is not live.
    pub async fn clear_presence(&self, caller: &Caller, request: ClearPresence) -> Result<(), Error> {
        let mut validator = self.validator();
        let clear = request.validate(&mut validator, self.clock.now());
        let clear = validator.finish(clear)?.authorize(caller, Operation::ClearPresence)?;
        match self.batches.clear_sessions.call_one(clear).await? {
            ClearOutcome::Cleared => Ok(()),
            ClearOutcome::NotLive => Err(Error::session_not_found()),
            ClearOutcome::Stale => Err(Error::stale_write()),
        }
    }
}
