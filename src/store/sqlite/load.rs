//! Reading users.

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use super::common::json;
use crate::{
    presence::{Timestamp, User},
    store::{
        StoreError, UserKey,
        connection::{ConnectionPool, with_timeout},
        keys,
        rows::{self, Row, load_columns},
    },
};

/// With a single `max`, SQLite takes the other columns from the row that has the maximum.
pub(super) const LOAD: &str = concat!(
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

/// [`crate::store::Store::load`].
pub(super) async fn load(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    users: &[UserKey],
) -> Result<Vec<User>, StoreError> {
    let (users, positions) = keys::distinct(users);
    let rows: Vec<_> = users.iter().map(|user| (user.tenant_id, user.user_id.as_str())).collect();
    let mut connection = readers.acquire().await?;
    let statement = sqlx::query(LOAD).bind(json(&rows)?).bind(now.as_millis());
    let outcome = with_timeout(statement.fetch_all(&mut *connection)).await;
    let rows = readers.release(connection, "load", outcome)?;
    rows::users(users.len(), &positions, &rows)
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
