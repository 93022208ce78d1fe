-- Lists users of one tenant, also those without a live session; see Store::list_users.
--
-- $1 tenant_id, $2 only users after this id, $3 the maximum number of users
(
    select distinct user_id
    from presence_sessions
    where tenant_id = $1
      and user_id > $2
    order by user_id
    limit $3
)
union
(
    select user_id
    from presence_users
    where tenant_id = $1
      and user_id > $2
    order by user_id
    limit $3
)
order by user_id
limit $3
