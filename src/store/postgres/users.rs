//! Updating the row of a user, and listing and counting users.

use sqlx::Row as _;
use uuid::Uuid;

use super::{
    common::{WriteTimer, notify_changed},
    statement::Statements,
    timestamptz::Timestamptz,
};
use crate::{
    presence::{Timestamp, UserId},
    store::{LATE_AFTER, ListUsers, StoreError, UpdateUser, rows::parse_stored},
};

/// Skips a row that was changed after $17. The flags $4, $8, $11 and $14 each apply to one
/// part of the row: true takes the values of the parameters that follow the flag, false keeps
/// the old values.
pub(super) const SET: &str = concat!(
    "
with changed as (
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    status_content, status_published_at, status_expires_at,
    manual_location_type, manual_place_id,
    automatic_location_type, automatic_place_id
)
values (
    $1, $2, $3,
    $5, $6, $7,
    $9, case when $9::text is not null then $3::timestamptz end, $10,
    $12, $13,
    $15, $16
)
on conflict (tenant_id, user_id) do update set
    preferred_availability  = case when $4 then excluded.preferred_availability else p.preferred_availability end,
    preferred_activity      = case when $4 then excluded.preferred_activity else p.preferred_activity end,
    preferred_expires_at    = case when $4 then excluded.preferred_expires_at else p.preferred_expires_at end,
    status_content          = case when $8 then excluded.status_content else p.status_content end,
    status_published_at     = case when $8 then excluded.status_published_at else p.status_published_at end,
    status_expires_at       = case when $8 then excluded.status_expires_at else p.status_expires_at end,
    manual_location_type    = case when $11 then excluded.manual_location_type else p.manual_location_type end,
    manual_place_id         = case when $11 then excluded.manual_place_id else p.manual_place_id end,
    automatic_location_type = case when $14 then excluded.automatic_location_type else p.automatic_location_type end,
    automatic_place_id      = case when $14 then excluded.automatic_place_id else p.automatic_place_id end,
    changed_at              = greatest(excluded.changed_at, p.changed_at + interval '1 millisecond')
where p.changed_at <= $17
returning tenant_id, user_id
)",
    notify_changed!()
);

/// Updates an existing row only if it has a value to clear and was not changed after $8.
pub(super) const CLEAR: &str = concat!(
    "
with changed as (
update presence_users
set preferred_availability  = case when $4 then null else preferred_availability end,
    preferred_activity      = case when $4 then null else preferred_activity end,
    preferred_expires_at    = case when $4 then null else preferred_expires_at end,
    status_content          = case when $5 then null else status_content end,
    status_published_at     = case when $5 then null else status_published_at end,
    status_expires_at       = case when $5 then null else status_expires_at end,
    manual_location_type    = case when $6 then null else manual_location_type end,
    manual_place_id         = case when $6 then null else manual_place_id end,
    automatic_location_type = case when $7 then null else automatic_location_type end,
    automatic_place_id      = case when $7 then null else automatic_place_id end,
    changed_at              = greatest($3, changed_at + interval '1 millisecond')
where tenant_id = $1
  and user_id = $2
  and (
    ($4 and preferred_availability is not null)
    or ($5 and status_content is not null)
    or ($6 and manual_location_type is not null)
    or ($7 and automatic_location_type is not null)
  )
  and changed_at <= $8
returning tenant_id, user_id
)",
    notify_changed!()
);

pub(super) const LIST: &str = "
select distinct user_id
from presence_sessions
where tenant_id = $1
  and user_id > $2
  and cleared_at is null
  and expires_at > $3
order by user_id
limit $4";

pub(super) const COUNT: &str = "
select count(distinct user_id)
from presence_sessions
where tenant_id = $1
  and cleared_at is null
  and expires_at > $2";

/// [`crate::store::Store::update_user`].
pub(super) async fn update_user(
    statements: &Statements,
    now: Timestamp,
    update: &UpdateUser,
) -> Result<(), StoreError> {
    let timer = WriteTimer::start();
    // No change can also mean that there was no value to clear.
    if !change_user(statements, now, now + LATE_AFTER, update).await? {
        timer.check_not_late()?;
        change_user(statements, now, Timestamp::LATEST, update).await?;
    }
    Ok(())
}

/// Updates the row unless it was changed after `latest`. Returns whether it was updated.
async fn change_user(
    statements: &Statements,
    now: Timestamp,
    latest: Timestamp,
    update: &UpdateUser,
) -> Result<bool, StoreError> {
    let (preferred, status) = (&update.preferred, &update.status_message);
    let (sets_manual, manual_type, manual_place) = update.manual_location.columns();
    let (sets_automatic, automatic_type, automatic_place) = update.automatic_location.columns();
    let key = |sql| {
        sqlx::query(sql).bind(update.user.tenant_id).bind(update.user.user_id.as_str()).bind(Timestamptz(now))
    };
    let statement = if update.sets() {
        let pair = preferred.value().map(|(pair, _)| *pair);
        key(SET)
            .bind(preferred.applies())
            .bind(pair.map(|pair| <&str>::from(pair.availability)))
            .bind(pair.map(|pair| <&str>::from(pair.activity)))
            .bind(preferred.value().map(|(_, expires_after)| Timestamptz(now + *expires_after)))
            .bind(status.applies())
            .bind(status.value().map(|(content, _)| content.as_str()))
            .bind(status.value().and_then(|(_, expires_at)| expires_at.map(Timestamptz)))
            .bind(sets_manual)
            .bind(manual_type)
            .bind(manual_place)
            .bind(sets_automatic)
            .bind(automatic_type)
            .bind(automatic_place)
    } else {
        key(CLEAR).bind(preferred.applies()).bind(status.applies()).bind(sets_manual).bind(sets_automatic)
    };
    let result = statements.run("update_user", statement.bind(Timestamptz(latest))).await?;
    Ok(result.affected > 0)
}

/// [`crate::store::Store::list_users`].
pub(super) async fn list_users(
    statements: &Statements,
    now: Timestamp,
    list: &ListUsers,
) -> Result<Vec<UserId>, StoreError> {
    let statement = sqlx::query(LIST)
        .bind(list.tenant_id)
        .bind(list.after.as_ref().map_or("", UserId::as_str))
        .bind(Timestamptz(now))
        .bind(i64::from(list.limit));
    let rows = statements.run("list_users", statement).await?.rows;
    rows.iter().map(|row| parse_stored(row.try_get(0)?)).collect()
}

/// [`crate::store::Store::count_users`].
pub(super) async fn count_users(
    statements: &Statements,
    now: Timestamp,
    tenant_id: Uuid,
) -> Result<u64, StoreError> {
    let statement = sqlx::query(COUNT).bind(tenant_id).bind(Timestamptz(now));
    let rows = statements.run("count_users", statement).await?.rows;
    let count: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(count.unwrap_or_default().unsigned_abs())
}
