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

mod changes;
mod connection;
mod database;
mod error;
mod inspect;
mod keys;
mod postgres;
mod rows;
mod schema;
mod sqlite;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::presence::{Pair, PlaceId, SessionId, Timestamp, User, UserId, WorkLocation};

pub use changes::{Changes, Invalidation, Wanted};
pub use connection::PoolUse;
pub use database::Database;
pub use error::{OpenError, StoreError};
pub use inspect::{Cause, Inspector, Unreached};
pub use postgres::{PostgresInspector, Server, TableStats};
pub use schema::Schema;
pub use sqlite::{SqliteFile, SqliteInspector};

/// The sessions that are kept of one user, so that a read stays bounded
/// whoever makes up session ids.
pub const SESSIONS_MAX: usize = 100;

/// A write that reaches the database after its caller gave up must not undo what was
/// written since: its bytes may lie in the network until that is well again. So a row
/// that was written later than the write's `now` by more than this is left alone: no
/// more than what lies between that `now` and the caller's giving up
/// ([`crate::batch::CALL_TIMEOUT`]), and more than what lies between writes at the same
/// time. A caller that gives up by itself, sooner than that, is not covered.
///
/// Where it is not the write that is late, a clock is behind the one that wrote the
/// row; then less time than this has passed, and the statement is run again without it.
pub const LATE_AFTER: Duration = Duration::from_secs(1);

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

/// A session to open, refresh or extend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSession {
    /// Which one.
    pub key: SessionKey,
    /// What it shows.
    pub pair: Pair,
    /// How long it lives from `now` on.
    pub expires_after: Duration,
}

/// What to do with a part of a user's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Take it away.
    Clear,
    /// Put this in its place.
    Set(T),
}

/// What to change in what a user set beside sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateUser {
    /// Whose it is.
    pub user: UserKey,
    /// The preferred presence, and how long it lasts from `now` on.
    pub preferred: Change<(Pair, Duration)>,
    /// The status message, and when it ends, if it does.
    pub status_message: Change<(String, Option<Timestamp>)>,
    /// The work location that the user chose.
    pub manual_location: Change<WorkLocation>,
    /// The work location that something found out.
    pub automatic_location: Change<WorkLocation>,
}

impl UpdateUser {
    /// Changes nothing yet.
    #[must_use]
    pub const fn new(user: UserKey) -> Self {
        Self {
            user,
            preferred: Change::Keep,
            status_message: Change::Keep,
            manual_location: Change::Keep,
            automatic_location: Change::Keep,
        }
    }

    /// Whether there is anything to put into the row, or only to take away.
    fn sets(&self) -> bool {
        matches!(self.preferred, Change::Set(_))
            || matches!(self.status_message, Change::Set(_))
            || matches!(self.manual_location, Change::Set(_))
            || matches!(self.automatic_location, Change::Set(_))
    }
}

impl<T> Change<T> {
    /// Whether anything is done.
    fn touches(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// What is put in place.
    const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

impl Change<WorkLocation> {
    /// Whether anything is done, and the two columns of what is put in place.
    fn columns(&self) -> (bool, Option<&str>, Option<&str>) {
        let location = self.value();
        let place_id = location.and_then(|location| location.place_id.as_ref());
        let location_type = location.map(|location| location.location_type.as_str());
        (self.touches(), location_type, place_id.map(PlaceId::as_str))
    }
}

/// A page of the users with a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListUsers {
    /// Whose users.
    pub tenant_id: Uuid,
    /// Only those behind this one.
    pub after: Option<UserId>,
    /// So many at most.
    pub limit: u32,
}

/// A range of sessions in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Only those behind this one.
    pub after: Option<SessionKey>,
    /// And up to this one.
    pub through: Option<SessionKey>,
}

impl Chunk {
    /// Above every id: they are visible ASCII.
    const ABOVE: &str = "\u{7f}";

    /// The columns behind which it begins.
    fn first(after: Option<&SessionKey>) -> (Uuid, &str, &str) {
        after.map_or((Uuid::nil(), "", ""), columns)
    }

    /// The columns with which it ends.
    fn last(through: Option<&SessionKey>) -> (Uuid, &str, &str) {
        through.map_or((Uuid::max(), Self::ABOVE, Self::ABOVE), columns)
    }
}

