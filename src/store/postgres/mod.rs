//! The store on PostgreSQL 15 or later, shared by any number of replicas.
//!
//! In batch statements every parameter is an array inside `unnest`, with a cast. So a
//! statement has one text for every batch size, is prepared once per connection, and runs
//! unchanged on Citus with tables distributed by user. The time is an array of one element,
//! so that it is not sent once per row. The rare statements in `users` take plain
//! parameters.

mod cleanup;
mod clear;
mod common;
mod extend;
mod inspect;
mod listener;
mod load;
mod options;
mod set;
mod statement;
mod timestamptz;
mod users;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::{
    Chunk, ListUsers, PoolUse, SessionKey, SetSession, Store, StoreError, UpdateUser, UserKey,
    connection::PoolOptions, rows::Row,
};
use crate::presence::{Timestamp, User, UserId};
use statement::Statements;

pub use inspect::{PostgresInspector, Server, TableStats};
pub(super) use listener::Listener;
pub(super) use options::{describe, for_pgbouncer, parse};

/// Returns no row if the server is read-only, as a standby is. Fails without the table.
const DATABASE_TIME: &str = "
select clock_timestamp()
from (select exists (select from presence_sessions)) as readable
where current_setting('transaction_read_only') = 'off'";

/// All statements, for the test that compares them with the golden files.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 11] = [
    set::SET_SESSIONS,
    clear::CLEAR_SESSIONS,
    extend::EXTEND_SESSIONS,
    load::LOAD,
    DATABASE_TIME,
    users::SET,
    users::CLEAR,
    users::LIST,
    users::COUNT,
    cleanup::CHUNK_END,
    cleanup::REMOVE,
];

/// A [`Store`] on PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresStore {
    statements: Statements,
}

impl PostgresStore {
    /// Opens a store with its own connections to the server.
    pub(super) fn new(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        Self { statements: Statements::on_own_connections(options, pool) }
    }

    /// Opens a store whose connections lead to a pgbouncer.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        Self { statements: Statements::through_pgbouncer(options, pool) }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError> {
        set::set_sessions(&self.statements, now, sets).await
    }

    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError> {
        clear::clear_sessions(&self.statements, now, keys).await
    }

    async fn extend_sessions(&self, now: Timestamp, held: &[SetSession]) -> Result<Vec<bool>, StoreError> {
        extend::extend_sessions(&self.statements, now, held).await
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

    async fn chunk_end(
        &self,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Option<SessionKey>, StoreError> {
        cleanup::chunk_end(&self.statements, after, rows).await
    }

    async fn remove_ended(&self, before: Timestamp, chunk: &Chunk) -> Result<u64, StoreError> {
        cleanup::remove_ended(&self.statements, before, chunk).await
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        let rows = self.statements.run("database_time", sqlx::query(DATABASE_TIME)).await?.rows;
        let time = rows.first().map(|row| row.time(0)).transpose()?.flatten();
        time.ok_or_else(|| StoreError::Unavailable("the database is read-only".to_owned()))
    }

    fn pool_use(&self) -> PoolUse {
        self.statements.pool_use()
    }

    async fn close(&self) {
        self.statements.close().await;
    }
}
