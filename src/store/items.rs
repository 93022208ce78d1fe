//! What the methods of the store take and return.

use std::time::Duration;

use uuid::Uuid;

use crate::presence::{Author, Pair, PlaceId, SessionId, Span, Timestamp, User, UserId, WorkLocation};

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The organisation. No operation crosses tenants.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: UserId,
}

impl UserKey {
    /// A user that does not exist, for which statements are run to check the database.
    #[must_use]
    pub fn placeholder() -> Self {
        Self { tenant_id: Uuid::max(), user_id: UserId::placeholder() }
    }
}

/// A session of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The owner of the session.
    pub user: UserKey,
    /// The application's id.
    pub session_id: SessionId,
}

/// The columns of an author, such as `set_by_application` and `set_by_user`.
pub(super) fn author_columns(author: &Author) -> (Option<&str>, Option<&str>) {
    (author.application_id.as_ref().map(SessionId::as_str), author.user_id.as_ref().map(UserId::as_str))
}

/// The time at which an application observed what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Observed {
    /// The caller gave no time. The write counts as observed now, or one millisecond after what the
    /// session reflects, so it is never stale.
    #[default]
    Now,
    /// The time that the caller gave. The write is stale if the session reflects a later observation.
    At(Timestamp),
}

impl Observed {
    /// The time of the observation, for a write at `now`.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::At(at) => at,
        }
    }

    /// The time that the caller gave, if any, as a column.
    pub(super) fn column(self) -> Option<i64> {
        match self {
            Self::Now => None,
            Self::At(at) => Some(at.as_millis()),
        }
    }
}

/// A session to open or refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSession {
    /// The key of the session.
    pub key: SessionKey,
    /// The pair that the session shows.
    pub pair: Pair,
    /// The text of the session, not empty; `None` removes it.
    pub message: Option<String>,
    /// The time from `now` until the session expires.
    pub expires_after: Duration,
    /// The author.
    pub set_by: Author,
    /// When the application observed the pair.
    pub observed: Observed,
    /// The token of the stream that holds the session from then on; `None` if none does.
    pub holder: Option<Uuid>,
}

/// The result of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// The session was opened or refreshed.
    Set,
    /// The session reflects a later observation; nothing changed.
    Stale,
    /// The user, or the application, has too many live sessions. The session was cleared again.
    NoRoom,
}

/// A held session to extend, or to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendSession {
    /// The key of the session.
    pub key: SessionKey,
    /// The token of the stream that holds the session.
    pub holder: Uuid,
    /// The time from `now` until the session expires.
    pub expires_after: Duration,
    /// The new value; `None` only extends the session.
    pub change: Option<SessionChange>,
}

/// A new value of a held session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionChange {
    /// The pair that the session shows.
    pub pair: Pair,
    /// The text of the session, not empty; `None` removes it.
    pub message: Option<String>,
    /// When the application observed the pair.
    pub observed: Observed,
}

impl ExtendSession {
    /// The columns of the pair, which are null if it stays.
    pub(super) fn pair_columns(&self) -> (Option<&'static str>, Option<&'static str>) {
        let pair = self.change.as_ref().map(|change| change.pair);
        pair.map(|pair| (pair.availability.into(), pair.activity.into())).unzip()
    }

    /// The column of the text. It stays if the pair does.
    pub(super) fn message_column(&self) -> Option<&str> {
        self.change.as_ref()?.message.as_deref()
    }

    /// The columns `observed_at`, which is 0 if it stays, and `observed_by_caller`.
    pub(super) fn observed_columns(&self, now: Timestamp) -> (i64, bool) {
        match &self.change {
            None => (0, false),
            Some(SessionChange { observed, .. }) => {
                (observed.at(now).as_millis(), *observed != Observed::Now)
            }
        }
    }
}

/// A session to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearSession {
    /// The key of the session.
    pub key: SessionKey,
    /// The author of the clear.
    pub cleared_by: Author,
    /// When the application observed that the session ended.
    pub observed: Observed,
    /// The session ends only if the stream with this token holds it; `None` ends it in any case.
    pub holder: Option<Uuid>,
}