fn columns(key: &SessionKey) -> (Uuid, &str, &str) {
    (key.user.tenant_id, key.user.user_id.as_str(), key.session_id.as_str())
}

/// Durable sessions, and what users set beside them.
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
    /// * A user keeps [`SESSIONS_MAX`] sessions: when more are opened, those that
    ///   have ended give way, and then those that were set longest ago, but none
    ///   that the call itself set; more than that stay until the next is opened.
    /// * `changed_at` becomes `now` if watchers must hear of the set: the pair
    ///   differs, or the session had ended, or it was `Available` and had begun
    ///   to fade, or it now ends earlier. A mere refresh leaves it.
    /// * `changed_at` never goes back, nor stands still when it changes: if
    ///   `now` is not later, it moves by one millisecond.
    /// * Watchers are told of the users whose `changed_at` moved ([`Changes`]),
    ///   and of a mere refresh they are told nothing.
    /// * A call that failed may still happen, but undoes nothing that a call did that
    ///   began after it had failed; so do the other calls that write.
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError>;

    /// Ends sessions; answers in the order of `keys`, `true` where this call
    /// ended the session.
    ///
    /// * A live session ends.
    /// * A session that never was, or has ended, answers `false`.
    /// * Of several clears of one key the first ends the session.
    /// * Another user's or tenant's session is left alone.
    /// * Watchers are told of the users whose session it ended, and of no other.
    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError>;

    /// Extends sessions that somebody holds; answers in the order of `held`, `true`
    /// where the session was extended.
    ///
    /// * A session that shows the pair and has not been cleared was set at `now`,
    ///   and expires at `now` + `expires_after`, or when it was and did if that is later.
    /// * One that has expired is live again.
    /// * One that was cleared, shows another pair, or never was, is left alone and
    ///   answers `false`.
    /// * Of several extensions of one session the longest counts.
    /// * `changed_at` moves as that of a set would, and watchers are told so.
    async fn extend_sessions(&self, now: Timestamp, held: &[SetSession]) -> Result<Vec<bool>, StoreError>;

    /// Reads users; answers in the order of `users`.
    ///
    /// * Every session of the user that is live at `now` is there, and no
    ///   other.
    /// * What the user set beside sessions is there, whether or not it has
    ///   ended.
    /// * `changed_at` is the latest of the changes to that, and of the ends and
    ///   changes of the sessions that have ended.
    /// * A user of whom nothing is kept is empty.
    /// * A user asked for twice is answered twice.
    /// * A load that starts after a write returned sees it.
    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError>;

    /// Changes what one user set beside sessions.
    ///
    /// * What is set takes the place of what was there; a status message was
    ///   published at `now`, a preferred presence ends at `now` + its duration.
    /// * What is cleared is gone; to clear what is not there changes nothing.
    /// * What is kept stays as it was.
    /// * All of it happens, or nothing does.
    /// * The user's `changed_at` becomes `now`; it never goes back, nor stands
    ///   still when something changes.
    /// * Watchers are told of the user if anything was set or taken away.
    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError>;

    /// Lists users of one tenant that have a session live at `now`.
    ///
    /// * In the order of their ids, byte by byte, each once.
    /// * Only those behind `after`; `limit` at most, and fewer only if there
    ///   are no more: so pages neither miss nor repeat a user who is there all
    ///   the time.
    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError>;

    /// Counts the users of one tenant that have a session live at `now`.
    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError>;

    /// The session that stands `rows` places behind `after`, in the order of their
    /// keys; `None` if there are not as many.
    async fn chunk_end(
        &self,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Option<SessionKey>, StoreError>;

    /// Removes the sessions of a chunk that ended at `before` or earlier; says how
    /// many.
    ///
    /// * One that is live, or ended later, stays, and so does one that is set
    ///   meanwhile.
    /// * A set never waits for more than the statement itself.
    async fn remove_ended(&self, before: Timestamp, chunk: &Chunk) -> Result<u64, StoreError>;

    /// What the database takes for the time; also how to learn that it answers.
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// How many connections are open, and how many of them are idle.
    fn pool_use(&self) -> PoolUse;

    /// Waits until running statements have ended, then closes the connections.
    async fn close(&self);
}
