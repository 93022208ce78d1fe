//! Reads what many users are shown as. Graph: getPresencesByUserId.

use std::collections::HashSet;

use super::{Caller, Error, Given, Presence, Service, validate::Checks};
use crate::presence::presence_of;

/// The users that one call may read. Graph: getPresencesByUserId.
pub const USER_IDS_MAX: usize = 650;

impl Service {
    /// What the users are shown as, all at one instant: one presence for each
    /// distinct user id, in the order in which the ids were first given.
    pub async fn batch_get_presences(
        &self,
        caller: &Caller,
        user_ids: Given<Vec<Given<String>>>,
    ) -> Result<Vec<Presence>, Error> {
        let mut checks = Checks::new();
        let user_ids = checks.user_ids(user_ids, USER_IDS_MAX);
        let mut user_ids = checks.finish(user_ids)?;
        let mut seen = HashSet::with_capacity(user_ids.len());
        user_ids.retain(|user_id| seen.insert(user_id.clone()));

        let users = user_ids.iter().map(|user_id| caller.user(user_id.clone())).collect();
        let (now, answers) = self.batches.load.call(users).await?;
        let presences = user_ids.into_iter().zip(answers);
        Ok(presences
            .map(|(user_id, sessions)| Presence { user_id, pair: presence_of(&sessions, now) })
            .collect())
    }
}
