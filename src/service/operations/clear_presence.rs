//! Ends a session. Graph: clearPresence.

use crate::service::{Caller, Error, Input, Operation, Service, validate::Checks};

impl Service {
    /// Ends one session; not found if no such session is live.
    pub async fn clear_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
        session_id: Input<String>,
    ) -> Result<(), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(user_id);
        let session_id = checks.session_id(session_id);
        let (user_id, session_id) = checks.finish(user_id.zip(session_id))?;
        let key = caller.may_to_session(Operation::ClearPresence, user_id, session_id)?;
        if self.batches.clear_sessions.call_one(key).await? {
            Ok(())
        } else {
            Err(Error::session_not_found())
        }
    }
}
