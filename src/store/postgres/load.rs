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
const LOAD_DISTRIBUTED: Sql = sql!("load_distributed");

/// [`crate::store::Store::load`].
pub(super) async fn load(
    statements: &Statements,
    now: Timestamp,
    users: &[UserKey],
) -> Result<Vec<User>, StoreError> {
    let sql = if statements.is_distributed() { &LOAD_DISTRIBUTED } else { &LOAD };
    let mut tenants = TenantUsers::split(users);
    for tenant in &mut tenants {
        let query = statements.query(sql).bind(tenant.tenant_id).bind(&tenant.user_ids);
        let rows = statements.run(sql, query).await?.rows;
        tenant.add(now, &rows)?;
    }
    Ok(TenantUsers::join(tenants, users))
}
