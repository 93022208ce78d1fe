//! The store on an embedded SQLite database: one file, one process.
//!
//! SQLite has a single writer, so writes use a pool of one connection. Reads use connections
//! of their own, and because of the write-ahead log they wait for no writer. A batch is one
//! JSON array, which `json_each` unpacks; a single row is plain parameters.

mod cleanup;
mod clear;
mod common;
mod erase;
mod extend;
mod history;
mod inspect;
mod load;
mod options;
mod room;
mod set;
mod signing_keys;
mod subscriptions;
mod users;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use sqlx::{Row as _, Sqlite, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use super::{
    ClaimSubscriptions, ClearOutcome, ClearSession, CreateOutcome, CreateSubscription, ExtendSession,
    HistoryStats, Hold, Lease, ListSubscriptions, ListUsers, LoadHistory, PoolUse, ReleaseSubscriptions,
    SessionKey, SessionRow, SetOutcome, SetSession, SigningKeyRow, Store, StoreError, StoredHistory,
    Subscription, SubscriptionKey, SubscriptionStore, UpdateSubscription, UpdateUser, UserKey, UserRow,
    connection::{ConnectionPool, PoolOptions, with_timeout},
    history::HistoryMode,
    invalidation::Notifier,
    sql::{Sql, sql},
};
use crate::{
    clock::{DatabaseClock, Reading},
    presence::{Timestamp, User, UserId},
};

pub use inspect::{SqliteFile, SqliteInspector};
pub(super) use options::{describe, parse};
pub(super) use room::Room;

/// The page cache of the writer. SQLite's default of 2 MiB would read most of 100,000
/// sessions from the file again, one by one, to set them.
const WRITER_CACHE_KIB: u32 = 16 * 1_024;

/// The number of pages in the write-ahead log, 40 MiB, after which they are copied to the
/// file. Each page is copied once, however often it changed. With SQLite's default of 1,000
/// pages, the log would be copied several times per second under load.
const CHECKPOINT_PAGES: u32 = 20_000;

const DATABASE_TIME: Sql = sql!("database_time");

/// A [`Store`] on SQLite.
#[derive(Debug)]
pub(super) struct SqliteStore {
    /// The file of the database.
    file: PathBuf,
    writer: ConnectionPool<Sqlite>,
    readers: ConnectionPool<Sqlite>,
    clock: DatabaseClock,
    history: Arc<HistoryMode>,
    notifier: Notifier,
    room: Room,
}

impl SqliteStore {
    /// Opens a store with one writing connection, in addition to those of `readers`.
    pub(super) fn new(
        options: &SqliteConnectOptions,
        readers: PoolOptions,
        clock: DatabaseClock,
        history: Arc<HistoryMode>,
        room: Room,
    ) -> Self {
        let writer = options
            .clone()
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            // Removed data is overwritten, for Store::erase_user.
            .pragma("secure_delete", "on");
        let writer = ConnectionPool::new(writer, PoolOptions { size: 1, ..readers });
        Self {
            file: options.get_filename().to_owned(),
            writer: writer.with_setup(history::WriterSetup(Arc::clone(&history))),
            readers: ConnectionPool::new(options.clone(), readers),
            clock,
            history,
            notifier: room.notifier.clone(),
            room,
        }
    }
}

impl SqliteStore {
    /// Prepares a write at `now`. Without history it moves the start of the complete history.
    async fn prepare_write(&self, now: Timestamp) -> Result<(), StoreError> {
        match self.history.start_before(now) {
            Some(start) => history::move_start(&self.writer, &self.history, now, start).await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<Vec<SetOutcome>, StoreError> {
        self.prepare_write(now).await?;
        set::set_sessions(&self.writer, &self.room, now, sets).await
    }

    async fn clear_sessions(
        &self,
        now: Timestamp,
        clears: &[ClearSession],
    ) -> Result<Vec<ClearOutcome>, StoreError> {
        self.prepare_write(now).await?;
        clear::clear_sessions(&self.writer, &self.room, now, clears).await
    }

    async fn extend_sessions(
        &self,
        now: Timestamp,
        held: &[ExtendSession],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.prepare_write(now).await?;
        extend::extend_sessions(&self.writer, &self.notifier, now, held).await
    }

    async fn current_holds(&self, holds: &[Hold]) -> Result<Vec<bool>, StoreError> {
        extend::current_holds(&self.readers, holds).await
    }

    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError> {
        load::load(&self.readers, now, users).await
    }

    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError> {
        self.prepare_write(now).await?;
        users::update_user(&self.writer, &self.notifier, now, update).await
    }

    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError> {
        users::list_users(&self.readers, now, list).await
    }

    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError> {
        users::count_users(&self.readers, now, *tenant_id).await
    }

    async fn scan_sessions(
        &self,
        now: Timestamp,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        cleanup::scan_sessions(&self.readers, now, after, rows).await
    }

    async fn remove_sessions(&self, now: Timestamp, sessions: &[SessionRow]) -> Result<u64, StoreError> {
        self.prepare_write(now).await?;
        cleanup::remove_sessions(&self.writer, sessions).await
    }

    async fn scan_users(
        &self,
        now: Timestamp,
        after: Option<&UserKey>,
        rows: u32,
    ) -> Result<Vec<UserRow>, StoreError> {
        cleanup::scan_users(&self.readers, now, after, rows).await
    }

    async fn remove_users(&self, users: &[UserRow]) -> Result<u64, StoreError> {
        cleanup::remove_users(&self.writer, users).await
    }

    async fn load_history(
        &self,
        now: Timestamp,
        load: &LoadHistory,
    ) -> Result<Vec<StoredHistory>, StoreError> {
        history::load_history(&self.readers, now, load).await
    }

    async fn remove_spans(&self, now: Timestamp, before: Timestamp, rows: u32) -> Result<u64, StoreError> {
        history::remove_spans(&self.writer, &self.history, now, before, rows).await
    }

    async fn erase_author(
        &self,
        user: &UserKey,
        after: Option<&UserId>,
        rows: u32,
    ) -> Result<Option<UserId>, StoreError> {
        erase::erase_author(&self.writer, user, after, rows).await
    }

    async fn erase_user(&self, user: &UserKey) -> Result<u64, StoreError> {
        erase::erase_user(&self.writer, &self.notifier, &self.file, user).await
    }

    async fn export_user(&self, user: &UserKey) -> Result<Vec<String>, StoreError> {
        erase::export_user(&self.readers, user).await
    }

    async fn history_stats(&self) -> Result<HistoryStats, StoreError> {
        history::stats(&self.readers).await
    }

    async fn take_lease(&self, now: Timestamp, lease: &Lease) -> Result<bool, StoreError> {
        cleanup::take_lease(&self.writer, now, lease).await
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        let sent = Reading::now();
        let mut connection = self.readers.acquire().await?;
        let outcome = with_timeout(sqlx::query(DATABASE_TIME.text).fetch_one(&mut *connection)).await;
        let row = self.readers.release(connection, DATABASE_TIME.name, outcome)?;
        let millis: i64 = row.try_get(0)?;
        self.clock.observe(sent, millis.saturating_mul(1_000));
        Ok(Timestamp::from_millis(millis))
    }

    fn pool_use(&self) -> PoolUse {
        let (writer, readers) = (self.writer.pool_use(), self.readers.pool_use());
        PoolUse { open: writer.open + readers.open, idle: writer.idle + readers.idle }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl SubscriptionStore for SqliteStore {
    async fn create_subscription(
        &self,
        now: Timestamp,
        create: &CreateSubscription,
    ) -> Result<CreateOutcome, StoreError> {
        subscriptions::create_subscription(&self.writer, now, create).await
    }

    async fn subscription(
        &self,
        now: Timestamp,
        key: &SubscriptionKey,
    ) -> Result<Option<Subscription>, StoreError> {
        subscriptions::subscription(&self.readers, now, key).await
    }

    async fn subscriptions(
        &self,
        now: Timestamp,
        list: &ListSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        subscriptions::subscriptions(&self.readers, now, list).await
    }

    async fn update_subscription(
        &self,
        now: Timestamp,
        update: &UpdateSubscription,
    ) -> Result<Option<Subscription>, StoreError> {
        subscriptions::update_subscription(&self.writer, now, update).await
    }

    async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<bool, StoreError> {
        subscriptions::delete_subscription(&self.writer, key).await
    }

    async fn claim_subscriptions(
        &self,
        now: Timestamp,
        claim: &ClaimSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        subscriptions::claim_subscriptions(&self.writer, now, claim).await
    }

    async fn release_subscriptions(
        &self,
        now: Timestamp,
        release: &ReleaseSubscriptions,
    ) -> Result<(), StoreError> {
        subscriptions::release_subscriptions(&self.writer, now, release).await
    }

    async fn remove_expired_subscriptions(&self, now: Timestamp) -> Result<u64, StoreError> {
        subscriptions::remove_expired_subscriptions(&self.writer, now).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        signing_keys::signing_keys(&self.readers).await
    }

    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError> {
        signing_keys::add_signing_key(&self.writer, key, unless_newer_than).await
    }

    async fn remove_signing_keys(&self, made_before: Timestamp) -> Result<u64, StoreError> {
        signing_keys::remove_signing_keys(&self.writer, made_before).await
    }
}
