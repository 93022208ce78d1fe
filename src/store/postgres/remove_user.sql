-- Removes the row of a user that was not written since it was read; see Store::remove_users.
-- Citus locks no rows of several shards, so it removes one row at a time.
--
-- $1 tenant_id, $2 user_id, $3 set_at
-- $4 whether spans that end are kept
with removed as (
    delete from presence_users
    where tenant_id = $1
      and user_id = $2
      and greatest(
              preferred_set_at, status_set_at, manual_location_set_at, automatic_location_set_at
          ) = $3
    returning *
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