/// The result of a clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearOutcome {
    /// The session was live, and this call ended it.
    Cleared,
    /// The session is missing or has ended, or the holder does not hold it.
    NotLive,
    /// The session reflects a later observation; nothing changed.
    Stale,
}

/// A stream that holds a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The user of the session.
    pub user: UserKey,
    /// The token of the stream.
    pub holder: Uuid,
}

/// A change to one of the two locations of a user.
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

/// A change to a part of a user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateUser {
    /// The user.
    pub user: UserKey,
    /// The part, and its new value.
    pub change: UserChange,
    /// The author.
    pub set_by: Author,
}

/// A part of a user's row with its new value; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// The preferred presence, and the time from `now` until it expires.
    Preferred(Option<(Pair, Duration)>),
    /// The status message, and its expiry, if it has one.
    StatusMessage(Option<(String, Option<Timestamp>)>),
    /// The work locations.
    Locations {
        /// The location that the user chose.
        manual: Change<WorkLocation>,
        /// The location that was detected automatically.
        automatic: Change<WorkLocation>,
    },
}

impl Change<WorkLocation> {
    /// Whether the location is set or cleared, and the new values of its two columns.
    pub(super) fn columns(&self) -> (bool, Option<&str>, Option<&str>) {
        let location = match self {
            Self::Set(location) => Some(location),
            Self::Keep | Self::Clear => None,
        };
        let place_id = location.and_then(|location| location.place_id.as_ref());
        let location_type = location.map(|location| <&str>::from(location.location_type));
        (*self != Self::Keep, location_type, place_id.map(PlaceId::as_str))
    }
}

/// A page of the users of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListUsers {
    /// The tenant of the users.
    pub tenant_id: Uuid,
    /// Only users after this id.
    pub after: Option<UserId>,
    /// Whether users without a live session are listed too.
    pub include_ended: bool,
    /// The maximum number of users.
    pub limit: u32,
}

/// A row of a session, for the cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The key.
    pub key: SessionKey,
    /// The time of the last set, which tells whether the row was set since.
    pub set_at: Timestamp,
    /// The time from which the row is not needed: the end of the session. `None` if that end is
    /// the latest change in the rows of the user, and another row of the user remains.
    pub unused_from: Option<Timestamp>,
}

/// A row of a user, for the cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The key.
    pub key: UserKey,
    /// The time of the last write, which tells whether the row was written since.
    pub set_at: Timestamp,
    /// The time from which the row shows nothing; `None` if it shows something without an end,
    /// or if the user has sessions of which none ended after the last change in the row.
    pub unused_from: Option<Timestamp>,
}

/// Users to read with their history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadHistory {
    /// The users.
    pub users: Vec<UserKey>,
    /// Only spans that started before this time.
    pub before: Timestamp,
    /// The maximum number of spans of each user.
    pub spans_max: u32,
}

/// A user with the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredHistory {
    /// The user.
    pub user: User,
    /// The spans and the current values, in any order.
    pub spans: Vec<Span>,
    /// The time from which the spans are complete; `None` if they are complete.
    pub complete_from: Option<Timestamp>,
    /// The time from which the history in the store is complete; `None` if nothing was removed.
    pub history_start: Option<Timestamp>,
    /// Whether the store has earlier spans, because only some were asked for.
    pub has_more: bool,
}

impl StoredHistory {
    /// Notes the start of the complete history.
    pub(super) fn begin_at(&mut self, start: Option<Timestamp>) {
        self.has_more &= self.complete_from > start;
        self.complete_from = self.complete_from.max(start);
        self.history_start = start;
    }
}

/// The size and the age of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryStats {
    /// The size of its table with the indexes.
    pub bytes: u64,
    /// The end of the oldest span; `None` if there is no span.
    pub oldest_ended_at: Option<Timestamp>,
}

/// The columns of a key before the first one to scan: those of `after`, or such before all keys.
pub(super) fn first_key(after: Option<&UserKey>) -> (Uuid, &str) {
    after.map_or((Uuid::nil(), ""), |key| (key.tenant_id, key.user_id.as_str()))
}

/// A task that one replica does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name of the task.
    pub name: &'static str,
    /// The replica.
    pub owner: Uuid,
    /// The time from `now` until the lease ends unless it is renewed.
    pub duration: Duration,
}
