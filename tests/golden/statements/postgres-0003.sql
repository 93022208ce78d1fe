with new as materialized (
    select new.tenant_id, new.user_id, new.session_id, new.availability, new.activity, new.expires_at, new.ordinal,
           at.now as set_at, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as new (tenant_id, user_id, session_id, availability, activity, expires_at, ordinal)
    cross join unnest($7::timestamptz[], $8::timestamptz[]) as at (now, latest)
), refreshed as (
    update presence_sessions as s
    set
        availability = new.availability,
        activity     = new.activity,
        set_at       = new.set_at,
        expires_at   = new.expires_at,
        cleared_at   = null,
        changed_at   = case
            when s.availability <> new.availability
              or s.activity <> new.activity
              or s.cleared_at is not null
              or s.expires_at <= new.set_at
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= new.set_at)
              or new.expires_at < s.expires_at
            then greatest(new.set_at, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end
    from new
    where s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
      and greatest(s.set_at, s.cleared_at) <= new.latest
    returning new.ordinal, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), opened as (
    insert into presence_sessions as s
        (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
    select tenant_id, user_id, session_id, availability, activity, set_at, set_at, expires_at
    from new
    where ordinal not in (select ordinal from refreshed)
    on conflict (tenant_id, user_id, session_id) do update
    set
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
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= excluded.set_at)
              or excluded.expires_at < s.expires_at
            then greatest(excluded.set_at, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end
    where greatest(s.set_at, s.cleared_at) <= (select latest from unnest($8::timestamptz[]) as at (latest))
    returning s.tenant_id, s.user_id, s.set_at, s.changed_at >= s.set_at as changed
), limited as (
    select tenant_id, user_id, max(set_at) as now, count(*) as sessions
    from opened
    group by tenant_id, user_id
), candidates as (
    select tenant_id, user_id, session_id, set_at, own,
           row_number() over (partition by tenant_id, user_id order by own, live, set_at) as ordinal,
           count(*) over (partition by tenant_id, user_id) + opening as sessions
    from (
        select p.tenant_id, p.user_id, p.session_id, p.set_at,
               (p.tenant_id, p.user_id, p.session_id) in (select tenant_id, user_id, session_id from new)
                   or p.set_at >= limited.now as own,
               p.cleared_at is null and p.expires_at > limited.now as live,
               limited.sessions as opening
        from limited
        join presence_sessions as p on p.tenant_id = limited.tenant_id and p.user_id = limited.user_id
    ) as ranked
), removed as (
    delete from presence_sessions as s
    using candidates
    where s.tenant_id = candidates.tenant_id
      and s.user_id = candidates.user_id
      and s.session_id = candidates.session_id
      and s.set_at = candidates.set_at -- a concurrent call may have refreshed the session
      and not candidates.own
      and candidates.ordinal <= candidates.sessions - 100
), changed as (
    select tenant_id, user_id from refreshed where changed
    union all
    select tenant_id, user_id from opened where changed
), notified as (
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part
)
select array(
           select new.ordinal
           from new
           join presence_sessions as s
             on s.tenant_id = new.tenant_id and s.user_id = new.user_id and s.session_id = new.session_id
           where new.ordinal not in (select ordinal from refreshed)
       ),
       (select count(*) from notified)
;
with target as materialized (
    select target.tenant_id, target.user_id, target.session_id, target.ordinal, at.now, at.latest
    from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as target (tenant_id, user_id, session_id, ordinal)
    cross join unnest($4::timestamptz[], $5::timestamptz[]) as at (now, latest)
), ended as (
    update presence_sessions as s
    set cleared_at = target.now
    from target
    where s.tenant_id = target.tenant_id
      and s.user_id = target.user_id
      and s.session_id = target.session_id
      and s.cleared_at is null
      and s.expires_at > target.now
      and s.set_at <= target.latest
    returning target.ordinal, s.tenant_id, s.user_id
), changed as (
    select tenant_id, user_id from ended
), notified as (
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part
)
select array(select ordinal from ended),
       array(
           select target.ordinal
           from target
           join presence_sessions as s
             on s.tenant_id = target.tenant_id and s.user_id = target.user_id and s.session_id = target.session_id
           where s.cleared_at is null
             and s.expires_at > target.now
             and target.ordinal not in (select ordinal from ended)
       ),
       (select count(*) from notified)
;
with extended as (
    update presence_sessions as s
    set set_at     = greatest(s.set_at, at.now),
        expires_at = greatest(s.expires_at, held.expires_at),
        changed_at = case
            when s.expires_at <= at.now
              or (s.availability = 'Available' and s.set_at + interval '5 minutes' <= at.now)
            then greatest(at.now, s.changed_at + interval '1 millisecond')
            else s.changed_at
        end
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) with ordinality
        as held (tenant_id, user_id, session_id, availability, activity, expires_at, ordinal)
    cross join unnest($7::timestamptz[]) as at (now)
    where s.tenant_id = held.tenant_id
      and s.user_id = held.user_id
      and s.session_id = held.session_id
      and s.availability = held.availability
      and s.activity = held.activity
      and s.cleared_at is null
    returning held.ordinal, s.tenant_id, s.user_id, s.changed_at >= s.set_at as changed
), changed as (
    select tenant_id, user_id from extended where changed
), notified as (
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part
)
select array(select ordinal from extended), (select count(*) from notified)
;
select distinct on (1, 2)
       u.ordinal - 1,
       case when s.cleared_at is null and s.expires_at > at.now then s.session_id end,
       greatest(coalesce(s.cleared_at, s.expires_at), s.changed_at),
       s.availability, s.activity, s.set_at, s.changed_at, s.expires_at,
       p.changed_at, p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
       p.status_content, p.status_published_at, p.status_expires_at,
       p.manual_location_type, p.manual_place_id, p.automatic_location_type, p.automatic_place_id
