insert into presence_sessions as s
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 5, value ->> 6
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    availability = excluded.availability,
    activity     = excluded.activity,
    set_at       = excluded.set_at,
    expires_at   = excluded.expires_at,
    cleared_at   = null,
    changed_at   = case
        when s.availability <> excluded.availability
          or s.activity <> excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then max(excluded.changed_at, s.changed_at + 1)
        else s.changed_at
    end
;
insert into presence_sessions as s
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 5, value ->> 6
from json_each(?1)
where true
on conflict (tenant_id, user_id, session_id) do update set
    availability = excluded.availability,
    activity     = excluded.activity,
    set_at       = excluded.set_at,
    expires_at   = excluded.expires_at,
    cleared_at   = null,
    changed_at   = case
        when s.availability <> excluded.availability
          or s.activity <> excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then max(excluded.changed_at, s.changed_at + 1)
        else s.changed_at
    end
returning case when changed_at >= set_at then tenant_id || ' ' || user_id end
;
update presence_sessions
set cleared_at = ?2
where (tenant_id, user_id, session_id) in (select value ->> 0, value ->> 1, value ->> 2 from json_each(?1))
  and cleared_at is null
  and expires_at > ?2
returning tenant_id, user_id, session_id
;
update presence_sessions as s
set set_at     = max(s.set_at, ?2),
    expires_at = max(s.expires_at, held.value ->> 6),
    changed_at = case
        when s.expires_at <= ?2
          or (s.availability = 'Available' and s.set_at + 5 * 60 * 1000 <= ?2)
        then max(?2, s.changed_at + 1)
        else s.changed_at
    end
from json_each(?1) as held
where s.tenant_id = held.value ->> 0
  and s.user_id = held.value ->> 1
  and s.session_id = held.value ->> 2
  and s.availability = held.value ->> 3
  and s.activity = held.value ->> 4
  and s.cleared_at is null
returning tenant_id, user_id, session_id, availability, activity, changed_at >= set_at
;
select u.key,
       case when s.cleared_at is null and s.expires_at > ?2 then s.session_id end,
       max(max(coalesce(s.cleared_at, s.expires_at), s.changed_at)),
       s.availability, s.activity, s.set_at, s.changed_at, s.expires_at,
       p.changed_at, p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
       p.status_content, p.status_published_at, p.status_expires_at,
       p.manual_location_type, p.manual_place_id, p.automatic_location_type, p.automatic_place_id
from json_each(?1) as u
left join presence_sessions as s on s.tenant_id = u.value ->> 0 and s.user_id = u.value ->> 1
left join presence_users as p on p.tenant_id = u.value ->> 0 and p.user_id = u.value ->> 1
group by 1, 2
;
select cast(unixepoch('subsec') * 1000 as integer), exists (select 1 from presence_sessions)
;
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    status_content, status_published_at, status_expires_at,
    manual_location_type, manual_place_id,
    automatic_location_type, automatic_place_id
)
values (
    ?1, ?2, ?3,
    ?5, ?6, ?7,
    ?9, case when ?9 is not null then ?3 end, ?10,
    ?12, ?13,
    ?15, ?16
)
on conflict (tenant_id, user_id) do update set
    preferred_availability  = case when ?4 then excluded.preferred_availability else p.preferred_availability end,
    preferred_activity      = case when ?4 then excluded.preferred_activity else p.preferred_activity end,
    preferred_expires_at    = case when ?4 then excluded.preferred_expires_at else p.preferred_expires_at end,
    status_content          = case when ?8 then excluded.status_content else p.status_content end,
    status_published_at     = case when ?8 then excluded.status_published_at else p.status_published_at end,
    status_expires_at       = case when ?8 then excluded.status_expires_at else p.status_expires_at end,
    manual_location_type    = case when ?11 then excluded.manual_location_type else p.manual_location_type end,
    manual_place_id         = case when ?11 then excluded.manual_place_id else p.manual_place_id end,
    automatic_location_type = case when ?14 then excluded.automatic_location_type else p.automatic_location_type end,
    automatic_place_id      = case when ?14 then excluded.automatic_place_id else p.automatic_place_id end,
    changed_at              = max(excluded.changed_at, p.changed_at + 1)
;
update presence_users
set preferred_availability  = case when ?4 then null else preferred_availability end,
    preferred_activity      = case when ?4 then null else preferred_activity end,
    preferred_expires_at    = case when ?4 then null else preferred_expires_at end,
    status_content          = case when ?5 then null else status_content end,
    status_published_at     = case when ?5 then null else status_published_at end,
    status_expires_at       = case when ?5 then null else status_expires_at end,
    manual_location_type    = case when ?6 then null else manual_location_type end,
    manual_place_id         = case when ?6 then null else manual_place_id end,
    automatic_location_type = case when ?7 then null else automatic_location_type end,
    automatic_place_id      = case when ?7 then null else automatic_place_id end,
    changed_at              = max(?3, changed_at + 1)
where tenant_id = ?1
  and user_id = ?2
  and (
    (?4 and preferred_availability is not null)
    or (?5 and status_content is not null)
    or (?6 and manual_location_type is not null)
    or (?7 and automatic_location_type is not null)
  )
;
select distinct user_id
from presence_sessions
where tenant_id = ?1
  and user_id > ?2
  and cleared_at is null
  and expires_at > ?3
order by user_id
limit ?4
;
select count(distinct user_id)
from presence_sessions
where tenant_id = ?1
  and cleared_at is null
  and expires_at > ?2
;
select tenant_id, user_id, session_id
from presence_sessions
where (tenant_id, user_id, session_id) > (?1, ?2, ?3)
order by tenant_id, user_id, session_id
limit 1
offset ?4
;
delete from presence_sessions
where (tenant_id, user_id, session_id) > (?1, ?2, ?3)
  and (tenant_id, user_id, session_id) <= (?4, ?5, ?6)
  and (cleared_at <= ?7 or expires_at <= ?7)
;
