//! Ends a session. Graph: clearPresence.

use super::{Caller, Error, Given, Service, validate::Checks};
use crate::store::SessionKey;

impl Service {
    /// Ends one session; not found if no such session is live.
    pub async fn clear_presence(
        &self,
        caller: &Caller,
        user_id: Given<String>,
        session_id: Given<String>,
    ) -> Result<(), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(user_id);
        let session_id = checks.session_id(session_id);
        let (user_id, session_id) = checks.finish(user_id.zip(session_id))?;
        let key = SessionKey { user: caller.user(user_id), session_id };
        let (_, ended) = self.batches.clear_sessions.call(vec![key]).await?;
        if ended.contains(&true) { Ok(()) } else { Err(Error::session_not_found()) }
    }
}
