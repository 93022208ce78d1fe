//! Where sessions are kept: a trait that speaks in batches, and its engines.
//!
//! The trait's comments are the contract, sentence by sentence; the suite in
//! `tests/it/conformance/` checks each sentence on every engine. To add a
//! method: write its contract here, a test per sentence there, then the
//! statement in each engine.
//!
//! Rules for engines:
//!
//! 1. One statement per call, whatever its length, and nothing else in its
//!    transaction: a call that is dropped half-way must leave nothing behind.
//! 2. Answer after the commit, never before.
//! 3. `now` is handed in; an engine never reads a clock, its database's
//!    included, except to report it ([`Store::database_time`]).
//! 4. The driver's errors end here: they leave as [`StoreError`].

mod connection;
mod database;
mod error;
mod keys;
mod postgres;
mod rows;
mod schema;
mod sqlite;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::presence::{Pair, Session, SessionId, Timestamp, UserId};

pub use connection::PoolUse;
pub use database::Database;
pub use error::{OpenError, StoreError};

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The organisation; nothing ever crosses tenants.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: UserId,
}

/// A session of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Whose session it is.
    pub user: UserKey,
    /// The application's id.
    pub session_id: SessionId,
}

/// A session to open or refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSession {
    /// Which one.
    pub key: SessionKey,
    /// What it shows.
    pub pair: Pair,
    /// How long it lives from `now` on.
    pub expires_after: Duration,
}

/// Durable sessions.
///
/// A session is live while it was set, has not been cleared since, and its
/// expiry lies ahead of `now`; else it has ended.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Opens or refreshes sessions.
    ///
    /// * A set opens a session that is not live and refreshes one that is.
    /// * The session shows the pair, was set at `now`, and expires at `now` +
    ///   `expires_after`.
    /// * Of several sets of one key the last wins.
    /// * All of them are durable when the call returns, or none is.
    /// * `changed_at` becomes `now` if watchers must hear of the set: the pair
    ///   differs, or the session had ended, or it was `Available` and had begun
    ///   to fade, or it now ends earlier. A mere refresh leaves it.
    /// * `changed_at` never goes back, nor stands still when it changes: if
    ///   `now` is not later, it moves by one millisecond.
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError>;

    /// Ends sessions; answers in the order of `keys`, `true` where this call
    /// ended the session.
    ///
    /// * A live session ends.
    /// * A session that never was, or has ended, answers `false`.
    /// * Of several clears of one key the first ends the session.
    /// * Another user's or tenant's session is left alone.
    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError>;

    /// Reads the sessions of users that are live at `now`; answers in the order
    /// of `users`.
    ///
    /// * Every live session of the user is there, and no other.
    /// * A user without a live session has none.
    /// * A user asked for twice is answered twice.
    /// * A load that starts after a set or clear returned sees it.
    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<Vec<Session>>, StoreError>;

    /// What the database takes for the time; also how to learn that it answers.
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// How many connections are open, and how many of them are idle.
    fn pool_use(&self) -> PoolUse;

    /// Waits until running statements have ended, then closes the connections.
    async fn close(&self);
}
