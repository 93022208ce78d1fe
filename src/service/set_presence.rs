//! Opens or refreshes a session. Graph: setPresence.

use std::time::Duration;

use super::{Caller, Error, Given, Service, validate::Checks};
use crate::{
    presence::{Activity, Availability},
    store::{SessionKey, SetSession},
};

/// A session to open or refresh, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPresence {
    /// Required.
    pub user_id: Given<String>,
    /// Required.
    pub session_id: Given<String>,
    /// Required: one of five pairs with the activity.
    pub availability: Given<Availability>,
    /// Required.
    pub activity: Given<Activity>,
    /// 5 to 240 minutes; 5 if missing.
    pub expiration_duration: Given<Duration>,
}

impl SetPresence {
    /// The session that is asked for; `None` if `checks` found something wrong.
    pub(super) fn check(self, caller: &Caller, checks: &mut Checks) -> Option<SetSession> {
        let user_id = checks.user_id(self.user_id);
        let session_id = checks.session_id(self.session_id);
        let pair = checks.session_pair(self.availability, self.activity);
        let expires_after = checks.session_expiration(&self.expiration_duration);
        Some(SetSession {
            key: SessionKey { user: caller.user(user_id?), session_id: session_id? },
            pair: pair?,
            expires_after: expires_after?,
        })
    }
}

impl Service {
    /// Opens or refreshes one session; durable once this returns.
    pub async fn set_presence(&self, caller: &Caller, request: SetPresence) -> Result<(), Error> {
        let mut checks = Checks::new();
        let set = request.check(caller, &mut checks);
        let set = checks.finish(set)?;
        self.batches.set_sessions.call(vec![set]).await?;
        Ok(())
    }
}
