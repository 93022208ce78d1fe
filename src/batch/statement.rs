//! The methods of the store, as the batcher sees them.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    presence::{Timestamp, User, UserId},
    store::{ListUsers, SessionKey, SetSession, Store, StoreError, UpdateUser, UserKey},
};

/// A method of the store that takes members in a slice and answers each.
#[async_trait]
pub trait Statement: Send + Sync + 'static {
    /// Its name in metrics and logs: the store's method.
    const NAME: &'static str;
    /// What it does one thing to.
    type Member: Send + Sync + 'static;
    /// What it says of one member.
    type Output: Send + 'static;

    /// Runs it; one answer for each member, in order.
    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[Self::Member],
    ) -> Result<Vec<Self::Output>, StoreError>;
}

/// [`Store::set_sessions`].
#[derive(Debug)]
pub struct SetSessions;

#[async_trait]
impl Statement for SetSessions {
    const NAME: &'static str = "set_sessions";
    type Member = SetSession;
    type Output = ();

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[SetSession],
    ) -> Result<Vec<()>, StoreError> {
        store.set_sessions(now, members).await?;
        Ok(vec![(); members.len()])
    }
}

/// [`Store::clear_sessions`]: whether the call ended the session.
#[derive(Debug)]
pub struct ClearSessions;

#[async_trait]
impl Statement for ClearSessions {
    const NAME: &'static str = "clear_sessions";
    type Member = SessionKey;
    type Output = bool;

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[SessionKey],
    ) -> Result<Vec<bool>, StoreError> {
        store.clear_sessions(now, members).await
    }
}

/// [`Store::extend_sessions`]: whether the session was extended.
#[derive(Debug)]
pub struct ExtendSessions;

#[async_trait]
impl Statement for ExtendSessions {
    const NAME: &'static str = "extend_sessions";
    type Member = SetSession;
    type Output = bool;

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[SetSession],
    ) -> Result<Vec<bool>, StoreError> {
        store.extend_sessions(now, members).await
    }
}

/// [`Store::load`].
#[derive(Debug)]
pub struct Load;

#[async_trait]
impl Statement for Load {
    const NAME: &'static str = "load";
    type Member = UserKey;
    type Output = User;

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[UserKey],
    ) -> Result<Vec<User>, StoreError> {
        store.load(now, members).await
    }
}

/// Declares a method of the store that does one thing at a time. The batcher
/// hands it one member.
macro_rules! one_at_a_time {
    ($(#[$meta:meta])* $name:ident, $method:ident, $member:ty => $answer:ty) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name;

        #[async_trait]
        impl Statement for $name {
            const NAME: &'static str = stringify!($method);
            type Member = $member;
            type Output = $answer;

            async fn execute(
                store: &dyn Store,
                now: Timestamp,
                members: &[$member],
            ) -> Result<Vec<$answer>, StoreError> {
                let mut answers = Vec::with_capacity(members.len());
                for member in members {
                    answers.push(store.$method(now, member).await?);
                }
                Ok(answers)
            }
        }
    };
}

one_at_a_time! {
    /// [`Store::update_user`].
    UpdateUsers, update_user, UpdateUser => ()
}

one_at_a_time! {
    /// [`Store::list_users`].
    ListPage, list_users, ListUsers => Vec<UserId>
}

one_at_a_time! {
    /// [`Store::count_users`], of a tenant.
    CountUsers, count_users, Uuid => u64
}
