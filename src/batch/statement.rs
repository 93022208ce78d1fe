//! The methods of the store that a batcher can run.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    presence::{Timestamp, User, UserId},
    store::{
        ClearOutcome, ClearSession, CreateOutcome, CreateSubscription, ExtendSession, Hold,
        ListSubscriptions, ListUsers, LoadHistory, SetOutcome, SetSession, Store, StoreError, StoredHistory,
        Subscription, SubscriptionKey, UpdateSubscription, UpdateUser, UserKey,
    },
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

    /// The row that an item writes, and the value, both as hashes. A batch writes one value to a row,
    /// so that the history has each value that a caller set.
    fn write_of(_item: &Self::Item) -> Option<(u64, u64)> {
        None
    }

    /// Runs the statement. Returns one result for each item, in order.
    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[Self::Item],
    ) -> Result<Vec<Self::Output>, StoreError>;
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// [`Store::set_sessions`].
#[derive(Debug)]
pub struct SetSessions;

#[async_trait]
impl Statement for SetSessions {
    const NAME: &'static str = "set_sessions";
    type Item = SetSession;
    type Output = SetOutcome;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    fn write_of(item: &Self::Item) -> Option<(u64, u64)> {
        Some((hash(&item.key), hash(&(item.pair, &item.message, &item.set_by, item.observed, item.holder))))
    }

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[SetSession],
    ) -> Result<Vec<SetOutcome>, StoreError> {
        store.set_sessions(now, items).await
    }
}

/// [`Store::clear_sessions`].
#[derive(Debug)]
pub struct ClearSessions;

#[async_trait]
impl Statement for ClearSessions {
    const NAME: &'static str = "clear_sessions";
    type Item = ClearSession;
    type Output = ClearOutcome;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    fn write_of(item: &Self::Item) -> Option<(u64, u64)> {
        Some((hash(&item.key), hash(&(item.observed, item.holder))))
    }

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[ClearSession],
    ) -> Result<Vec<ClearOutcome>, StoreError> {
        store.clear_sessions(now, items).await
    }
}

/// [`Store::extend_sessions`]. The result is the expiry of the session, if the extension applies.
#[derive(Debug)]
pub struct ExtendSessions;

#[async_trait]
impl Statement for ExtendSessions {
    const NAME: &'static str = "extend_sessions";
    type Item = ExtendSession;
    type Output = Option<Timestamp>;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.key.user)
    }

    fn write_of(item: &Self::Item) -> Option<(u64, u64)> {
        Some((hash(&item.key), hash(&(item.holder, &item.change))))
    }

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[ExtendSession],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        store.extend_sessions(now, items).await
    }
}

/// [`Store::current_holds`].
#[derive(Debug)]
pub struct CurrentHolds;

#[async_trait]
impl Statement for CurrentHolds {
    const NAME: &'static str = "current_holds";
    type Item = Hold;
    type Output = bool;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.user)
    }

    async fn execute(store: &dyn Store, _now: Timestamp, items: &[Hold]) -> Result<Vec<bool>, StoreError> {
        store.current_holds(items).await
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

/// [`Store::load_history`].
#[derive(Debug)]
pub struct LoadHistories;

/// A user to read with the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOf {
    /// The user.
    pub user: UserKey,
    /// Only spans that started before this time.
    pub before: Timestamp,
    /// The maximum number of spans.
    pub spans_max: u32,
}

#[async_trait]
impl Statement for LoadHistories {
    const NAME: &'static str = "load_history";
    type Item = HistoryOf;
    type Output = StoredHistory;

    fn group(store: &dyn Store, item: &Self::Item) -> u32 {
        store.group(&item.user)
    }

    /// Items that ask for the same spans share a statement.
    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        items: &[HistoryOf],
    ) -> Result<Vec<StoredHistory>, StoreError> {
        let mut loads: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            loads.entry((item.before, item.spans_max)).or_default().push(index);
        }
        let mut results = vec![StoredHistory::default(); items.len()];
        for ((before, spans_max), indexes) in loads {
            let of = |index: &usize| items.get(*index).map(|item| item.user.clone());
            let users = indexes.iter().filter_map(of).collect();
            let loaded = store.load_history(now, &LoadHistory { users, before, spans_max }).await?;
            for (index, stored) in indexes.into_iter().zip(loaded) {
                if let Some(result) = results.get_mut(index) {
                    *result = stored;
                }
            }
        }
        Ok(results)
    }
}

/// Declares a method of the store that takes a single item.
macro_rules! one_at_a_time {
    ($(#[$meta:meta])* $name:ident, $method:ident($($now:ident)?), $item:ty => $output:ty) => {
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
                _now: Timestamp,
                items: &[$item],
            ) -> Result<Vec<$output>, StoreError> {
                $(let $now = _now;)?
                let mut results = Vec::with_capacity(items.len());
                for item in items {
                    results.push(store.$method($($now,)? item).await?);
                }
                Ok(results)
            }
        }
    };
}

one_at_a_time! {
    /// [`Store::update_user`].
    UpdateUsers, update_user(now), UpdateUser => ()
}

one_at_a_time! {
    /// [`Store::erase_user`].
    EraseUser, erase_user(), UserKey => u64
}

one_at_a_time! {
    /// [`Store::export_user`].
    ExportUser, export_user(), UserKey => Vec<String>
}

/// [`Store::erase_author`].
#[derive(Debug)]
pub struct EraseAuthor;

/// A chunk of the users in whose data an author is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorChunk {
    /// The author.
    pub user: UserKey,
    /// Only users after this one.
    pub after: Option<UserId>,
    /// The number of rows.
    pub rows: u32,
}

#[async_trait]
impl Statement for EraseAuthor {
    const NAME: &'static str = "erase_author";
    type Item = AuthorChunk;
    type Output = Option<UserId>;

    async fn execute(
        store: &dyn Store,
        _now: Timestamp,
        items: &[AuthorChunk],
    ) -> Result<Vec<Option<UserId>>, StoreError> {
        let mut results = Vec::with_capacity(items.len());
        for AuthorChunk { user, after, rows } in items {
            results.push(store.erase_author(user, after.as_ref(), *rows).await?);
        }
        Ok(results)
    }
}

one_at_a_time! {
    /// [`Store::list_users`].
    ListPage, list_users(now), ListUsers => Vec<UserId>
}

one_at_a_time! {
    /// [`Store::count_users`]. The item is a tenant.
    CountUsers, count_users(now), Uuid => u64
}

one_at_a_time! {
    /// [`crate::store::SubscriptionStore::create_subscription`].
    CreateSubscriptions, create_subscription(now), CreateSubscription => CreateOutcome
}

one_at_a_time! {
    /// [`crate::store::SubscriptionStore::subscription`].
    ReadSubscriptions, subscription(now), SubscriptionKey => Option<Subscription>
}

one_at_a_time! {
    /// [`crate::store::SubscriptionStore::subscriptions`].
    ListSubscriptionPage, subscriptions(now), ListSubscriptions => Vec<Subscription>
}

one_at_a_time! {
    /// [`crate::store::SubscriptionStore::update_subscription`].
    UpdateSubscriptions, update_subscription(now), UpdateSubscription => Option<Subscription>
}

one_at_a_time! {
    /// [`crate::store::SubscriptionStore::delete_subscription`].
    DeleteSubscriptions, delete_subscription(), SubscriptionKey => bool
}
