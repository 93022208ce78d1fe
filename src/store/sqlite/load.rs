//! Reading users.

use sqlx::Sqlite;

use super::common::json;
use crate::{
    presence::{Timestamp, User},
    store::{
        StoreError, UserKey,
        connection::{ConnectionPool, with_timeout},
        rows::TenantUsers,
        sql::{Sql, sql},
    },
};

const LOAD_ONE: Sql = sql!("load_one");
const LOAD: Sql = sql!("load");

/// [`crate::store::Store::load`].
pub(super) async fn load(
    readers: &ConnectionPool<Sqlite>,
    now: Timestamp,
    users: &[UserKey],
) -> Result<Vec<User>, StoreError> {
    let mut tenants = TenantUsers::split(users);
    for tenant in &mut tenants {
        let tenant_id = tenant.tenant_id.to_string();
        let query = match tenant.user_ids.as_slice() {
            [user_id] => sqlx::query(LOAD_ONE.text).bind(tenant_id).bind(*user_id),
            user_ids => sqlx::query(LOAD.text).bind(tenant_id).bind(json(user_ids)?),
        };
        let mut connection = readers.acquire().await?;
        let outcome = with_timeout(query.fetch_all(&mut *connection)).await;
        let rows = readers.release(connection, LOAD.name, outcome)?;
        tenant.add(now, &rows)?;
    }
    Ok(TenantUsers::join(tenants, users))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_statements_do_the_same() {
        let body = |sql: &Sql| sql.text.split_once("\nselect").map(|(_, text)| text.to_owned());
        let one = body(&LOAD_ONE).map(|text| text.replace("user_id = ?2", "USERS"));
        let several =
            body(&LOAD).map(|text| text.replace("user_id in (select value from json_each(?2))", "USERS"));
        assert_eq!(one, several);
        assert!(one.is_some());
    }
}
