//! Storage of presence: the [`Store`] trait, which works in batches, and its engines.
//!
//! The comments of the trait are the contract. The suite in `tests/it/conformance/` checks
//! each sentence on every engine. To add a method, write its contract here, one test per
//! sentence there, then the statement in each engine.
//!
//! Rules for engines:
//!
//! 1. A write runs one statement, whatever its length, alone in its transaction. A call that
//!    is dropped half-way leaves nothing behind. Citus needs a second statement to notify
//!    watchers, in the same transaction.
//! 2. A call returns after the commit.
//! 3. The caller passes `now`. The engine reads a clock only to recognise a late write
//!    ([`LATE_AFTER`]) and to report it ([`Store::database_time`]).
//! 4. A write locks its rows in the order of their keys, so two writes never wait for each
//!    other.
//! 5. A statement is a file beside the code that sends it. It has a comment for each parameter,
//!    and its name is in metrics and logs.
//! 6. Errors of the driver are converted to [`StoreError`] here.

mod connection;
mod database;
mod error;
mod feed;
mod history;
mod inspect;
mod invalidation;
mod items;
mod keys;
mod kind;
mod postgres;
mod reach;
mod room;
mod rows;
mod schema;
mod sql;
mod sqlite;
mod subscription_rows;
mod subscription_store;
mod subscriptions;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::presence::{Timestamp, User, UserId};

pub use connection::{PoolUse, STATEMENT_TIMEOUT};
pub use database::Database;
pub use error::{Cause, OpenError, StoreError};
pub use feed::InvalidationFeed;
pub use history::InspectedHistory;
pub use inspect::Inspector;
pub use invalidation::{Invalidation, InvalidationSwitch};
pub use items::{
    Change, ClearOutcome, ClearSession, ExtendSession, HistoryStats, Hold, Lease, ListUsers, LoadHistory,
    Observed, SessionChange, SessionKey, SessionRow, SetOutcome, SetSession, StoredHistory, UpdateUser,
    UserChange, UserKey, UserRow,
};
pub use postgres::{FailedStatement, PostgresInspector, Server, TableStats};
pub use reach::Unreached;
pub use schema::Schema;
pub use sqlite::{SqliteFile, SqliteInspector};
pub use subscription_store::SubscriptionStore;
pub use subscriptions::{
    Authorized, ClaimSubscriptions, CreateOutcome, CreateSubscription, DeliveryReport, EncryptionCertificate,
    FailingSubscription, ListSubscriptions, NotificationFormat, ReleaseSubscriptions, SigningKeyRow,
    Subscription, SubscriptionKey, SubscriptionRequest, UpdateSubscription,
};

use items::{author_columns, first_key};

/// A text after all user ids, which are visible ASCII characters.
const LAST_USER_ID: &str = "\u{7f}";

/// The time after `now` within which a write commits, if it commits as its caller expects.
///
/// Until then, a reader still sees the row as it was, and so may see an expiry or a fade that the
/// write prevents. So a set of a session that ends within this time counts as an opening, and moves
/// `changed_at` behind that end. Otherwise the sequence number would go back.
pub const SETTLES_AFTER: Duration = Duration::from_secs(3);

/// The number of sessions kept for one user. It bounds the cost of a read, however many
/// session ids a caller invents.
pub const SESSIONS_MAX: usize = 100;

/// The number of live sessions that one application may have of one user. So an application that never
/// clears its sessions takes no room from others.
pub const APPLICATION_SESSIONS_MAX: usize = 20;

/// The age at which a write counts as late.
///
/// A write whose caller gave up can stay in the network and reach the database later. It
/// must not undo newer writes. So a write carries the store's estimate of the database's time
/// when it began. If it reaches the database more than this later, it changes nothing.
///
/// The wait in the batcher's queue, this, and the timeout of a statement add up to the time
/// after which the caller gives up (`batch::CALL_TIMEOUT`). A caller with a shorter deadline of
/// its own is not covered.
pub const LATE_AFTER: Duration = Duration::from_millis(500);

