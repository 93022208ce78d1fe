-- Reads the next sessions in key order; see Store::scan_sessions.
--
-- ?1 tenant_id, ?2 user_id, ?3 session_id: only sessions after this key
-- ?4 the maximum number of sessions
-- ?5 now
--
-- `unused_from` is null if the end of the session is the latest change in the user's rows, and
-- another row of the user remains: without it, the sequence number would go back.
select s.tenant_id, s.user_id, s.session_id, s.set_at,
       case
           when s.availability is null
             or exists (
                 select 1 from presence_sessions as o
                 where o.tenant_id = s.tenant_id
                   and o.user_id = s.user_id
                   and o.availability is not null
                   and coalesce(o.cleared_at, o.expires_at) <= ?5
                   and (coalesce(o.cleared_at, o.expires_at), o.session_id)
                       > (coalesce(s.cleared_at, s.expires_at), s.session_id)
             )
             or exists (
                 select 1 from presence_users as p
                 where p.tenant_id = s.tenant_id
                   and p.user_id = s.user_id
                   and max(
                       coalesce(p.changed_at, 0),
                       case when p.preferred_expires_at <= ?5 then p.preferred_expires_at else 0 end,
                       case when p.status_expires_at <= ?5 then p.status_expires_at else 0 end
                   ) >= coalesce(s.cleared_at, s.expires_at)
             )
             or not (
                 exists (
                     select 1 from presence_sessions as o
                     where o.tenant_id = s.tenant_id and o.user_id = s.user_id and o.session_id <> s.session_id
                 )
                 or exists (
                     select 1 from presence_users as p where p.tenant_id = s.tenant_id and p.user_id = s.user_id
                 )
             )
           then min(coalesce(s.cleared_at, s.expires_at), s.expires_at)
       end as unused_from
from presence_sessions as s
where (s.tenant_id, s.user_id, s.session_id) > (?1, ?2, ?3)
order by s.tenant_id, s.user_id, s.session_id
limit ?4
