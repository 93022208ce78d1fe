//! Updating the row of a user, and listing and counting users.

use uuid::Uuid;

use super::{
    committed,
    statement::{Statements, column},
};
use crate::{
    presence::{Timestamp, UserId},
    store::{
        ListUsers, StoreError, UpdateUser, UserChange, author_columns,
        rows::Row,
        rows::required,
        rows::stored_user_id,
        sql::{Sql, sql},
    },
};

pub(super) const UPDATE_PREFERRED: Sql = sql!("update_preferred");
pub(super) const UPDATE_STATUS_MESSAGE: Sql = sql!("update_status_message");
pub(super) const UPDATE_LOCATIONS: Sql = sql!("update_locations");
pub(super) const LIST_USERS: Sql = sql!("list_users");
pub(super) const LIST_ALL_USERS: Sql = sql!("list_all_users");
pub(super) const COUNT_USERS: Sql = sql!("count_users");

/// [`crate::store::Store::update_user`].
pub(super) async fn update_user(
    statements: &Statements,
    now: Timestamp,
    update: &UpdateUser,
) -> Result<(), StoreError> {
    write(statements, now, update).await?;
    committed::user(statements, now, &update.user).await
}

pub(super) async fn write(
    statements: &Statements,
    now: Timestamp,
    update: &UpdateUser,
) -> Result<(), StoreError> {
    let (application, user) = author_columns(&update.set_by);
    let begin = |sql| {
        statements
            .query(sql)
            .bind(update.user.tenant_id)
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
            (&UPDATE_PREFERRED, query)
        }
        UserChange::StatusMessage(message) => {
            let expires_at = message.as_ref().and_then(|(_, expires_at)| *expires_at);
            let query = begin(&UPDATE_STATUS_MESSAGE)
                .bind(message.as_ref().map(|(content, _)| content.as_str()))
                .bind(expires_at.map(Timestamp::as_millis));
            (&UPDATE_STATUS_MESSAGE, query)
        }
        UserChange::Locations { manual, automatic } => {
            let (sets_manual, manual_type, manual_place) = manual.columns();
            let (sets_automatic, automatic_type, automatic_place) = automatic.columns();
            let query = begin(&UPDATE_LOCATIONS).bind(sets_manual).bind(manual_type).bind(manual_place);
            let query = query.bind(sets_automatic).bind(automatic_type).bind(automatic_place);
            (&UPDATE_LOCATIONS, query)
        }
    };
    statements.write(now, sql, query).await.map(drop)
}

/// [`crate::store::Store::list_users`].
pub(super) async fn list_users(
    statements: &Statements,
    now: Timestamp,
    list: &ListUsers,
) -> Result<Vec<UserId>, StoreError> {
    let sql = if list.include_ended { &LIST_ALL_USERS } else { &LIST_USERS };
    let after = list.after.as_ref().map_or("", UserId::as_str);
    let mut query = statements.query(sql).bind(list.tenant_id).bind(after);
    if !list.include_ended {
        query = query.bind(now.as_millis());
    }
    let rows = statements.run(sql, query.bind(i64::from(list.limit))).await?.rows;
    rows.iter().map(|row| stored_user_id(required(row.text(0)?)?)).collect()
}

/// [`crate::store::Store::count_users`].
pub(super) async fn count_users(
    statements: &Statements,
    now: Timestamp,
    tenant_id: Uuid,
) -> Result<u64, StoreError> {
    let query = statements.query(&COUNT_USERS).bind(tenant_id).bind(now.as_millis());
    let rows = statements.run(&COUNT_USERS, query).await?.rows;
    let count: i64 = required(rows.first().map(|row| column(row, 0)).transpose()?)?;
    Ok(count.unsigned_abs())
}
