//! Steps that several operations share: validate user ids, read users, clear a user's settings.

use uuid::Uuid;

use super::{Caller, Error, Input, Operation, ReadFrom, Service, View, validator::Validator};
use crate::{
    presence::{Timestamp, User, UserId},
    store::{ListUsers, UpdateUser, UserChange, UserKey},
};

impl Service {
    /// A validator of one request.
    pub(super) const fn validator(&self) -> Validator {
        Validator::new(self.input)
    }

    /// Validates a request that has only a user id.
    pub(super) fn validate_user_id(&self, user_id: Input<String>) -> Result<UserId, Error> {
        let mut validator = self.validator();
        let user_id = validator.user_id(user_id);
        validator.finish(user_id)
    }

    /// Validates a request that has a user id and a view.
    pub(super) fn validate_user_and_view(
        &self,
        user_id: Input<String>,
        view: Input<View>,
    ) -> Result<(UserId, View), Error> {
        let mut validator = self.validator();
        let (user_id, view) = (validator.user_id(user_id), validator.view(view));
        validator.finish(user_id.zip(view))
    }

    /// Validates a request that has user ids, `max` at most, and a view. Returns each id once, in
    /// the order of the request.
    pub(super) fn validate_user_ids(
        &self,
        user_ids: Input<Vec<Input<String>>>,
        max: usize,
        view: Input<View>,
    ) -> Result<(Vec<UserId>, View), Error> {
        let mut validator = self.validator();
        let (user_ids, view) = (validator.user_ids(user_ids, max), validator.view(view));
        validator.finish(user_ids.zip(view))
    }

    /// Reads several users at one instant, which comes with each user.
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
            user_ids.iter().map(|user_id| caller.authorize(operation, user_id.clone())).collect();
        let (now, users) = self.read(from, |reads| &reads.load, keys?).await?;
        Ok(user_ids.into_iter().zip(users).map(|(user_id, user)| (user_id, user, now)).collect())
    }

    /// Lists the next `limit` users with a live session after a user, in the order of their ids. Returns
    /// also whether others follow.
    pub(super) async fn list_users(
        &self,
        from: ReadFrom,
        tenant_id: Uuid,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<UserId>, bool), Error> {
        // One more user than requested shows that others follow.
        let list = ListUsers { tenant_id, after, include_ended: false, limit: limit.saturating_add(1) };
        let (_, mut lists) = self.read(from, |reads| &reads.list_users, vec![list]).await?;
        let mut user_ids = lists.pop().unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let others_follow = user_ids.len() > limit;
        user_ids.truncate(limit);
        Ok((user_ids, others_follow))
    }

    /// Clears a part of a user's settings: `clear` is that of the part.
    pub(super) async fn clear_user_settings(
        &self,
        caller: &Caller,
        operation: Operation,
        user_id: Input<String>,
        clear: UserChange,
    ) -> Result<(), Error> {
        let user = caller.authorize(operation, self.validate_user_id(user_id)?)?;
        self.update_user(caller, user, clear).await
    }

    /// Changes a part of a user's settings.
    pub(super) async fn update_user(
        &self,
        caller: &Caller,
        user: UserKey,
        change: UserChange,
    ) -> Result<(), Error> {
        let update = UpdateUser { user, change, set_by: caller.author() };
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
