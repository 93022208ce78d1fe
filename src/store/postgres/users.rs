//! Updating the row of a user, and listing and counting users.

use uuid::Uuid;

use super::{
    committed,
    statement::{Statements, column},
};
use crate::{
    presence::{Timestamp, UserId},
    store::{
        ListUsers, StoreError, UpdateUser,
        rows::Row,
        rows::parse_stored,
        rows::required,
        sql::{Sql, sql},
    },
};

pub(super) const UPDATE_USER: Sql = sql!("update_user");
pub(super) const LIST_USERS: Sql = sql!("list_users");
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
    let (preferred, status) = (&update.preferred, &update.status_message);
    let (author_application, author_user) = update.set_by.columns();
    let (sets_manual, manual_type, manual_place) = update.manual_location.columns();
    let (sets_automatic, automatic_type, automatic_place) = update.automatic_location.columns();
    let pair = preferred.value().map(|(pair, _)| *pair);
    let query = statements
        .query(&UPDATE_USER)
        .bind(update.user.tenant_id)
        .bind(update.user.user_id.as_str())
        .bind(now.as_millis())
        .bind(author_application)
        .bind(author_user)
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
        .bind(automatic_place);
    statements.write(&UPDATE_USER, query).await.map(drop)
}

/// [`crate::store::Store::list_users`].
pub(super) async fn list_users(
    statements: &Statements,
    now: Timestamp,
    list: &ListUsers,
) -> Result<Vec<UserId>, StoreError> {
    let query = statements
        .query(&LIST_USERS)
        .bind(list.tenant_id)
        .bind(list.after.as_ref().map_or("", UserId::as_str))
        .bind(now.as_millis())
        .bind(i64::from(list.limit));
    let rows = statements.run(&LIST_USERS, query).await?.rows;
    rows.iter().map(|row| parse_stored(required(row.text(0)?)?)).collect()
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
