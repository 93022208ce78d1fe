//! The store on PostgreSQL 15 or later, shared by any number of replicas.
//!
//! Each statement is in a `.sql` file beside the code that sends it. In batch statements every
//! parameter is an array inside `unnest`, with a cast. So a statement has one text for every
//! batch size, and is prepared once per connection. No parameter stands inside `on conflict do
//! update`, and only immutable functions are applied to columns, so the statements run unchanged
//! on Citus with tables distributed by user.

mod check;
mod cleanup;
mod clear;
mod committed;
mod common;
mod erase;
mod extend;
mod history;
mod inspect;
mod listener;
mod load;
mod options;
mod room;
mod set;
mod shards;
mod signing_keys;
mod statement;
mod subscriptions;
mod users;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::{
    ClaimSubscriptions, ClearOutcome, ClearSession, CreateOutcome, CreateSubscription, ExtendSession,
    HistoryStats, Hold, Lease, ListSubscriptions, ListUsers, LoadHistory, PoolUse, ReleaseSubscriptions,
    SessionKey, SessionRow, SetOutcome, SetSession, SigningKeyRow, Store, StoreError, StoredHistory,
    Subscription, SubscriptionKey, SubscriptionStore, UpdateSubscription, UpdateUser, UserKey, UserRow,
    connection::PoolOptions,
    sql::{Sql, sql},
};
use crate::{
    clock::Reading,
    presence::{Timestamp, User, UserId},
};
use statement::{Statements, column};

pub use check::FailedStatement;
pub(super) use check::check_statements;
pub use inspect::{PostgresInspector, Server, TableStats};
pub(super) use listener::Listener;
pub(super) use options::{describe, for_pgbouncer, parse};
pub(super) use shards::{Shards, distribute};
pub(super) use statement::Shared;

const DATABASE_TIME: Sql = sql!("database_time");
const READ_ONLY: Sql = sql!("read_only");

/// A [`Store`] on PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresStore {
    statements: Statements,
}

impl PostgresStore {
    /// Opens a store with its own connections to the server.
    pub(super) fn new(options: &PgConnectOptions, pool: PoolOptions, shared: Shared) -> Self {
        Self { statements: Statements::on_own_connections(options, pool, shared) }
    }

    /// Opens a store whose connections lead to a pgbouncer.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions, shared: Shared) -> Self {
        Self { statements: Statements::through_pgbouncer(options, pool, shared) }
    }
}

