//! Reading users.

use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{statement::Statements, timestamptz::Timestamptz};
use crate::{
    presence::{Timestamp, User},
    store::{
        StoreError, UserKey, keys,
        rows::{self, Row, load_columns},
    },
};

pub(super) const LOAD: &str = concat!(
    "
select distinct on (1, 2)
       u.ordinal - 1,
       ",
    load_columns!("at.now", "greatest(coalesce(s.cleared_at, s.expires_at), s.changed_at)"),
    "
from unnest($1::uuid[], $2::text[]) with ordinality as u (tenant_id, user_id, ordinal)
cross join unnest($3::timestamptz[]) as at (now)
left join presence_sessions as s on s.tenant_id = u.tenant_id and s.user_id = u.user_id
left join presence_users as p on p.tenant_id = u.tenant_id and p.user_id = u.user_id
order by 1, 2, 3 desc"
);

/// [`crate::store::Store::load`].
pub(super) async fn load(
    statements: &Statements,
    now: Timestamp,
    users: &[UserKey],
) -> Result<Vec<User>, StoreError> {
    let (users, positions) = keys::distinct(users);
    let statement = sqlx::query(LOAD)
        .bind(users.iter().map(|user| user.tenant_id).collect::<Vec<Uuid>>())
        .bind(users.iter().map(|user| user.user_id.as_str()).collect::<Vec<_>>())
        .bind(vec![Timestamptz(now)]);
    let rows = statements.run("load", statement).await?.rows;
    rows::users(users.len(), &positions, &rows)
}

/// Decodes columns without a check of their types, which the statement determines. The check
/// of each value would cost as much as its decoding.
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
