//! Opens or refreshes a session. Graph: setPresence.

use std::time::Duration;

use crate::service::{Caller, Error, Input, Operation, Service, validate::Checks};
use crate::{
    presence::{Activity, Availability, Pair, SessionId, UserId},
    store::SetSession,
};

/// A session to open or refresh, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPresence {
    /// Required.
    pub user_id: Input<String>,
    /// Required.
    pub session_id: Input<String>,
    /// Required: one of five pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// 5 to 240 minutes; 5 if missing.
    pub expiration_duration: Input<Duration>,
}

/// What is left to ask is whether the caller may.
pub(super) struct Checked {
    user_id: UserId,
    session_id: SessionId,
    pair: Pair,
    expires_after: Duration,
}

impl SetPresence {
    /// The session that is asked for; `None` if `checks` found something wrong.
    pub(super) fn check(self, checks: &mut Checks) -> Option<Checked> {
        let user_id = checks.user_id(self.user_id);
        let session_id = checks.session_id(self.session_id);
        let pair = checks.session_pair(self.availability, self.activity);
        let expires_after = checks.session_expiration(&self.expiration_duration);
        Some(Checked {
            user_id: user_id?,
            session_id: session_id?,
            pair: pair?,
            expires_after: expires_after?,
        })
    }
}

impl Checked {
    /// The session to set, if the caller may.
    pub(super) fn authorize(self, caller: &Caller, operation: Operation) -> Result<SetSession, Error> {
        let Self { user_id, session_id, pair, expires_after } = self;
        let key = caller.may_to_session(operation, user_id, session_id)?;
        Ok(SetSession { key, pair, expires_after })
    }
}

impl Service {
    /// Opens or refreshes one session; durable once this returns.
    pub async fn set_presence(&self, caller: &Caller, request: SetPresence) -> Result<(), Error> {
        let mut checks = Checks::new();
        let set = request.check(&mut checks);
        let set = checks.finish(set)?.authorize(caller, Operation::SetPresence)?;
        Ok(self.batches.set_sessions.call_one(set).await?)
    }
}
