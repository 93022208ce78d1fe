//! Updating the row of a user, and listing and counting users.

use sqlx::Sqlite;
use uuid::Uuid;

use crate::{
    presence::{Timestamp, UserId},
    store::{
        ListUsers, StoreError, UpdateUser,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        rows::parse_stored,
    },
};

/// The flags ?4, ?8, ?11 and ?14 each apply to one part of the row: true takes the values of
/// the parameters that follow the flag, false keeps the old values.
pub(super) const SET: &str = "
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    status_content, status_published_at, status_expires_at,
    manual_location_type, manual_place_id,
    automatic_location_type, automatic_place_id
)
values (
    ?1, ?2, ?3,
    ?5, ?6, ?7,
    ?9, case when ?9 is not null then ?3 end, ?10,
    ?12, ?13,
    ?15, ?16
)
on conflict (tenant_id, user_id) do update set
    preferred_availability  = case when ?4 then excluded.preferred_availability else p.preferred_availability end,
    preferred_activity      = case when ?4 then excluded.preferred_activity else p.preferred_activity end,
    preferred_expires_at    = case when ?4 then excluded.preferred_expires_at else p.preferred_expires_at end,
    status_content          = case when ?8 then excluded.status_content else p.status_content end,
    status_published_at     = case when ?8 then excluded.status_published_at else p.status_published_at end,
    status_expires_at       = case when ?8 then excluded.status_expires_at else p.status_expires_at end,
    manual_location_type    = case when ?11 then excluded.manual_location_type else p.manual_location_type end,
    manual_place_id         = case when ?11 then excluded.manual_place_id else p.manual_place_id end,
    automatic_location_type = case when ?14 then excluded.automatic_location_type else p.automatic_location_type end,
    automatic_place_id      = case when ?14 then excluded.automatic_place_id else p.automatic_place_id end,
    changed_at              = max(excluded.changed_at, p.changed_at + 1)";

/// Updates an existing row only if it has a value to clear.
pub(super) const CLEAR: &str = "
update presence_users
set preferred_availability  = case when ?4 then null else preferred_availability end,
    preferred_activity      = case when ?4 then null else preferred_activity end,
    preferred_expires_at    = case when ?4 then null else preferred_expires_at end,
    status_content          = case when ?5 then null else status_content end,
    status_published_at     = case when ?5 then null else status_published_at end,
    status_expires_at       = case when ?5 then null else status_expires_at end,
    manual_location_type    = case when ?6 then null else manual_location_type end,
    manual_place_id         = case when ?6 then null else manual_place_id end,
    automatic_location_type = case when ?7 then null else automatic_location_type end,
    automatic_place_id      = case when ?7 then null else automatic_place_id end,
    changed_at              = max(?3, changed_at + 1)
where tenant_id = ?1
  and user_id = ?2
  and (
    (?4 and preferred_availability is not null)
    or (?5 and status_content is not null)
    or (?6 and manual_location_type is not null)
    or (?7 and automatic_location_type is not null)
  )";

pub(super) const LIST: &str = "
select distinct user_id
from presence_sessions
where tenant_id = ?1
  and user_id > ?2
  and cleared_at is null
  and expires_at > ?3
order by user_id
limit ?4";

pub(super) const COUNT: &str = "
select count(distinct user_id)
from presence_sessions
where tenant_id = ?1
  and cleared_at is null
  and expires_at > ?2";

/// [`crate::store::Store::update_user`].
pub(super) async fn update_user(
    pool: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    update: &UpdateUser,
) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    let (preferred, status) = (&update.preferred, &update.status_message);
    let (sets_manual, manual_type, manual_place) = update.manual_location.columns();
    let (sets_automatic, automatic_type, automatic_place) = update.automatic_location.columns();
    let key = |sql| {
        sqlx::query(sql)
            .bind(update.user.tenant_id.to_string())
            .bind(update.user.user_id.as_str())
            .bind(now.as_millis())
    };
    let statement = if update.sets() {
        let pair = preferred.value().map(|(pair, _)| *pair);
        key(SET)
            .bind(preferred.applies())
            .bind(pair.map(|pair| <&str>::from(pair.availability)))
            .bind(pair.map(|pair| <&str>::from(pair.activity)))
            .bind(preferred.value().map(|(_, expires_after)| (now + *expires_after).as_millis()))
            .bind(status.applies())
            .bind(status.value().map(|(content, _)| content.as_str()))
            .bind(status.value().and_then(|(_, expires_at)| expires_at.map(Timestamp::as_millis)))
            .bind(sets_manual)
            .bind(manual_type)
            .bind(manual_place)
            .bind(sets_automatic)
            .bind(automatic_type)
            .bind(automatic_place)
    } else {
        key(CLEAR).bind(preferred.applies()).bind(status.applies()).bind(sets_manual).bind(sets_automatic)
    };
    let outcome = with_timeout(statement.execute(&mut *connection)).await;
    let result = pool.release(connection, "update_user", outcome);
    // The failed statement may still have been applied.
    if result.as_ref().map_or(true, |result| result.rows_affected() > 0) {
        notifier.notify(|| vec![update.user.clone()]);
    }
    result.map(drop)
}

/// [`crate::store::Store::list_users`].
pub(super) async fn list_users(
    pool: &ConnectionPool<Sqlite>,
    now: Timestamp,
    list: &ListUsers,
) -> Result<Vec<UserId>, StoreError> {
    let mut connection = pool.acquire().await?;
    let statement = sqlx::query_scalar(LIST)
        .bind(list.tenant_id.to_string())
        .bind(list.after.as_ref().map_or("", UserId::as_str))
        .bind(now.as_millis())
        .bind(i64::from(list.limit));
    let outcome = with_timeout(statement.fetch_all(&mut *connection)).await;
    let ids: Vec<String> = pool.release(connection, "list_users", outcome)?;
    ids.iter().map(|id| parse_stored(id)).collect()
}

/// [`crate::store::Store::count_users`].
pub(super) async fn count_users(
    pool: &ConnectionPool<Sqlite>,
    now: Timestamp,
    tenant_id: Uuid,
) -> Result<u64, StoreError> {
    let mut connection = pool.acquire().await?;
    let statement = sqlx::query_scalar(COUNT).bind(tenant_id.to_string()).bind(now.as_millis());
    let outcome = with_timeout(statement.fetch_one(&mut *connection)).await;
    let count: i64 = pool.release(connection, "count_users", outcome)?;
    Ok(count.unsigned_abs())
}
