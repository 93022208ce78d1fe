//! Storage of presence: the [`Store`] trait, which works in batches, and its engines.
//!
//! The comments of the trait are the contract. The suite in `tests/it/conformance/` checks
//! each sentence on every engine. To add a method, write its contract here, one test per
//! sentence there, then the statement in each engine.
//!
//! Rules for engines:
//!
//! 1. A call runs one statement, whatever its length, alone in its transaction. A call that
//!    is dropped half-way leaves nothing behind.
//! 2. A call returns after the commit.
//! 3. The caller passes `now`. An engine never reads a clock, its database's included,
//!    except to report it ([`Store::database_time`]).
//! 4. Errors of the driver are converted to [`StoreError`] here.

mod connection;
mod database;
mod error;
mod feed;
mod inspect;
mod invalidation;
mod keys;
mod postgres;
mod reach;
mod rows;
mod schema;
mod sqlite;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::presence::{Pair, PlaceId, SessionId, Timestamp, User, UserId, WorkLocation};

pub use connection::PoolUse;
pub use database::Database;
pub use error::{OpenError, StoreError};
pub use feed::InvalidationFeed;
pub use inspect::Inspector;
pub use invalidation::{Invalidation, InvalidationSwitch};
pub use postgres::{PostgresInspector, Server, TableStats};
pub use reach::{Cause, Unreached};
pub use schema::Schema;
pub use sqlite::{SqliteFile, SqliteInspector};

/// The number of sessions kept for one user. It bounds the cost of a read, however many
/// session ids a caller invents.
pub const SESSIONS_MAX: usize = 100;

/// The age at which a write counts as late.
///
/// A write whose caller gave up can stay in the network and reach the database later. It
/// must not undo newer writes. So a write leaves a row unchanged if the row was written more
/// than this after the write's `now`. The value is at most the time from that `now` until
/// the caller gives up (`batch::CALL_TIMEOUT`), and more than the time between concurrent
/// writes. A caller with a shorter deadline of its own is not covered.
///
/// A row can also look newer because the replica's clock is behind. Then less time than this
/// has passed since the write began, and the statement runs again without the check.
pub const LATE_AFTER: Duration = Duration::from_secs(1);

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The organisation. No operation crosses tenants.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: UserId,
}

/// A session of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The owner of the session.
    pub user: UserKey,
    /// The application's id.
    pub session_id: SessionId,
}

/// A session to open, refresh or extend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSession {
    /// The key of the session.
    pub key: SessionKey,
    /// The pair that the session shows.
    pub pair: Pair,
    /// The time from `now` until the session expires.
    pub expires_after: Duration,
}

/// A change to one part of a user's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Keep the current value.
    #[default]
    Keep,
    /// Remove the value.
    Clear,
    /// Replace the value.
    Set(T),
}

/// Changes to a user's row: the preferred presence, status message and work locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateUser {
    /// The user.
    pub user: UserKey,
    /// The preferred presence, and the time from `now` until it expires.
    pub preferred: Change<(Pair, Duration)>,
    /// The status message, and its expiry, if it has one.
    pub status_message: Change<(String, Option<Timestamp>)>,
    /// The work location that the user chose.
    pub manual_location: Change<WorkLocation>,
    /// The work location that was detected automatically.
    pub automatic_location: Change<WorkLocation>,
}

impl UpdateUser {
    /// An update that keeps every part.
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

    /// Whether the update sets a part. If not, it only clears parts.
    fn sets(&self) -> bool {
        matches!(self.preferred, Change::Set(_))
            || matches!(self.status_message, Change::Set(_))
            || matches!(self.manual_location, Change::Set(_))
            || matches!(self.automatic_location, Change::Set(_))
    }
}

impl<T> Change<T> {
    /// Whether the part is set or cleared.
    fn applies(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// The new value, if there is one.
    const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

impl Change<WorkLocation> {
    /// Whether the location is set or cleared, and the new values of its two columns.
    fn columns(&self) -> (bool, Option<&str>, Option<&str>) {
        let location = self.value();
        let place_id = location.and_then(|location| location.place_id.as_ref());
        let location_type = location.map(|location| <&str>::from(location.location_type));
        (self.applies(), location_type, place_id.map(PlaceId::as_str))
    }
}

/// A page of the users with a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListUsers {
    /// The tenant of the users.
    pub tenant_id: Uuid,
    /// Only users after this id.
    pub after: Option<UserId>,
    /// The maximum number of users.
    pub limit: u32,
}

/// A range of sessions in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The exclusive lower bound.
    pub after: Option<SessionKey>,
    /// The inclusive upper bound.
    pub through: Option<SessionKey>,
}

impl Chunk {
    /// A text greater than every id, because ids are visible ASCII.
    const ABOVE_ALL_IDS: &str = "\u{7f}";

    /// The columns of the lower bound.
    fn lower_bound(after: Option<&SessionKey>) -> (Uuid, &str, &str) {
        after.map_or((Uuid::nil(), "", ""), columns)
    }

