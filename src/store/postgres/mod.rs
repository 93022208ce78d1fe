//! The store on PostgreSQL 15 or later, shared by any number of replicas.
//!
//! In the statements that come in batches every parameter is an array inside
//! `unnest` and is cast: so each has one text whatever the length of the batch,
//! is prepared once per connection, and runs unchanged on Citus with the table
//! distributed by user. The time is an array of one element, not sent once for each
//! row. The rare statements, in `users`, take plain parameters.

mod extend;
mod listener;
mod statement;
mod sweep;
mod timestamptz;
mod users;

use std::str::FromStr;

use async_trait::async_trait;
use sqlx::{
    ConnectOptions, Row as _,
    postgres::{PgConnectOptions, PgRow},
};
use uuid::Uuid;

use super::{
    Bite, ListUsers, OpenError, PoolUse, SessionKey, SetSession, Store, StoreError, UpdateUser, UserKey,
    connection::PoolOptions,
    keys,
    rows::{self, Row, at_place, load_columns},
};
use crate::presence::{Timestamp, User, UserId};
pub(super) use listener::Listener;
use listener::tell_changed;
use statement::Statements;
pub(super) use statement::pooled;
use timestamptz::Timestamptz;

/// What a set makes of a session `s` that is there. The fade is
/// [`crate::presence::INACTIVE_AFTER`]; the contract of `changed_at` is
/// [`Store::set_sessions`]'s. Decided on the locked row, so it can't race.
macro_rules! refresh {
    ($new:literal) => {
        concat!(
            "set
        availability = ",
            $new,
            ".availability,
        activity     = ",
            $new,
            ".activity,
        set_at       = ",
            $new,
            ".set_at,
        expires_at   = ",
            $new,
            ".expires_at,
        cleared_at   = null,
        changed_at   = case
            when s.availability <> ",
            $new,
            ".availability
              or s.activity <> ",
            $new,
            ".activity
              or s.cleared_at is not null
              or s.expires_at <= ",
            $new,
            ".set_at
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= ",
            $new,
            ".set_at)
              or ",
            $new,
            ".expires_at < s.expires_at
            then greatest(",
            $new,
            ".set_at, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end"
        )
    };
}

/// Updates the sessions that are there and inserts those that are missing: with
/// `on conflict` alone each refresh locks its row first, and writes a third more
/// to the log. Whoever opens a session makes room for it: `opened` is nothing
/// but for a new one, so a refresh pays nothing for that. What watchers must hear
/// of has moved `changed_at`, to `set_at` or beyond.
const SET_SESSIONS: &str = concat!(
    "
with new as materialized (
    select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity, new.expires_at, new.place,
           at.now as set_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as new (tenant_id, user_id, session_id, availability, activity, expires_at, place)
    cross join unnest($7::timestamptz[]) as at (now)
), refreshed as (
    update presence_sessions as s
    ",
    refresh!("new"),
    "
    from new
    where s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
    returning new.place, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), opened as (
    insert into presence_sessions as s
        (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
    select tenant_id, user_id, session_id, availability, activity, set_at, set_at, expires_at
    from new
    where place not in (select place from refreshed)
    on conflict (tenant_id, user_id, session_id) do update
    ",
    refresh!("excluded"),
    "
    returning s.tenant_id, s.user_id, s.set_at, s.changed_at >= s.set_at as changed
), crowded as (
    select tenant_id, user_id, max(set_at) as now, count(*) as sessions
    from opened
    group by tenant_id, user_id
), kept as (
    select tenant_id, user_id, session_id, set_at, own,
           row_number() over (partition by tenant_id, user_id order by own, live, set_at) as place,
           count(*) over (partition by tenant_id, user_id) + opening as sessions
    from (
        select p.tenant_id, p.user_id, p.session_id, p.set_at,
               (p.tenant_id, p.user_id, p.session_id) in (select tenant_id, user_id, session_id from new)
                   or p.set_at >= crowded.now as own,
               p.cleared_at is null and p.expires_at > crowded.now as live,
               crowded.sessions as opening
        from crowded
        join presence_sessions as p on p.tenant_id = crowded.tenant_id and p.user_id = crowded.user_id
    ) as there
), removed as (
    delete from presence_sessions as s
    using kept
    where s.tenant_id = kept.tenant_id
      and s.user_id = kept.user_id
      and s.session_id = kept.session_id
      and s.set_at = kept.set_at -- another call may have refreshed it meanwhile
      and not kept.own
      and kept.place <= kept.sessions - 100
), changed as (
    select tenant_id, user_id from refreshed where changed
    union all
    select tenant_id, user_id from opened where changed
)
",
    tell_changed!()
);

/// What tells is read, or it would not run.
const CLEAR_SESSIONS: &str = concat!(
    "
with ended as (
    update presence_sessions as s
    set cleared_at = at.now
    from unnest($1::uuid[], $2::text[], $3::text[], $4::int8[]) as gone (tenant_id, user_id, session_id, place)
    cross join unnest($5::timestamptz[]) as at (now)
    where s.tenant_id = gone.tenant_id
      and s.user_id = gone.user_id
      and s.session_id = gone.session_id
      and s.cleared_at is null
      and s.expires_at > at.now
    returning gone.place, s.tenant_id, s.user_id
), changed as (
    select tenant_id, user_id from ended
), told as (",
    tell_changed!(),
    "
)
select place, (select count(*) from told)
from ended"
);

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
            return Err(OpenError::Url(format!("it has the parameter {name:?}, which is none of {allowed}")));
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    Ok(options.application_name("presenced").disable_statement_logging())
}

#[async_trait]
impl Store for PostgresStore {
    async fn set_sessions(&self, now: Timestamp, sets: &[SetSession]) -> Result<(), StoreError> {
        let sets = keys::last_of_each(sets);
        let statement = sqlx::query(SET_SESSIONS)
            .bind(sets.iter().map(|set| set.key.user.tenant_id).collect::<Vec<_>>())
            .bind(sets.iter().map(|set| set.key.user.user_id.as_str()).collect::<Vec<_>>())
            .bind(sets.iter().map(|set| set.key.session_id.as_str()).collect::<Vec<_>>())
            .bind(sets.iter().map(|set| set.pair.availability.as_str()).collect::<Vec<_>>())
            .bind(sets.iter().map(|set| set.pair.activity.as_str()).collect::<Vec<_>>())
            .bind(sets.iter().map(|set| Timestamptz(now + set.expires_after)).collect::<Vec<_>>())
            .bind(vec![Timestamptz(now)]);
        self.statements.run("set_sessions", statement).await?;
        Ok(())
    }

    async fn clear_sessions(&self, now: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError> {
        let distinct = keys::first_of_each(keys);
        let statement = sqlx::query(CLEAR_SESSIONS)
            .bind(distinct.iter().map(|(key, _)| key.user.tenant_id).collect::<Vec<_>>())
            .bind(distinct.iter().map(|(key, _)| key.user.user_id.as_str()).collect::<Vec<_>>())
            .bind(distinct.iter().map(|(key, _)| key.session_id.as_str()).collect::<Vec<_>>())
            .bind(distinct.iter().map(|(_, place)| place_number(*place)).collect::<Vec<_>>())
            .bind(vec![Timestamptz(now)]);
        let ended = self.statements.run("clear_sessions", statement).await?.rows;

        let mut answers = vec![false; keys.len()];
        for row in ended {
            *at_place(&mut answers, usize::try_from(row.number(0)?).ok())? = true;
        }
        Ok(answers)
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

    async fn bite_end(
        &self,
        after: Option<&SessionKey>,
        rows: u32,
    ) -> Result<Option<SessionKey>, StoreError> {
        sweep::bite_end(&self.statements, after, rows).await
    }

    async fn remove_ended(&self, before: Timestamp, bite: &Bite) -> Result<u64, StoreError> {
        sweep::remove_ended(&self.statements, before, bite).await
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

/// The place of a row in the caller's slice, as the database knows it.
fn place_number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
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