impl PostgresStore {
    /// Whether the database responds and accepts no writes.
    pub(super) async fn is_read_only(&self) -> bool {
        let rows = self.statements.run(&READ_ONLY, self.statements.query(&READ_ONLY)).await;
        rows.is_ok_and(|result| !result.rows.is_empty())
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<Vec<SetOutcome>, StoreError> {
        set::set_sessions(&self.statements, now, sets).await
    }

    async fn clear_sessions(
        &self,
        now: Timestamp,
        clears: &[ClearSession],
    ) -> Result<Vec<ClearOutcome>, StoreError> {
        clear::clear_sessions(&self.statements, now, clears).await
    }

    async fn extend_sessions(
        &self,
        now: Timestamp,
        held: &[ExtendSession],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        extend::extend_sessions(&self.statements, now, held).await
    }

    async fn current_holds(&self, holds: &[Hold]) -> Result<Vec<bool>, StoreError> {
        extend::current_holds(&self.statements, holds).await
    }

    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError> {
        load::load(&self.statements, now, users).await
    }

    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError> {
        users::update_user(&self.statements, now, update).await
    }

    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError> {
        users::list_users(&self.statements, now, list).await
    }

    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError> {
        users::count_users(&self.statements, now, *tenant_id).await
    }

    async fn scan_sessions(
        &self,
        now: Timestamp,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        cleanup::scan_sessions(&self.statements, now, after, rows).await
    }

    async fn remove_sessions(&self, now: Timestamp, sessions: &[SessionRow]) -> Result<u64, StoreError> {
        cleanup::remove_sessions(&self.statements, now, sessions).await
    }

    async fn scan_users(
        &self,
        now: Timestamp,
        after: Option<&UserKey>,
        rows: u32,
    ) -> Result<Vec<UserRow>, StoreError> {
        cleanup::scan_users(&self.statements, now, after, rows).await
    }

    async fn remove_users(&self, users: &[UserRow]) -> Result<u64, StoreError> {
        cleanup::remove_users(&self.statements, users).await
    }

    async fn load_history(
        &self,
        now: Timestamp,
        load: &LoadHistory,
    ) -> Result<Vec<StoredHistory>, StoreError> {
        history::load_history(&self.statements, now, load).await
    }

    async fn remove_spans(&self, now: Timestamp, before: Timestamp, rows: u32) -> Result<u64, StoreError> {
        history::remove_spans(&self.statements, now, before, rows).await
    }

    async fn erase_author(
        &self,
        user: &UserKey,
        after: Option<&UserId>,
        rows: u32,
    ) -> Result<Option<UserId>, StoreError> {
        erase::erase_author(&self.statements, user, after, rows).await
    }

    async fn erase_user(&self, user: &UserKey) -> Result<u64, StoreError> {
        erase::erase_user(&self.statements, user).await
    }

    async fn export_user(&self, user: &UserKey) -> Result<Vec<String>, StoreError> {
        erase::export_user(&self.statements, user).await
    }

    async fn history_stats(&self) -> Result<HistoryStats, StoreError> {
        history::stats(&self.statements).await
    }

    async fn take_lease(&self, now: Timestamp, lease: &Lease) -> Result<bool, StoreError> {
        cleanup::take_lease(&self.statements, now, lease).await
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        let sent = Reading::now();
        let rows = self.statements.run(&DATABASE_TIME, self.statements.query(&DATABASE_TIME)).await?.rows;
        let Some(row) = rows.first() else {
            return Err(StoreError::Unavailable("the database is read-only".to_owned()));
        };
        let micros: i64 = column(row, 0)?;
        self.statements.clock().observe(sent, micros);
        Ok(Timestamp::from_millis(micros / 1_000))
    }

    fn group(&self, user: &UserKey) -> u32 {
        self.statements.shards().map_or(0, |shards| shards.of(user.user_id.as_str()))
    }

    fn pool_use(&self) -> PoolUse {
        self.statements.pool_use()
    }

    async fn close(&self) {
        self.statements.close().await;
    }
}

#[async_trait]
impl SubscriptionStore for PostgresStore {
    async fn create_subscription(
        &self,
        now: Timestamp,
        create: &CreateSubscription,
    ) -> Result<CreateOutcome, StoreError> {
        subscriptions::create_subscription(&self.statements, now, create).await
    }

    async fn subscription(
        &self,
        now: Timestamp,
        key: &SubscriptionKey,
    ) -> Result<Option<Subscription>, StoreError> {
        subscriptions::subscription(&self.statements, now, key).await
    }

    async fn subscriptions(
        &self,
        now: Timestamp,
        list: &ListSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        subscriptions::subscriptions(&self.statements, now, list).await
    }

    async fn update_subscription(
        &self,
        now: Timestamp,
        update: &UpdateSubscription,
    ) -> Result<Option<Subscription>, StoreError> {
        subscriptions::update_subscription(&self.statements, now, update).await
    }

    async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<bool, StoreError> {
        subscriptions::delete_subscription(&self.statements, key).await
    }

    async fn claim_subscriptions(
        &self,
        now: Timestamp,
        claim: &ClaimSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        subscriptions::claim_subscriptions(&self.statements, now, claim).await
    }

    async fn release_subscriptions(
        &self,
        now: Timestamp,
        release: &ReleaseSubscriptions,
    ) -> Result<(), StoreError> {
        subscriptions::release_subscriptions(&self.statements, now, release).await
    }

    async fn remove_expired_subscriptions(&self, now: Timestamp) -> Result<u64, StoreError> {
        subscriptions::remove_expired_subscriptions(&self.statements, now).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        signing_keys::signing_keys(&self.statements).await
    }

    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError> {
        signing_keys::add_signing_key(&self.statements, key, unless_newer_than).await
    }

    async fn remove_signing_keys(&self, made_before: Timestamp) -> Result<u64, StoreError> {
        signing_keys::remove_signing_keys(&self.statements, made_before).await
    }
}
