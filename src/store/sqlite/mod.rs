//! The store on an embedded SQLite database: one file, one process.
//!
//! SQLite has one writer, so writes go through a pool of one connection; reads
//! have connections of their own and, the journal being a write-ahead log, wait
//! for nobody. A batch travels as one JSON array, unpacked by `json_each`.

mod cleanup;
mod extend;
mod inspect;
mod users;

use std::{path::Path, str::FromStr, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use sqlx::{
    ConnectOptions, Row as _, Sqlite,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    Chunk, ListUsers, OpenError, PoolUse, SessionKey, SetSession, Store, StoreError, UpdateUser, UserKey,
    changes::{Notifier, read_user},
    connection::{ConnectionPool, PoolOptions, limit},
    keys,
    rows::{self, Row, at_place, load_columns, stored},
};
use crate::presence::{Timestamp, User, UserId};
pub use inspect::{SqliteFile, SqliteInspector};

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The pages that the writer keeps in memory. SQLite itself would keep 2 MiB, and
/// read most of 100,000 sessions from the file again, one by one, to set them.
const WRITER_CACHE_KIB: u32 = 16 * 1_024;

/// The size of a page of a new file. A set changes 150 bytes and writes its page to
/// the log: with SQLite's own 4 KiB a second has a tenth fewer sets.
const PAGE_BYTES: u32 = 2 * 1_024;

/// The pages that gather in the write-ahead log before they are copied to the file:
/// 40 MiB. Each is copied once, however often it changed: under load, a log of
/// SQLite's own 1,000 pages would be copied several times a second.
const CHECKPOINT_PAGES: u32 = 20_000;

/// The fade is [`crate::presence::INACTIVE_AFTER`]; the contract of
/// `changed_at` is [`Store::set_sessions`]'s. Without `where true`, SQLite
/// would take `on conflict` for a join's.
macro_rules! set_sessions {
    () => {
        "
insert into presence_sessions as s
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 5, value ->> 6
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    availability = excluded.availability,
    activity     = excluded.activity,
    set_at       = excluded.set_at,
    expires_at   = excluded.expires_at,
    cleared_at   = null,
    changed_at   = case
        when s.availability <> excluded.availability
          or s.activity <> excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then max(excluded.changed_at, s.changed_at + 1)
        else s.changed_at
    end"
    };
}
const SET_SESSIONS: &str = set_sessions!();

/// The same, and says whom watchers must hear of. A row comes back for each
/// session, which is why it is not always asked.
const SET_AND_TELL: &str = concat!(
    set_sessions!(),
    "
returning case when changed_at >= set_at then tenant_id || ' ' || user_id end"
);

const CLEAR_SESSIONS: &str = "
update presence_sessions
set cleared_at = ?2
where (tenant_id, user_id, session_id) in (select value ->> 0, value ->> 1, value ->> 2 from json_each(?1))
  and cleared_at is null
  and expires_at > ?2
returning tenant_id, user_id, session_id";

/// Beside a `max` SQLite takes the other columns from the row that has it.
const LOAD: &str = concat!(
    "
select u.key,
       ",
    load_columns!("?2", "max(max(coalesce(s.cleared_at, s.expires_at), s.changed_at))"),
    "
from json_each(?1) as u
left join presence_sessions as s on s.tenant_id = u.value ->> 0 and s.user_id = u.value ->> 1
left join presence_users as p on p.tenant_id = u.value ->> 0 and p.user_id = u.value ->> 1
group by 1, 2"
);

/// Touches the table, so that a file that can't be read shows.
const DATABASE_TIME: &str = "
select cast(unixepoch('subsec') * 1000 as integer), exists (select 1 from presence_sessions)";

/// All that is sent, for the test that keeps it.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 12] = [
    SET_SESSIONS,
    SET_AND_TELL,
    CLEAR_SESSIONS,
    extend::EXTEND_SESSIONS,
    LOAD,
    DATABASE_TIME,
    users::SET,
    users::CLEAR,
    users::LIST,
    users::COUNT,
    cleanup::CHUNK_END,
    cleanup::REMOVE,
];

/// Sessions in SQLite.
#[derive(Debug)]
pub(super) struct SqliteStore {
    writer: ConnectionPool<Sqlite>,
    readers: ConnectionPool<Sqlite>,
    notifier: Notifier,
}

impl SqliteStore {
    /// A store with one writing connection beside those of `readers`.
    pub(super) fn new(options: &SqliteConnectOptions, readers: PoolOptions, notifier: Notifier) -> Self {
        let writer = options
            .clone()
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string());
        Self {
            writer: ConnectionPool::new(writer, PoolOptions { size: 1, ..readers }),
            readers: ConnectionPool::new(options.clone(), readers),
            notifier,
        }
    }
}

/// The connection settings in the URL. The file is created if there is none.
///
/// `synchronous = full` makes each commit reach the disk: with less, a write
/// that was acknowledged could be lost with the power.
pub(super) fn options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    Ok(plain_options(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .page_size(PAGE_BYTES))
}

/// The same for somebody who only looks, at a file that is there.
pub(super) fn plain_options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    if options.get_filename().as_os_str().is_empty() {
        return Err(OpenError::Url(
            "it names no file; for a database in memory it is sqlite::memory:".to_owned(),
        ));
    }
    Ok(options.create_if_missing(false).busy_timeout(BUSY_TIMEOUT).disable_statement_logging())
}

