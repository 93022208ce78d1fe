//! Reads what one user is shown as. Graph: presence: get.

use super::{Caller, Error, Given, Presence, Service, validate::Checks};
use crate::presence::{Session, Timestamp, UserId, presence_of};

impl Service {
    /// What the user is shown as; `Offline`/`Offline` without a live session.
    pub async fn get_presence(&self, caller: &Caller, user_id: Given<String>) -> Result<Presence, Error> {
        let (user_id, now, sessions) = self.load_user(caller, user_id).await?;
        Ok(Presence { user_id, pair: presence_of(&sessions, now) })
    }

    /// The live sessions of one user, at the instant that is returned.
    pub(super) async fn load_user(
        &self,
        caller: &Caller,
        user_id: Given<String>,
    ) -> Result<(UserId, Timestamp, Vec<Session>), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(user_id);
        let user_id = checks.finish(user_id)?;
        let (now, mut answers) = self.batches.load.call(vec![caller.user(user_id.clone())]).await?;
        Ok((user_id, now, answers.pop().unwrap_or_default()))
    }
}
