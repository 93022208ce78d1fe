//! Reads what many users are shown as. Graph: getPresencesByUserId.

use std::collections::HashSet;

use crate::presence::{Timestamp, USER_IDS_MAX, User, UserId};
use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, validate::Checks};

impl Service {
    /// What the users are shown as, all at one instant: one presence for each
    /// distinct user id, in the order in which the ids were first given.
    pub async fn batch_get_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_ids: Input<Vec<Input<String>>>,
    ) -> Result<Vec<Presence>, Error> {
        let user_ids = Self::distinct_user_ids(user_ids, USER_IDS_MAX)?;
        let users = self.load_users(caller, Operation::BatchGetPresences, from, user_ids).await?;
        let presences = users.into_iter();
        Ok(presences
            .map(|(user_id, user, now)| Presence::whole(user_id, &user, now).shown_to(caller))
            .collect())
    }

    /// The user ids, `max` at most, of a request that has nothing else to check;
    /// each once, in the order in which they were first given.
    pub(super) fn distinct_user_ids(
        user_ids: Input<Vec<Input<String>>>,
        max: usize,
    ) -> Result<Vec<UserId>, Error> {
        let mut checks = Checks::new();
        let user_ids = checks.user_ids(user_ids, max);
        let mut user_ids = checks.finish(user_ids)?;
        let mut seen = HashSet::with_capacity(user_ids.len());
        user_ids.retain(|user_id| seen.insert(user_id.clone()));
        Ok(user_ids)
    }

    /// Many users, all at the instant that comes with each.
    pub(super) async fn load_users(
        &self,
        caller: &Caller,
        operation: Operation,
        from: ReadFrom,
        user_ids: Vec<UserId>,
    ) -> Result<Vec<(UserId, User, Timestamp)>, Error> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Result<_, _> =
            user_ids.iter().map(|user_id| caller.may(operation, user_id.clone())).collect();
        let (now, users) = self.read(from, |reads| &reads.load, keys?).await?;
        Ok(user_ids.into_iter().zip(users).map(|(user_id, user)| (user_id, user, now)).collect())
    }
}
