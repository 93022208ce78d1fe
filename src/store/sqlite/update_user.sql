-- Changes the row of one user; see Store::update_user.
--
-- ?1 tenant_id, ?2 user_id
-- ?3 now
-- ?4 set_by_application, ?5 set_by_user
-- ?6 whether the preference changes, ?7 preferred_availability, ?8 preferred_activity,
-- ?9 preferred_expires_at
-- ?10 whether the status message changes, ?11 status_content, ?12 status_expires_at
-- ?13 whether the manual location changes, ?14 manual_location_type, ?15 manual_place_id
-- ?16 whether the automatic location changes, ?17 automatic_location_type, ?18 automatic_place_id
--
-- A part that changes has the time `…_set_at`, also in `excluded`. Its other columns are null
-- if the part is cleared.
-- Returns one row.
insert into presence_users as p (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    preferred_set_at, preferred_set_by_application, preferred_set_by_user,
    status_content, status_expires_at,
    status_set_at, status_set_by_application, status_set_by_user,
    manual_location_type, manual_place_id,
    manual_location_set_at, manual_location_set_by_application, manual_location_set_by_user,
    automatic_location_type, automatic_place_id,
    automatic_location_set_at, automatic_location_set_by_application, automatic_location_set_by_user
)
select ?1, ?2,
       case when coalesce(?7, ?11, ?14, ?17) is not null then at.now end,
       ?7, ?8, ?9,
       case when ?6 then at.now end, case when ?6 then ?4 end, case when ?6 then ?5 end,
       ?11, ?12,
       case when ?10 then at.now end, case when ?10 then ?4 end, case when ?10 then ?5 end,
       ?14, ?15,
       case when ?13 then at.now end, case when ?13 then ?4 end, case when ?13 then ?5 end,
       ?17, ?18,
       case when ?16 then at.now end, case when ?16 then ?4 end, case when ?16 then ?5 end
from (select ?3 as now) as at
where true
on conflict (tenant_id, user_id) do update set
    (
        preferred_availability, preferred_activity, preferred_expires_at,
        preferred_set_at, preferred_set_by_application, preferred_set_by_user
    ) = (
        select excluded.preferred_availability, excluded.preferred_activity, excluded.preferred_expires_at,
               excluded.preferred_set_at, excluded.preferred_set_by_application, excluded.preferred_set_by_user
        where excluded.preferred_set_at is not null
        union all
        select p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
               p.preferred_set_at, p.preferred_set_by_application, p.preferred_set_by_user
        where excluded.preferred_set_at is null
    ),
    (
        status_content, status_expires_at,
        status_set_at, status_set_by_application, status_set_by_user
    ) = (
        select excluded.status_content, excluded.status_expires_at,
               excluded.status_set_at, excluded.status_set_by_application, excluded.status_set_by_user
        where excluded.status_set_at is not null
        union all
        select p.status_content, p.status_expires_at,
               p.status_set_at, p.status_set_by_application, p.status_set_by_user
        where excluded.status_set_at is null
    ),
    (
        manual_location_type, manual_place_id,
        manual_location_set_at, manual_location_set_by_application, manual_location_set_by_user
    ) = (
        select excluded.manual_location_type, excluded.manual_place_id,
               excluded.manual_location_set_at, excluded.manual_location_set_by_application, excluded.manual_location_set_by_user
        where excluded.manual_location_set_at is not null
        union all
        select p.manual_location_type, p.manual_place_id,
               p.manual_location_set_at, p.manual_location_set_by_application, p.manual_location_set_by_user
        where excluded.manual_location_set_at is null
    ),
    (
        automatic_location_type, automatic_place_id,
        automatic_location_set_at, automatic_location_set_by_application, automatic_location_set_by_user
    ) = (
        select excluded.automatic_location_type, excluded.automatic_place_id,
               excluded.automatic_location_set_at, excluded.automatic_location_set_by_application, excluded.automatic_location_set_by_user
        where excluded.automatic_location_set_at is not null
        union all
        select p.automatic_location_type, p.automatic_place_id,
               p.automatic_location_set_at, p.automatic_location_set_by_application, p.automatic_location_set_by_user
        where excluded.automatic_location_set_at is null
    ),
    changed_at = case
        when (
              excluded.preferred_set_at is not null
              and coalesce(excluded.preferred_availability, p.preferred_availability) is not null
          )
          or (
              excluded.status_set_at is not null
              and coalesce(excluded.status_content, p.status_content) is not null
          )
          or (
              excluded.manual_location_set_at is not null
              and coalesce(excluded.manual_location_type, p.manual_location_type) is not null
          )
          or (
              excluded.automatic_location_set_at is not null
              and coalesce(excluded.automatic_location_type, p.automatic_location_type) is not null
          )
        then max(
            coalesce(
                excluded.preferred_set_at, excluded.status_set_at,
                excluded.manual_location_set_at, excluded.automatic_location_set_at
            ),
            coalesce(p.changed_at + 1, 0)
        )
        else p.changed_at
    end
returning
    coalesce(
        changed_at >= max(
            coalesce(preferred_set_at, 0), coalesce(status_set_at, 0),
            coalesce(manual_location_set_at, 0), coalesce(automatic_location_set_at, 0)
        ),
        false
    )
