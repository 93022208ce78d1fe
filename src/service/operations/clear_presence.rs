//! Ends a session. Graph: clearPresence.

use crate::{
    service::{Caller, Error, Input, Operation, Service, validator::Validator},
    store::ClearSession,
};

impl Service {
    /// Ends one session; an error if the session is not live.
    pub async fn clear_presence(
        &self,
        caller: &Caller,
        user_id: Input<String>,
        session_id: Input<String>,
    ) -> Result<(), Error> {
        let mut validator = Validator::new();
        let user_id = validator.user_id(user_id);
        let session_id = validator.session_id(session_id);
        let (user_id, session_id) = validator.finish(user_id.zip(session_id))?;
        let key = caller.authorize_session(Operation::ClearPresence, user_id, session_id)?;
        let clear = ClearSession { key, cleared_by: caller.author() };
        if self.batches.clear_sessions.call_one(clear).await? {
            Ok(())
        } else {
            Err(Error::session_not_found())
        }
    }
}
