-- Reads the next rows of users in key order; see Store::scan_users.
--
-- $1 tenant_id, $2 user_id: only users after this key
-- $3 the maximum number of users
-- $4 now
--
-- `unused_from` is null if the row shows something or will do so. It is also null if the user has
-- sessions, unless one of them ended after the last change in the row: without it, the sequence
-- number would go back.
select p.tenant_id, p.user_id,
       greatest(
           p.preferred_set_at, p.status_set_at,
           p.manual_location_set_at, p.automatic_location_set_at
       ) as set_at,
       case
           when coalesce(p.manual_location_type, p.automatic_location_type) is null
            and (p.status_content is null or p.status_expires_at is not null)
            and (
                exists (
                    select from presence_sessions as s
                    where s.tenant_id = p.tenant_id
                      and s.user_id = p.user_id
                      and s.availability is not null
                      and coalesce(s.cleared_at, s.expires_at) <= $4
                      and coalesce(s.cleared_at, s.expires_at) > coalesce(greatest(
                       p.changed_at,
                       case when p.preferred_expires_at <= $4 then p.preferred_expires_at end,
                       case when p.status_expires_at <= $4 then p.status_expires_at end
                   ), 0)
                )
                or not exists (
                    select from presence_sessions as s where s.tenant_id = p.tenant_id and s.user_id = p.user_id
                )
            )
           then greatest(
               p.preferred_set_at, p.status_set_at,
               p.manual_location_set_at, p.automatic_location_set_at,
               p.preferred_expires_at, p.status_expires_at
           )
       end as unused_from
from presence_users as p
where (p.tenant_id, p.user_id) > ($1, $2)
order by p.tenant_id, p.user_id
limit $3
