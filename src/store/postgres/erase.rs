//! Erasing and exporting users.

use serde_json::{Map, Value};
use sqlx::{Column, Row as _, TypeInfo, postgres::PgRow};
use uuid::Uuid;

use super::statement::{Statements, column};
use crate::{
    presence::UserId,
    store::{
        LAST_USER_ID, StoreError, UserKey,
        rows::{Row, required, stored_user_id},
        sql::{Sql, sql},
    },
};

pub(super) const ERASE_USER: Sql = sql!("erase_user");
const ERASE_SPANS: Sql = sql!("erase_spans");
/// Citus writes no table of the coordinator and distributed ones in one statement.
const ERASE_SUBSCRIPTIONS: Sql = sql!("erase_subscriptions");
pub(super) const END_OF_CHUNK: Sql = sql!("end_of_chunk");
/// The statements that remove the name of an author, one for each table.
const ERASE_AUTHOR: [Sql; 3] =
    [sql!("erase_author_of_sessions"), sql!("erase_author_of_users"), sql!("erase_author_of_history")];
/// The tables with rows of users, and the statements that return these.
const EXPORT: [(&str, Sql); 4] = [
    ("presence_sessions", sql!("export_sessions")),
    ("presence_users", sql!("export_users")),
    ("presence_history", sql!("export_history")),
    ("presence_subscriptions", sql!("export_subscriptions")),
];

/// [`crate::store::Store::erase_author`].
pub(super) async fn erase_author(
    statements: &Statements,
    user: &UserKey,
    after: Option<&UserId>,
    rows: u32,
) -> Result<Option<UserId>, StoreError> {
    let after = after.map_or("", UserId::as_str);
    let query = statements.query(&END_OF_CHUNK).bind(user.tenant_id).bind(after).bind(i64::from(rows));
    let ends = statements.run(&END_OF_CHUNK, query).await?.rows;
    let end = ends.first().map(|row| row.text(0)).transpose()?.flatten();
    for sql in &ERASE_AUTHOR {
        let query = statements
            .query(sql)
            .bind(user.tenant_id)
            .bind(user.user_id.as_str())
            .bind(after)
            .bind(end.unwrap_or(LAST_USER_ID));
        statements.run(sql, query).await?;
    }
    end.map(stored_user_id).transpose()
}

/// [`crate::store::Store::erase_user`].
pub(super) async fn erase_user(statements: &Statements, user: &UserKey) -> Result<u64, StoreError> {
    let query = statements.query(&ERASE_USER).bind(user.tenant_id).bind(user.user_id.as_str());
    let rows = statements.run_notifying(&ERASE_USER, query, true).await?.rows;
    let removed: i64 = required(rows.first().map(|row| column(row, 3)).transpose()?)?;
    // The statement sees no span of a write for whose rows it waited.
    let query = statements.query(&ERASE_SPANS).bind(user.tenant_id).bind(user.user_id.as_str());
    let spans = statements.run(&ERASE_SPANS, query).await?.affected;
    let query = statements.query(&ERASE_SUBSCRIPTIONS).bind(user.tenant_id).bind(user.user_id.as_str());
    let subscriptions = statements.run(&ERASE_SUBSCRIPTIONS, query).await?.affected;
    Ok(removed.unsigned_abs() + spans + subscriptions)
}

/// [`crate::store::Store::export_user`].
pub(super) async fn export_user(statements: &Statements, user: &UserKey) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    for (table, sql) in &EXPORT {
        let query = statements.query(sql).bind(user.tenant_id).bind(user.user_id.as_str());
        for row in statements.run(sql, query).await?.rows {
            lines.push(line(table, &row)?);
        }
    }
    Ok(lines)
}

fn line(table: &str, row: &PgRow) -> Result<String, StoreError> {
    let mut object = Map::new();
    object.insert("table".to_owned(), table.into());
    for (index, described) in row.columns().iter().enumerate() {
        let value = match described.type_info().name() {
            "UUID" => column::<Option<Uuid>>(row, index)?.map(|id| Value::from(id.to_string())),
            "INT8" => column::<Option<i64>>(row, index)?.map(Value::from),
            _ => column::<Option<String>>(row, index)?.map(Value::from),
        };
        object.insert(described.name().to_owned(), value.unwrap_or(Value::Null));
    }
    Ok(Value::Object(object).to_string())
}
