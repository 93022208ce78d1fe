-- Returns the last user of the next rows of a tenant, or null if fewer rows follow; see
-- Store::erase_author.
--
-- ?1 tenant_id
-- ?2 only users after this id
-- ?3 the number of rows
select min(user_id)
from (
    select (
        select user_id from presence_sessions where tenant_id = ?1 and user_id > ?2
        order by user_id limit 1 offset ?3
    ) as user_id
    union all
    select (
        select user_id from presence_users where tenant_id = ?1 and user_id > ?2
        order by user_id limit 1 offset ?3
    )
    union all
    select (
        select user_id from presence_history where tenant_id = ?1 and user_id > ?2
        order by user_id limit 1 offset ?3
    )
) as ends
