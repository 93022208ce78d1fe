-- Returns the streams that still hold a session; see Store::current_holds.
--
-- ?1 the streams, a JSON array of arrays: tenant_id, user_id, holder
select holder
from json_each(?1) as hold
join presence_sessions on tenant_id = hold.value ->> 0
                      and user_id = hold.value ->> 1
                      and holder = hold.value ->> 2
where cleared_at is null
