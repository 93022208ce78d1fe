//! The store on PostgreSQL 15 or later, shared by any number of replicas.
//!
//! In the statements that come in batches every parameter is an array inside
//! `unnest` and is cast: so each has one text whatever the length of the batch,
//! is prepared once per connection, and runs unchanged on Citus with the table
//! distributed by user. The time is an array of one element, not sent once for each
//! row. The rare statements, in `users`, take plain parameters.

mod cleanup;
mod clear;
mod extend;
mod inspect;
mod listener;
mod set;
mod statement;
mod timestamptz;
mod users;

use std::str::FromStr;

use async_trait::async_trait;
use sqlx::{
    ConnectOptions, Postgres, Row as _,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::{
    Chunk, LATE_AFTER, ListUsers, OpenError, PoolUse, SessionKey, SetSession, Store, StoreError, UpdateUser,
    UserKey,
    connection::PoolOptions,
    keys,
    rows::{self, Row, load_columns},
};
use crate::{
    clock::Stopwatch,
    presence::{Timestamp, User, UserId},
};
pub use inspect::{PostgresInspector, Server, TableStats};
pub(super) use listener::Listener;
use statement::Statements;
pub(super) use statement::pooled;
use timestamptz::Timestamptz;

const LOAD: &str = concat!(
    "
select distinct on (1, 2)
       u.place - 1,
       ",
    load_columns!("at.now", "greatest(coalesce(s.cleared_at, s.expires_at), s.changed_at)"),
    "
from unnest($1::uuid[], $2::text[]) with ordinality as u (tenant_id, user_id, place)
cross join unnest($3::timestamptz[]) as at (now)
left join presence_sessions as s on s.tenant_id = u.tenant_id and s.user_id = u.user_id
left join presence_users as p on p.tenant_id = u.tenant_id and p.user_id = u.user_id
order by 1, 2, 3 desc"
);

/// No row where nothing can be written, as on a standby, and an error without
/// the table.
const DATABASE_TIME: &str = "
select clock_timestamp()
from (select exists (select from presence_sessions)) as readable
where current_setting('transaction_read_only') = 'off'";

/// When a write began, to tell one that is late from a clock that is behind.
struct Begun(Stopwatch);

impl Begun {
    fn now() -> Self {
        Self(Stopwatch::start())
    }

    /// Whether what was left alone may be written after all: an error if not.
    fn may_go_on(&self) -> Result<(), StoreError> {
        if self.0.elapsed() < LATE_AFTER {
            return Ok(());
        }
        Err(StoreError::Unavailable("it came late, and something newer was there".to_owned()))
    }
}

/// What is wrong with the second of two statements: the first may have done something,
/// so that it is not for the caller to run both again.
fn halfway(error: StoreError) -> StoreError {
    match error {
        StoreError::Conflict(text) | StoreError::Data(text) => StoreError::Unavailable(text),
        unavailable @ StoreError::Unavailable(_) => unavailable,
    }
}

/// A statement is planned once for each connection. PostgreSQL would plan each anew,
/// because it finds a plan for the very length of a batch to be cheaper, and take
/// longer for that than to run it. The one plan must suit whatever the tables hold
/// later: rows are found by their keys, one after the other. What is looked for among
/// the members of a batch is asked with `in`, which hashes them, for no join may.
const ONE_PLAN: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// All that is sent, for the test that keeps it.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 11] = [
    set::SET_SESSIONS,
    clear::CLEAR_SESSIONS,
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

/// Sessions on PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresStore {
    statements: Statements,
}

impl PostgresStore {
    /// A store with connections of its own.
    pub(super) fn new(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        Self { statements: Statements::on_own_connections(options, pool) }
    }

    /// A store whose connections lead to a pgbouncer.
    pub(super) fn through_pgbouncer(options: &PgConnectOptions, pool: PoolOptions) -> Self {
        Self { statements: Statements::through_pgbouncer(options, pool) }
    }
}

/// The parameters that a URL may have. sqlx would log any other one, with its
/// value, and go on: a misspelt password would be in the log.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "ssl-mode",
    "statement-cache-capacity",
    "user",
];

/// The connection settings in the URL.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').filter_map(|parameter| parameter.split('=').next());
    for name in names.filter(|name| !name.is_empty()) {
        if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
            let allowed = PARAMETERS.join(", ");
            // It may be what stands behind a ? in a password.
            let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
            let which =
                if is_name { format!("the parameter {name:?}, which") } else { "one that".to_owned() };
            let what = format!("of its parameters it has {which} is none of {allowed}");
            return Err(OpenError::Url(format!("{what}; in a password a ? is written %3F")));
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    Ok(options.application_name("presenced").disable_statement_logging())
}

/// What it is, and where, and what stands before it, without secrets.
pub(super) fn describe(direct: &PgConnectOptions, pgbouncer: Option<&PgConnectOptions>) -> String {
    let place = |way: &PgConnectOptions| format!("{}:{}", way.get_host(), way.get_port());
    let database = direct.get_database().unwrap_or("(the user's)");
    let pgbouncer = pgbouncer.map(|way| format!(", through pgbouncer at {}", place(way)));
    format!("PostgreSQL at {}, database {database}{}", place(direct), pgbouncer.unwrap_or_default())
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
        let (users, places) = keys::distinct(users);
        let statement = sqlx::query(LOAD)
            .bind(users.iter().map(|user| user.tenant_id).collect::<Vec<Uuid>>())
            .bind(users.iter().map(|user| user.user_id.as_str()).collect::<Vec<_>>())
            .bind(vec![Timestamptz(now)]);
        let rows = self.statements.run("load", statement).await?.rows;
        rows::users(users.len(), &places, &rows)
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
        time.ok_or_else(|| StoreError::Unavailable("the database takes no writes".to_owned()))
    }

    fn pool_use(&self) -> PoolUse {
        self.statements.pool_use()
    }

    async fn close(&self) {
        self.statements.close().await;
    }
}

/// A statement whose first parameters are sessions, in their order.
fn sessions<'a>(
    sql: &'static str,
    now: Timestamp,
    sets: &[&'a SetSession],
) -> Query<'a, Postgres, PgArguments> {
    sqlx::query(sql)
        .bind(sets.iter().map(|set| set.key.user.tenant_id).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.key.user.user_id.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.key.session_id.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.pair.availability.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| set.pair.activity.as_str()).collect::<Vec<_>>())
        .bind(sets.iter().map(|set| Timestamptz(now + set.expires_after)).collect::<Vec<_>>())
}

/// The same places as ours: the database counts from 1.
fn places(places: Vec<i64>) -> Vec<usize> {
    places.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect()
}

/// Which type a column has is the statement's affair: to compare it for each value
/// would cost as much as to read it.
impl Row for PgRow {
    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get_unchecked(column)?)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.try_get_unchecked(column)?)
    }

    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.try_get_unchecked::<Option<Timestamptz>, _>(column)?.map(|Timestamptz(time)| time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_may_be_a_password_is_not_shown() {
        let text = |url| options(url).unwrap_err().to_string();
        assert!(
            text("postgres://me@db/presence?sslmod=require").contains("it has the parameter \"sslmod\", ")
        );
        let text = text("postgres://me:pass?word@db/presence");
        assert!(!text.contains("word@") && text.contains("in a password a ? is written %3F"), "{text}");
    }
}