/// The file in which the database is; `None` if it is in memory.
fn file(options: &SqliteConnectOptions) -> Option<&Path> {
    // What sqlx calls a database in memory is of no use to anybody.
    Some(options.get_filename()).filter(|file| !file.to_string_lossy().starts_with("file:"))
}

/// What it is, and where.
pub(super) fn describe(options: &SqliteConnectOptions) -> String {
    file(options)
        .map_or_else(|| "SQLite in memory".to_owned(), |file| format!("SQLite at {}", file.display()))
}

#[async_trait]
impl Store for SqliteStore {
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError> {
        let sets = keys::last_of_each(sets);
        let mut connection = self.writer.acquire().await?;
        let tell = self.notifier.is_wanted();
        let statement = sqlx::query_scalar(if tell { SET_AND_TELL } else { SET_SESSIONS });
        let outcome = limit(statement.bind(sessions(now, &sets)?).fetch_all(&mut *connection)).await;
        let changed: Result<Vec<Option<String>>, _> = self.writer.settle(connection, "set_sessions", outcome);
        self.notifier.tell(|| match &changed {
            Ok(changed) if tell => changed.iter().flatten().filter_map(|user| read_user(user)).collect(),
            // It is wanted since, or the set failed and may have happened.
            _ => sets.iter().map(|set| set.key.user.clone()).collect(),
        });
        changed.map(drop)
    }

    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError> {
        let distinct = keys::first_of_each(keys);
        let rows: Vec<_> = distinct
            .iter()
            .map(|(key, _)| (key.user.tenant_id, key.user.user_id.as_str(), key.session_id.as_str()))
            .collect();
        let mut connection = self.writer.acquire().await?;
        let statement = sqlx::query(CLEAR_SESSIONS).bind(json(&rows)?).bind(now.as_millis());
        let outcome = limit(statement.fetch_all(&mut *connection)).await;
        let rows = self.writer.settle(connection, "clear_sessions", outcome);
        let ended: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(session_key).collect());
        self.notifier.tell(|| match &ended {
            Ok(ended) => ended.iter().map(|key| key.user.clone()).collect(),
            // It may have happened.
            Err(_) => keys.iter().map(|key| key.user.clone()).collect(),
        });

        let mut answers = vec![false; keys.len()];
        for ended in ended? {
            let place = distinct.binary_search_by(|(key, _)| (*key).cmp(&ended)).ok();
            let place = place.and_then(|index| distinct.get(index)).map(|(_, place)| *place);
            *at_place(&mut answers, place)? = true;
        }
        Ok(answers)
    }

    async fn extend_sessions(&self, now: Timestamp, held: &[SetSession]) -> Result<Vec<bool>, StoreError> {
        extend::extend_sessions(&self.writer, &self.notifier, now, held).await
    }

    async fn load(&self, now: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError> {
        let (users, places) = keys::distinct(users);
        let rows: Vec<_> = users.iter().map(|user| (user.tenant_id, user.user_id.as_str())).collect();
        let mut connection = self.readers.acquire().await?;
        let statement = sqlx::query(LOAD).bind(json(&rows)?).bind(now.as_millis());
        let outcome = limit(statement.fetch_all(&mut *connection)).await;
        let rows = self.readers.settle(connection, "load", outcome)?;
        rows::users(users.len(), &places, &rows)
    }

    async fn update_user(&self, now: Timestamp, update: &UpdateUser) -> Result<(), StoreError> {
        users::update_user(&self.writer, &self.notifier, now, update).await
    }

    async fn list_users(&self, now: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError> {
        users::list_users(&self.readers, now, list).await
    }

    async fn count_users(&self, now: Timestamp, tenant_id: &Uuid) -> Result<u64, StoreError> {
        users::count_users(&self.readers, now, *tenant_id).await
    }

    async fn chunk_end(
        &self,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Option<SessionKey>, StoreError> {
        cleanup::chunk_end(&self.readers, after, rows).await
    }

    async fn remove_ended(&self, before: Timestamp, chunk: &Chunk) -> Result<u64, StoreError> {
        cleanup::remove_ended(&self.writer, before, chunk).await
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let outcome = limit(sqlx::query(DATABASE_TIME).fetch_one(&mut *connection)).await;
        let row = self.readers.settle(connection, "database_time", outcome)?;
        Ok(Timestamp::from_millis(row.try_get(0)?))
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

/// Sessions as one parameter: the key, the pair, when it was set and when it expires.
fn sessions(now: Timestamp, sets: &[&SetSession]) -> Result<String, StoreError> {
    let rows: Vec<_> = sets
        .iter()
        .map(|SetSession { key, pair, expires_after }| {
            (
                key.user.tenant_id,
                key.user.user_id.as_str(),
                key.session_id.as_str(),
                pair.availability.as_str(),
                pair.activity.as_str(),
                now.as_millis(),
                (now + *expires_after).as_millis(),
            )
        })
        .collect();
    json(&rows)
}

/// Rows as one parameter, which `json_each` unpacks.
fn json<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Data(error.to_string()))
}

fn session_key(row: &SqliteRow) -> Result<SessionKey, StoreError> {
    Ok(SessionKey {
        user: UserKey { tenant_id: stored(row.try_get(0)?)?, user_id: stored(row.try_get(1)?)? },
        session_id: stored(row.try_get(2)?)?,
    })
}

impl Row for SqliteRow {
    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
    }
}