    /// The columns of the upper bound.
    fn upper_bound(through: Option<&SessionKey>) -> (Uuid, &str, &str) {
        through.map_or((Uuid::max(), Self::ABOVE_ALL_IDS, Self::ABOVE_ALL_IDS), columns)
    }
}

fn columns(key: &SessionKey) -> (Uuid, &str, &str) {
    (key.user.tenant_id, key.user.user_id.as_str(), key.session_id.as_str())
}

/// Durable sessions, and the other presence data that users set.
///
/// A session is live if it was set, was not cleared since, and expires after `now`.
/// Otherwise it has ended.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Opens or refreshes sessions.
    ///
    /// 1. A set opens a session that is not live and refreshes a session that is live.
    /// 2. The session then shows the pair, was last set at `now`, and expires at `now` +
    ///    `expires_after`.
    /// 3. If a call sets one key several times, the last set applies.
    /// 4. All sets of a call apply, or none does. They are durable when the call returns.
    /// 5. A user keeps [`SESSIONS_MAX`] sessions. Opening more removes ended sessions first,
    ///    then the sessions that were set longest ago. It never removes a session that the
    ///    call itself set. The next opening removes an excess that remains.
    /// 6. `changed_at` becomes `now` if the set changes what watchers see: the pair differs,
    ///    the session had ended, an `Available` session had begun to fade, or the session
    ///    now ends earlier. A plain refresh leaves `changed_at` unchanged.
    /// 7. `changed_at` moves forward on every change. If `now` is not later, it moves by one
    ///    millisecond.
    /// 8. Watchers are notified of the users whose `changed_at` moved
    ///    ([`InvalidationFeed`]). A plain refresh notifies no watcher.
    /// 9. A failed call may still apply, but it undoes no write of a call that began after
    ///    the failure. This also holds for the other methods that write.
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError>;

    /// Ends sessions. Returns one result per key, in the order of `keys`: `true` if this
    /// call ended the session.
    ///
    /// 1. A live session ends.
    /// 2. The result is `false` for a missing or ended session.
    /// 3. If a call clears one key several times, the first clear ends the session.
    /// 4. The sessions of other users and tenants are unaffected.
    /// 5. Watchers are notified of the users whose session ended, and of no other user.
    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError>;

    /// Extends held sessions. Returns one result per session, in the order of `held`: `true`
    /// if the session was extended.
    ///
    /// 1. A session that shows the pair and was not cleared is set at `now` and expires at
    ///    `now` + `expires_after`. A later expiry is kept.
    /// 2. An expired session becomes live again.
    /// 3. A session that was cleared, shows another pair, or is missing is unaffected, and
    ///    its result is `false`.
    /// 4. If a call extends one session several times, the longest extension applies.
    /// 5. `changed_at` moves, and watchers are notified, as for a set.
    async fn extend_sessions(&self, now: Timestamp, held: &[SetSession]) -> Result<Vec<bool>, StoreError>;

    /// Reads users. Returns one user per key, in the order of `users`.
    ///
    /// 1. A user has every session that is live at `now`, and no other.
    /// 2. A user has all parts of the user's row, expired or not.
    /// 3. `changed_at` is the latest of the row's changes and of the ends and changes of
    ///    ended sessions.
    /// 4. An unknown user is empty.
    /// 5. A user requested twice is returned twice.
    /// 6. A load that starts after a write returned sees that write.
    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError>;

    /// Changes the row of one user.
    ///
    /// 1. A set replaces the value. A status message is published at `now`; a preferred
    ///    presence expires at `now` + its duration.
    /// 2. A clear removes the value. Clearing a missing value changes nothing.
    /// 3. A kept part is unchanged.
    /// 4. All changes apply, or none does.
    /// 5. The row's `changed_at` becomes `now`, and it moves forward on every change.
    /// 6. Watchers are notified if the call set or removed a value.
    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError>;

    /// Lists the users of one tenant that have a session live at `now`.
    ///
    /// 1. The users are in byte order of their ids, each once.
    /// 2. A page has only users after `after`, and at most `limit`. It has fewer only if no
    ///    more users follow. So pages neither skip nor repeat a user who stays live.
    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError>;

    /// Counts the users of one tenant that have a session live at `now`.
    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError>;

    /// Returns the key of the session that is `rows` sessions after `after`, in key order.
    /// Returns `None` if fewer sessions follow.
    async fn chunk_end(
        &self,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Option<SessionKey>, StoreError>;

    /// Removes the sessions of a chunk that ended at or before `before`. Returns their
    /// number.
    ///
    /// 1. A live session, a session that ended later, and a session that is being set are
    ///    kept.
    /// 2. A concurrent set waits no longer than this one statement.
    async fn remove_ended(&self, before: Timestamp, chunk: &Chunk) -> Result<u64, StoreError>;

    /// Returns the time of the database's clock. It also shows that the database responds.
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// Returns the number of open and of idle connections.
    fn pool_use(&self) -> PoolUse;

    /// Waits until running statements have ended, then closes the connections.
    async fn close(&self);
}
