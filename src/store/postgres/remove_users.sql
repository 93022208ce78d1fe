-- Removes rows of users that were not written since they were read; see Store::remove_users.
--
-- $1 tenant_id, $2 user_id, $3 set_at: one array for each column
-- $4 whether spans that end are kept
--
-- Skips a row that another statement has locked, so neither waits for the other.
with removed as (
    delete from presence_users as p
    using (
        select held.tenant_id, held.user_id
        from unnest($1::uuid[], $2::text[], $3::bigint[]) as old (tenant_id, user_id, set_at)
        join presence_users as held
          on held.tenant_id = old.tenant_id
         and held.user_id = old.user_id collate "C"
         and greatest(
                 held.preferred_set_at, held.status_set_at, held.manual_location_set_at, held.automatic_location_set_at
             ) = old.set_at
        for update of held skip locked
    ) as old
    where p.tenant_id = old.tenant_id
      and p.user_id = old.user_id
    returning p.*
), appended as (
    insert into presence_history (
        tenant_id, user_id, part, started_at, ended_at,
        availability, activity, content, set_at, set_by_application, set_by_user, end_reason
    )
    select tenant_id, user_id, 'preference', preferred_started_at, greatest(preferred_started_at, preferred_expires_at),
           preferred_availability, preferred_activity, null,
           preferred_set_at, preferred_set_by_application, preferred_set_by_user, 'expired'
    from removed
    where preferred_availability is not null
      and $4::boolean
    union all
    select tenant_id, user_id, 'message', status_started_at, greatest(status_started_at, status_expires_at),
           null, null, status_content,
           status_set_at, status_set_by_application, status_set_by_user, 'expired'
    from removed
    where status_content is not null
      and $4
)
select ($4 and preferred_availability is not null)::int + ($4 and status_content is not null)::int as spans
from removed
