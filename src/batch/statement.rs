//! The methods of the store that a batcher can run.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    presence::{Timestamp, User, UserId},
    store::{ClearSession, ListUsers, SetSession, Store, StoreError, UpdateUser, UserKey},
};

/// A method of the store that takes a slice of items and returns one result for each.
#[async_trait]
pub trait Statement: Send + Sync + 'static {
    /// The name in metrics and logs: that of the store's method.
    const NAME: &'static str;
    /// One element of the slice.
    type Item: Send + Sync + 'static;
    /// The result for one item.
    type Output: Send + 'static;

    /// The group of an item; see [`Store::group`]. A batch has the items of one group.
    fn group(_store: &dyn Store, _item: &Self::Item) -> u32 {
        0
    }

    /// Runs the statement. Returns one result for each item, in order.
    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[Self::Item],
    ) -> Result<Vec<Self::Output>, StoreError>;
}

/// [`Store::set_sessions`].
#[derive(Debug)]
pub struct SetSessions;

#[async_trait]
impl Statement for SetSessions {
    const NAME: &'static str = "set_sessions";
    type Item = SetSession;
    type Output = ();

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    async fn execute(store: &dyn Store, now: Timestamp, items: &[SetSession]) -> Result<Vec<()>, StoreError> {
        store.set_sessions(now, items).await?;
        Ok(vec![(); items.len()])
    }
}

/// [`Store::clear_sessions`]. The result is whether the call ended the session.
#[derive(Debug)]
pub struct ClearSessions;

#[async_trait]
impl Statement for ClearSessions {
    const NAME: &'static str = "clear_sessions";
    type Item = ClearSession;
    type Output = bool;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[ClearSession],
    ) -> Result<Vec<bool>, StoreError> {
        store.clear_sessions(now, items).await
    }
}

/// [`Store::extend_sessions`]. The result is whether the session was extended.
#[derive(Debug)]
pub struct ExtendSessions;

#[async_trait]
impl Statement for ExtendSessions {
    const NAME: &'static str = "extend_sessions";
    type Item = SetSession;
    type Output = bool;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[SetSession],
    ) -> Result<Vec<bool>, StoreError> {
        store.extend_sessions(now, items).await
    }
}

/// [`Store::load`].
#[derive(Debug)]
pub struct Load;

#[async_trait]
impl Statement for Load {
    const NAME: &'static str = "load";
    type Item = UserKey;
    type Output = User;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(item)
    }

    async fn execute(store: &dyn Store, now: Timestamp, items: &[UserKey]) -> Result<Vec<User>, StoreError> {
        store.load(now, items).await
    }
}

/// Declares a method of the store that takes a single item.
macro_rules! one_at_a_time {
    ($(#[$meta:meta])* $name:ident, $method:ident, $item:ty => $output:ty) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name;

        #[async_trait]
        impl Statement for $name {
            const NAME: &'static str = stringify!($method);
            type Item = $item;
            type Output = $output;

            async fn execute(
                store: &dyn Store,
                now: Timestamp,
                items: &[$item],
            ) -> Result<Vec<$output>, StoreError> {
                let mut results = Vec::with_capacity(items.len());
                for item in items {
                    results.push(store.$method(now, item).await?);
                }
                Ok(results)
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
    /// [`Store::count_users`]. The item is a tenant.
    CountUsers, count_users, Uuid => u64
}