/// Durable sessions, the other presence data that users set, and its history.
///
/// A session is live if it was set, was not cleared since, and expires after `now`.
/// Otherwise it has ended.
///
/// A span is a value of a session, the preferred presence, the status message or the work
/// locations, with its author, from one instant to another. The write that ends a span appends it
/// to the history, unless history is off:
///
/// 1. A span ends when its value is changed or cleared, when it expires, and when its session is
///    evicted or removed.
/// 2. A new author ends a span, even if the value stays.
/// 3. A refresh by the same author ends none, unless `changed_at` moves: the session had faded or
///    ended, would have done so within [`SETTLES_AFTER`], or now ends earlier.
/// 4. The end of an expired value is its expiry. Its span is appended by the next write of the row,
///    or when the row is removed.
/// 5. The spans of one session or part do not overlap, and have no gap while a value applied.
/// 6. No span is appended twice. None is lost.
/// 7. A span has the author of its value. If a write ended it, it has the author of that write.
/// 8. The end of a span is not before its start, even if a clock went back.
#[async_trait]
pub trait Store: SubscriptionStore + fmt::Debug + Send + Sync + 'static {
    /// Opens or refreshes sessions.
    ///
    /// 1. A set opens a session that is not live and refreshes a session that is live.
    /// 2. The session then shows the pair and the text, or no text, was last set at `now`, and
    ///    expires at `now` + `expires_after`.
    /// 3. If a call sets one key several times, the set that was observed last applies, of equal ones
    ///    the last. Those that were observed before are stale. A set without a time was observed at
    ///    `now`.
    /// 4. All sets of a call apply that are not stale, or none does. They are durable when the call
    ///    returns.
    /// 5. An application has [`APPLICATION_SESSIONS_MAX`] live sessions of a user. Opening more clears
    ///    those of its sessions that were set longest ago. A user keeps [`SESSIONS_MAX`] sessions:
    ///    opening more removes those that ended first. If that many are live, the session that was just
    ///    opened is cleared again. A live session of another application is never cleared. A
    ///    refresh costs nothing for this. It follows the commit; the next opening makes up for a
    ///    failure.
    /// 6. `changed_at` becomes `now` if the set changes what watchers see: the pair or the text
    ///    differs, the session had ended, an `Available` session had begun to fade, or the session
    ///    now ends earlier. A plain refresh leaves `changed_at` unchanged. A session that would
    ///    have ended or faded within [`SETTLES_AFTER`] counts as ended or faded.
    /// 7. `changed_at` moves forward on every change, beyond every end and fade that a reader may
    ///    have seen. If `now` is not later, it moves by one millisecond.
    /// 8. Watchers and streams are notified of the users whose `changed_at` moved, and of those with a
    ///    session that was taken from its stream ([`InvalidationFeed`]). A plain refresh notifies
    ///    none.
    /// 9. A failed call may still apply, but it undoes no write of a call that began after
    ///    the failure. This also holds for the other methods that write.
    /// 10. A write that reaches the database more than [`LATE_AFTER`] after it began changes
    ///     nothing, and the call fails.
    /// 11. A set that was observed before what the session reflects is stale: it changes nothing. One
    ///     that was observed at the same time is not stale. This also holds for clears and for changes
    ///     of held sessions.
    /// 12. A set takes a held session from its stream, and gives it to the stream of the set, if any.
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<Vec<SetOutcome>, StoreError>;

    /// Ends sessions. Returns one result per clear, in the order of `clears`.
    ///
    /// 1. A live session ends. The time of its end is behind every time at which the session
    ///    changed, or expires within [`SETTLES_AFTER`].
    /// 2. A missing or ended session is not live. A clear for a stream does not end a session that the
    ///    stream does not hold.
    /// 3. If a call clears one key several times, the clear that was observed last ends the session,
    ///    of equal ones the first. Those that were observed before are stale. A clear without a time
    ///    was observed at `now`.
    /// 4. The sessions of other users and tenants are unaffected.
    /// 5. Watchers and streams are notified of the users whose session ended or was taken from its
    ///    stream, and of no other user.
    /// 6. "Not live" is true of every set that began before: a clear waits for a set of the session
    ///    that has not committed, and ends it. If it cannot wait so long, it fails.
    /// 7. A cleared session that is missing gets a row without a pair, a mark. It shows nowhere,
    ///    and counts for the limit of sessions.
    async fn clear_sessions(
        &self,
        now: Timestamp,
        clears: &[ClearSession],
    ) -> Result<Vec<ClearOutcome>, StoreError>;

    /// Extends or changes held sessions. Returns one result per session, in the order of `held`: the
    /// expiry of the session, or `None` if the extension does not apply.
    ///
    /// 1. A session that the stream holds is set at `now` and expires at `now` + `expires_after`. A
    ///    later expiry is kept.
    /// 2. A change also sets the pair and the text. It does not apply if it is stale. An extension
    ///    without a change keeps them and the time of observation.
    /// 3. An expired session becomes live again.
    /// 4. A session that was cleared, that the stream does not hold, or that is missing stays so.
    /// 5. If a call extends one session several times, all extensions apply in their order.
    /// 6. `changed_at` moves, and watchers are notified, as for a set.
    /// 7. The extension of a missing session leaves no row.
    async fn extend_sessions(
        &self,
        now: Timestamp,
        held: &[ExtendSession],
    ) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// Returns for each stream whether it still holds a session of the user: one that was not cleared,
    /// and was not set by another caller. It may have expired.
    async fn current_holds(&self, holds: &[Hold]) -> Result<Vec<bool>, StoreError>;

    /// Reads users. Returns one user per key, in the order of `users`.
    ///
    /// 1. A user has every session that is live at `now`, and no other.
    /// 2. A user has all parts of the user's row, expired or not.
    /// 3. `changed_at` is the latest of the row's changes, and `sessions_ended_at` the latest end
    ///    of a session that has ended.
    /// 4. An unknown user is empty.
    /// 5. A user requested twice is returned twice.
    /// 6. A load that starts after a write returned sees that write.
    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError>;

    /// Reads users with their history, each in one snapshot. Returns one user per key, in the order
    /// of `load.users`.
    ///
    /// 1. The user is that of [`Store::load`].
    /// 2. The spans are those of the history that started before `before`, and the current values.
    /// 3. If the history has more than `spans_max` such spans, those that ended last are returned,
    ///    and `complete_from` is the end of the first one.
    /// 4. If spans were removed, or a replica kept none, `history_start` is that time, and
    ///    `complete_from` is not before it.
    async fn load_history(
        &self,
        now: Timestamp,
        load: &LoadHistory,
    ) -> Result<Vec<StoredHistory>, StoreError>;

    /// Changes a part of the row of one user.
    ///
    /// 1. A set replaces the value. A status message is published at `now`; a preferred
    ///    presence expires at `now` + its duration.
    /// 2. A clear removes the value. Clearing a missing value changes nothing.
    /// 3. The other parts, and a kept location, are unchanged.
    /// 4. Both locations change, or none does.
    /// 5. The row's `changed_at` becomes `now`, and it moves forward on every change. A preferred
    ///    presence also moves it to the latest change of the user's sessions.
    /// 6. Watchers are notified if the call set or removed a value.
    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError>;

    /// Lists the users of one tenant that have a session live at `now`. With `include_ended`, those that
    /// have any row of a session or of a user.
    ///
    /// 1. The users are in byte order of their ids, each once.
    /// 2. A page has only users after `after`, and at most `limit`. It has fewer only if no
    ///    more users follow. So pages neither skip nor repeat a user who stays.
    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError>;

    /// Counts the users of one tenant that have a session live at `now`.
    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError>;

    /// Reads the next `rows` sessions after a key, in key order. Fewer rows mean that no more
    /// follow.
    async fn scan_sessions(
        &self,
        now: Timestamp,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Vec<SessionRow>, StoreError>;

    /// Removes sessions. Returns their number.
    ///
    /// 1. A session that was set since it was read is kept.
    /// 2. A session that is being set is kept.
    async fn remove_sessions(&self, now: Timestamp, sessions: &[SessionRow]) -> Result<u64, StoreError>;

    /// Reads the next `rows` rows of users after a key, in key order. Fewer rows mean that no more
    /// follow.
    async fn scan_users(
        &self,
        now: Timestamp,
        after: Option<&UserKey>,
        rows: u32,
    ) -> Result<Vec<UserRow>, StoreError>;

    /// Removes rows of users. Returns their number.
    ///
    /// 1. A row that was written since it was read is kept.
    /// 2. A row that is being written is kept.
    async fn remove_users(&self, users: &[UserRow]) -> Result<u64, StoreError>;

    /// Removes up to `rows` spans of the history that ended before a time. Returns their number;
    /// fewer mean that no more follow. Citus removes all at once.
    ///
    /// 1. First the start of the complete history moves to that time.
    async fn remove_spans(&self, now: Timestamp, before: Timestamp, rows: u32) -> Result<u64, StoreError>;

    /// Removes the name of a user as author from the data of other users, in about `rows` rows of
    /// users after a user. Returns the last of these users; `None` if no more follow.
    ///
    /// 1. Only the name is removed: the values, their times and the applications stay.
    async fn erase_author(
        &self,
        user: &UserKey,
        after: Option<&UserId>,
        rows: u32,
    ) -> Result<Option<UserId>, StoreError>;

    /// Removes the sessions, the row and the history of a user, and the subscriptions that the user made.
    /// Returns the number of removed rows.
    ///
    /// 1. Watchers are notified.
    /// 2. The other users and tenants are unaffected.
    /// 3. An extension of a removed session fails, and leaves no row.
    ///
    /// Unlike other writes, an erase that arrives late removes also what was set since.
    /// 4. On SQLite, the file and its write-ahead log don't contain the id any more. Only a file of
    ///    more than 256 MiB can have remains of it; a warning says so. A subscription that another user
    ///    made can name the id, until it expires.
    async fn erase_user(&self, user: &UserKey) -> Result<u64, StoreError>;

    /// Returns every row of a user as a JSON object: the name of its table, and its columns. The secrets
    /// that sign notifications are left out.
    async fn export_user(&self, user: &UserKey) -> Result<Vec<String>, StoreError>;

    /// Reads the size and the age of the history. The time for this does not depend on the number of
    /// spans.
    ///
    /// 1. The size is that of the table with its indexes. On SQLite it is an estimate, and 0 if there
    ///    is no span.
    /// 2. The oldest span is the one that ended first.
    async fn history_stats(&self) -> Result<HistoryStats, StoreError>;

    /// Takes or renews a lease. Returns whether the owner has it.
    ///
    /// 1. Of several owners, one has the lease.
    /// 2. A lease that was not renewed ends after its duration.
    async fn take_lease(&self, now: Timestamp, lease: &Lease) -> Result<bool, StoreError>;

    /// Returns the time of the database's clock, which the clock of the store follows from then
    /// on. It also shows that the database responds and accepts writes.
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// The group of a user. A write to users of one group is cheaper than one to several groups.
    /// On Citus it is the shard; elsewhere there is one group.
    fn group(&self, _user: &UserKey) -> u32 {
        0
    }

    /// Returns the number of open and of idle connections.
    fn pool_use(&self) -> PoolUse;

    /// Waits until running statements have ended, then closes the connections.
    async fn close(&self);
}
