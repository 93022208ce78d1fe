//! Reading users.

use super::statement::Statements;
use crate::{
    presence::{Timestamp, User},
    store::{
        StoreError, UserKey,
        rows::TenantUsers,
        sql::{Sql, sql},
    },
};

pub(super) const LOAD: Sql = sql!("load");

/// [`crate::store::Store::load`].
pub(super) async fn load(
    statements: &Statements,
    now: Timestamp,
    users: &[UserKey],
) -> Result<Vec<User>, StoreError> {
    let mut tenants = TenantUsers::split(users);
    for tenant in &mut tenants {
        let query = statements.query(&LOAD).bind(tenant.tenant_id).bind(&tenant.user_ids);
        let rows = statements.run(&LOAD, query).await?.rows;
        tenant.add(now, &rows)?;
    }
    Ok(TenantUsers::join(tenants, users))
}