from unnest($1::uuid[], $2::text[]) with ordinality as u (tenant_id, user_id, ordinal)
cross join unnest($3::timestamptz[]) as at (now)
left join presence_sessions as s on s.tenant_id = u.tenant_id and s.user_id = u.user_id
left join presence_users as p on p.tenant_id = u.tenant_id and p.user_id = u.user_id
order by 1, 2, 3 desc
;
select clock_timestamp()
from (select exists (select from presence_sessions)) as readable
where current_setting('transaction_read_only') = 'off'
;
with changed as (
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    status_content, status_published_at, status_expires_at,
    manual_location_type, manual_place_id,
    automatic_location_type, automatic_place_id
)
values (
    $1, $2, $3,
    $5, $6, $7,
    $9, case when $9::text is not null then $3::timestamptz end, $10,
    $12, $13,
    $15, $16
)
on conflict (tenant_id, user_id) do update set
    preferred_availability  = case when $4 then excluded.preferred_availability else p.preferred_availability end,
    preferred_activity      = case when $4 then excluded.preferred_activity else p.preferred_activity end,
    preferred_expires_at    = case when $4 then excluded.preferred_expires_at else p.preferred_expires_at end,
    status_content          = case when $8 then excluded.status_content else p.status_content end,
    status_published_at     = case when $8 then excluded.status_published_at else p.status_published_at end,
    status_expires_at       = case when $8 then excluded.status_expires_at else p.status_expires_at end,
    manual_location_type    = case when $11 then excluded.manual_location_type else p.manual_location_type end,
    manual_place_id         = case when $11 then excluded.manual_place_id else p.manual_place_id end,
    automatic_location_type = case when $14 then excluded.automatic_location_type else p.automatic_location_type end,
    automatic_place_id      = case when $14 then excluded.automatic_place_id else p.automatic_place_id end,
    changed_at              = greatest(excluded.changed_at, p.changed_at + interval '1 millisecond')
where p.changed_at <= $17
returning tenant_id, user_id
)
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part
;
with changed as (
update presence_users
set preferred_availability  = case when $4 then null else preferred_availability end,
    preferred_activity      = case when $4 then null else preferred_activity end,
    preferred_expires_at    = case when $4 then null else preferred_expires_at end,
    status_content          = case when $5 then null else status_content end,
    status_published_at     = case when $5 then null else status_published_at end,
    status_expires_at       = case when $5 then null else status_expires_at end,
    manual_location_type    = case when $6 then null else manual_location_type end,
    manual_place_id         = case when $6 then null else manual_place_id end,
    automatic_location_type = case when $7 then null else automatic_location_type end,
    automatic_place_id      = case when $7 then null else automatic_place_id end,
    changed_at              = greatest($3, changed_at + interval '1 millisecond')
where tenant_id = $1
  and user_id = $2
  and (
    ($4 and preferred_availability is not null)
    or ($5 and status_content is not null)
    or ($6 and manual_location_type is not null)
    or ($7 and automatic_location_type is not null)
  )
  and changed_at <= $8
returning tenant_id, user_id
)
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as notified,
     generate_series(0, (cardinality(users) - 1) / 40) as part
;
select distinct user_id
from presence_sessions
where tenant_id = $1
  and user_id > $2
  and cleared_at is null
  and expires_at > $3
order by user_id
limit $4
;
select count(distinct user_id)
from presence_sessions
where tenant_id = $1
  and cleared_at is null
  and expires_at > $2
;
select tenant_id, user_id, session_id
from presence_sessions
where (tenant_id, user_id, session_id) > ($1, $2, $3)
order by tenant_id, user_id, session_id
offset $4
limit 1
;
with ended as materialized (
    select tenant_id, user_id, session_id
    from presence_sessions
    where (tenant_id, user_id, session_id) > ($1, $2, $3)
      and (tenant_id, user_id, session_id) <= ($4, $5, $6)
      and (cleared_at <= $7 or expires_at <= $7)
    for update skip locked
)
delete from presence_sessions as s
using ended
where s.tenant_id = ended.tenant_id
  and s.user_id = ended.user_id
  and s.session_id = ended.session_id
  and (s.cleared_at <= $7 or s.expires_at <= $7)
;
