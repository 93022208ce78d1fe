-- One row per user with a preferred presence, a status message or a work location.
create table presence_users (
    tenant_id               uuid             not null,
    user_id                 text collate "C" not null,
    preferred_availability  text collate "C",
    preferred_activity      text collate "C",
    preferred_expires_at    timestamptz,
    status_content          text,
    status_published_at     timestamptz,
    status_expires_at       timestamptz,
    manual_location_type    text collate "C",
    manual_place_id         text collate "C",
    automatic_location_type text collate "C",
    automatic_place_id      text collate "C",
    changed_at              timestamptz      not null,
    constraint presence_users_pkey primary key (tenant_id, user_id),
    constraint presence_users_preferred_allowed check (
        num_nonnulls(preferred_availability, preferred_activity, preferred_expires_at) in (0, 3)
        and (
            preferred_availability is null
            or (preferred_availability, preferred_activity) in (
                ('Available', 'Available'),
                ('Busy', 'Busy'),
                ('DoNotDisturb', 'DoNotDisturb'),
                ('BeRightBack', 'BeRightBack'),
                ('Away', 'Away'),
                ('Offline', 'OffWork')
            )
        )
    ),
    constraint presence_users_status_whole check (
        num_nonnulls(status_content, status_published_at) in (0, 2)
        and (status_expires_at is null or status_content is not null)
    ),
    constraint presence_users_location_whole check (
        (manual_place_id is null or manual_location_type is not null)
        and (automatic_place_id is null or automatic_location_type is not null)
    )
) with (fillfactor = 70);

comment on table presence_users is 'One row per user with a preferred presence, a status message or a work location';
comment on column presence_users.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_users.user_id is 'Opaque; a GUID is in lower case';
comment on column presence_users.preferred_availability is 'The preferred availability, e.g. Busy; null without a preference';
comment on column presence_users.preferred_activity is 'The preferred activity, e.g. Busy; null without a preference';
comment on column presence_users.preferred_expires_at is 'The time at which the preference expires';
comment on column presence_users.status_content is 'The status message, not empty; null without one';
comment on column presence_users.status_published_at is 'The time at which the status message was set';
comment on column presence_users.status_expires_at is 'The time at which the status message expires; null if it does not';
comment on column presence_users.manual_location_type is 'The kind of work location that the user chose, e.g. Office; null without one';
comment on column presence_users.manual_place_id is 'The place that the user chose; null if unknown';
comment on column presence_users.automatic_location_type is 'The kind of work location that was detected, e.g. Office; null without one';
comment on column presence_users.automatic_place_id is 'The place that was detected; null if unknown';
comment on column presence_users.changed_at is 'The time of the last change to this row; never goes back';
