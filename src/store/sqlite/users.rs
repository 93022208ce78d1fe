//! Updating the row of a user, and listing and counting users.

use sqlx::Sqlite;
use uuid::Uuid;

use crate::{
    presence::{Timestamp, UserId},
    store::{
        ListUsers, StoreError, UpdateUser, UserChange, author_columns,
        connection::{ConnectionPool, with_timeout},
        invalidation::Notifier,
        rows::stored_user_id,
        sql::{Sql, sql},
    },
};

const UPDATE_PREFERRED: Sql = sql!("update_preferred");
const UPDATE_STATUS_MESSAGE: Sql = sql!("update_status_message");
const UPDATE_LOCATIONS: Sql = sql!("update_locations");
const LIST_USERS: Sql = sql!("list_users");
const LIST_ALL_USERS: Sql = sql!("list_all_users");
const COUNT_USERS: Sql = sql!("count_users");

/// [`crate::store::Store::update_user`].
pub(super) async fn update_user(
    pool: &ConnectionPool<Sqlite>,
    notifier: &Notifier,
    now: Timestamp,
    update: &UpdateUser,
) -> Result<(), StoreError> {
    let (application, user) = author_columns(&update.set_by);
    let begin = |sql: &Sql| {
        sqlx::query_scalar(sql.text)
            .bind(update.user.tenant_id.to_string())
            .bind(update.user.user_id.as_str())
            .bind(now.as_millis())
            .bind(application)
            .bind(user)
    };
    let (sql, query) = match &update.change {
        UserChange::Preferred(preferred) => {
            let query = begin(&UPDATE_PREFERRED)
                .bind(preferred.map(|(pair, _)| <&str>::from(pair.availability)))
                .bind(preferred.map(|(pair, _)| <&str>::from(pair.activity)))
                .bind(preferred.map(|(_, expires_after)| (now + expires_after).as_millis()));
            (UPDATE_PREFERRED, query)
        }
        UserChange::StatusMessage(message) => {
            let expires_at = message.as_ref().and_then(|(_, expires_at)| *expires_at);
            let query = begin(&UPDATE_STATUS_MESSAGE)
                .bind(message.as_ref().map(|(content, _)| content.as_str()))
                .bind(expires_at.map(Timestamp::as_millis));
            (UPDATE_STATUS_MESSAGE, query)
        }
        UserChange::Locations { manual, automatic } => {
            let (sets_manual, manual_type, manual_place) = manual.columns();
            let (sets_automatic, automatic_type, automatic_place) = automatic.columns();
            let query = begin(&UPDATE_LOCATIONS).bind(sets_manual).bind(manual_type).bind(manual_place);
            let query = query.bind(sets_automatic).bind(automatic_type).bind(automatic_place);
            (UPDATE_LOCATIONS, query)
        }
    };
    let mut connection = pool.acquire().await?;
    let outcome = with_timeout(query.fetch_one(&mut *connection)).await;
    let changed: Result<bool, _> = pool.release(connection, sql.name, outcome);
    // The failed statement may still have been applied.
    if *changed.as_ref().unwrap_or(&true) {
        notifier.notify(|| vec![update.user.clone()]);
    }
    changed.map(drop)
}

/// [`crate::store::Store::list_users`].
pub(super) async fn list_users(
    pool: &ConnectionPool<Sqlite>,
    now: Timestamp,
    list: &ListUsers,
) -> Result<Vec<UserId>, StoreError> {
    let sql = if list.include_ended { LIST_ALL_USERS } else { LIST_USERS };
    let after = list.after.as_ref().map_or("", UserId::as_str);
    let mut connection = pool.acquire().await?;
    let mut statement = sqlx::query_scalar(sql.text).bind(list.tenant_id.to_string()).bind(after);
    if !list.include_ended {
        statement = statement.bind(now.as_millis());
    }
    let statement = statement.bind(i64::from(list.limit));
    let outcome = with_timeout(statement.fetch_all(&mut *connection)).await;
    let ids: Vec<String> = pool.release(connection, sql.name, outcome)?;
    ids.iter().map(|id| stored_user_id(id)).collect()
}

/// [`crate::store::Store::count_users`].
pub(super) async fn count_users(
    pool: &ConnectionPool<Sqlite>,
    now: Timestamp,
    tenant_id: Uuid,
) -> Result<u64, StoreError> {
    let mut connection = pool.acquire().await?;
    let statement = sqlx::query_scalar(COUNT_USERS.text).bind(tenant_id.to_string()).bind(now.as_millis());
    let outcome = with_timeout(statement.fetch_one(&mut *connection)).await;
    let count: i64 = pool.release(connection, COUNT_USERS.name, outcome)?;
    Ok(count.unsigned_abs())
}
