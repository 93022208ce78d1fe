-- Removes all rows of a user, and notifies the replicas; see Store::erase_user.
--
-- $1 tenant_id, $2 user_id
--
-- Returns one row, with the number of removed rows. The `case` is the column that Citus leaves out.
with sessions as (
    delete from presence_sessions where tenant_id = $1::uuid and user_id = $2::text returning user_id
), settings as (
    delete from presence_users where tenant_id = $1 and user_id = $2 returning user_id
), spans as (
    delete from presence_history where tenant_id = $1 and user_id = $2 returning user_id
), written as (
    select $1 as tenant_id, $2 as user_id,
           (select count(*) from sessions) + (select count(*) from settings) + (select count(*) from spans) as removed
)
select tenant_id, user_id, true as changed, removed,
    case when true then pg_notify('presence_changes', tenant_id || ' ' || user_id) end
from written
