-- One row per user with a preferred presence, a status message or a work location.
-- Times are milliseconds since 1970-01-01T00:00:00Z.
create table presence_users (
    tenant_id               text    not null, -- the organisation; the nil UUID while authentication is off
    user_id                 text    not null, -- opaque; a GUID is in lower case
    preferred_availability  text,             -- the preferred availability, e.g. Busy; null without a preference
    preferred_activity      text,             -- the preferred activity, e.g. Busy; null without a preference
    preferred_expires_at    integer,          -- the time at which the preference expires
    status_content          text,             -- the status message, not empty; null without one
    status_published_at     integer,          -- the time at which the status message was set
    status_expires_at       integer,          -- the time at which the status message expires; null if it does not
    manual_location_type    text,             -- the kind of work location that the user chose, e.g. Office; null without one
    manual_place_id         text,             -- the place that the user chose; null if unknown
    automatic_location_type text,             -- the kind of work location that was detected, e.g. Office; null without one
    automatic_place_id      text,             -- the place that was detected; null if unknown
    changed_at              integer not null, -- the time of the last change to this row; never goes back
    constraint presence_users_pkey primary key (tenant_id, user_id),
    constraint presence_users_preferred_allowed check (
        (preferred_availability is null and preferred_activity is null and preferred_expires_at is null)
        or (
            preferred_availability is not null
            and preferred_activity is not null
            and preferred_expires_at is not null
            and (
                (preferred_availability = 'Available' and preferred_activity = 'Available')
                or (preferred_availability = 'Busy' and preferred_activity = 'Busy')
                or (preferred_availability = 'DoNotDisturb' and preferred_activity = 'DoNotDisturb')
                or (preferred_availability = 'BeRightBack' and preferred_activity = 'BeRightBack')
                or (preferred_availability = 'Away' and preferred_activity = 'Away')
                or (preferred_availability = 'Offline' and preferred_activity = 'OffWork')
            )
        )
    ),
    constraint presence_users_status_whole check (
        (status_content is null) = (status_published_at is null)
        and (status_expires_at is null or status_content is not null)
    ),
    constraint presence_users_location_whole check (
        (manual_place_id is null or manual_location_type is not null)
        and (automatic_place_id is null or automatic_location_type is not null)
    )
) strict, without rowid;
