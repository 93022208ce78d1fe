-- The schema. Every time is a number of milliseconds since 1970-01-01T00:00:00Z; the views show
-- timestamps.
--
-- No index covers a column that a refresh changes, and each page has free space. So every
-- refresh is a heap-only (HOT) update.
-- Texts compare byte by byte (collate "C"), so a key does not depend on the operating system's
-- locale data.

-- One row per session. A session is one application's claim about one user.
create table presence_sessions (
    tenant_id                   uuid             not null,
    user_id                     text collate "C" not null,
    session_id                  text collate "C" not null,
    availability                text collate "C",
    activity                    text collate "C",
    opened_at                   bigint           not null,
    changed_at                  bigint           not null,
    set_at                      bigint           not null,
    expires_at                  bigint           not null,
    cleared_at                  bigint,
    observed_at                 bigint           not null,
    holder                      uuid,
    set_by_application          text collate "C",
    set_by_user                 text collate "C",
    previous_availability       text collate "C",
    previous_activity           text collate "C",
    previous_from               bigint,
    previous_until              bigint,
    previous_set_at             bigint,
    previous_set_by_application text collate "C",
    previous_set_by_user        text collate "C",
    constraint presence_sessions_pkey primary key (tenant_id, user_id, session_id),
    constraint presence_sessions_pair_allowed check (
        case
            when availability is null then activity is null and cleared_at is not null
            else activity is not null and (availability, activity) in (
                ('Available', 'Available'),
                ('Busy', 'InACall'),
                ('Busy', 'InAConferenceCall'),
                ('Away', 'Away'),
                ('DoNotDisturb', 'Presenting')
            )
        end
    )
) with (fillfactor = 70);

comment on table presence_sessions is 'One row per session, which is one application''s claim about one user';
comment on column presence_sessions.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_sessions.user_id is 'Opaque; a GUID is in lower case';
comment on column presence_sessions.session_id is 'The application''s id; a GUID is in lower case';
comment on column presence_sessions.availability is 'The availability that was set, e.g. Busy; null in a mark, which is a session that was cleared before it was set';
comment on column presence_sessions.activity is 'The activity that was set, e.g. InACall; null in a mark';
comment on column presence_sessions.opened_at is 'The time at which the session last became live';
comment on column presence_sessions.changed_at is 'The time of the last set that changed what watchers see; never goes back';
comment on column presence_sessions.set_at is 'The time of the last set, refresh or extension; an Available session fades 5 and 10 minutes later';
comment on column presence_sessions.expires_at is 'The time at which the session expires; the session is live until then';
comment on column presence_sessions.cleared_at is 'The time of the clear; null if the session was not cleared since the last set';
comment on column presence_sessions.observed_at is 'The time of the newest observation that the row reflects; never shown';
comment on column presence_sessions.holder is 'The token of the stream that holds the session; null if none does';
comment on column presence_sessions.set_by_application is 'The application that set the session; null without access tokens';
comment on column presence_sessions.set_by_user is 'The user for whom the application set the session; null if it acted for itself';
comment on column presence_sessions.previous_availability is 'The availability that the last write replaced; null, as all previous_ columns, if it replaced none';
comment on column presence_sessions.previous_activity is 'The activity that the last write replaced';
comment on column presence_sessions.previous_from is 'The time from which the replaced pair applied';
comment on column presence_sessions.previous_until is 'The time at which the replaced pair ended';
comment on column presence_sessions.previous_set_at is 'The time at which the replaced pair was last set or refreshed';
comment on column presence_sessions.previous_set_by_application is 'The application that had set the replaced pair';
comment on column presence_sessions.previous_set_by_user is 'The user for whom the replaced pair had been set';

-- One row per user with a preferred presence, a status message or a work location. Each part
-- has the time of its last set or clear and its author.
create table presence_users (
    tenant_id                             uuid             not null,
    user_id                               text collate "C" not null,
    changed_at                            bigint,
    preferred_availability                text collate "C",
    preferred_activity                    text collate "C",
    preferred_expires_at                  bigint,
    preferred_set_at                      bigint,
    preferred_set_by_application          text collate "C",
    preferred_set_by_user                 text collate "C",
    status_content                        text,
    status_expires_at                     bigint,
    status_set_at                         bigint,
    status_set_by_application             text collate "C",
    status_set_by_user                    text collate "C",
    manual_location_type                  text collate "C",
    manual_place_id                       text collate "C",
    manual_location_set_at                bigint,
    manual_location_set_by_application    text collate "C",
    manual_location_set_by_user           text collate "C",
    automatic_location_type               text collate "C",
    automatic_place_id                    text collate "C",
    automatic_location_set_at             bigint,
    automatic_location_set_by_application text collate "C",
    automatic_location_set_by_user        text collate "C",
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
        status_content is not null or status_expires_at is null
    ),
    constraint presence_users_location_whole check (
        (manual_place_id is null or manual_location_type is not null)
        and (automatic_place_id is null or automatic_location_type is not null)
    )
) with (fillfactor = 70);

comment on table presence_users is 'One row per user with a preferred presence, a status message or a work location';
comment on column presence_users.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_users.user_id is 'Opaque; a GUID is in lower case';
comment on column presence_users.changed_at is 'The time of the last change of a value; never goes back; null if the row never had one';
comment on column presence_users.preferred_availability is 'The preferred availability, e.g. Busy; null without a preference';
comment on column presence_users.preferred_activity is 'The preferred activity, e.g. Busy; null without a preference';
comment on column presence_users.preferred_expires_at is 'The time at which the preference expires';
comment on column presence_users.preferred_set_at is 'The time at which the preference was last set or cleared';
comment on column presence_users.preferred_set_by_application is 'The application that did so; null without access tokens';
comment on column presence_users.preferred_set_by_user is 'The user for whom it did so; null if it acted for itself';
comment on column presence_users.status_content is 'The status message, not empty; null without one';
comment on column presence_users.status_expires_at is 'The time at which the status message expires; null if it does not';
comment on column presence_users.status_set_at is 'The time at which the status message was last set or cleared';
comment on column presence_users.status_set_by_application is 'The application that did so; null without access tokens';
comment on column presence_users.status_set_by_user is 'The user for whom it did so; null if it acted for itself';
comment on column presence_users.manual_location_type is 'The kind of work location that the user chose, e.g. Office; null without one';
comment on column presence_users.manual_place_id is 'The place that the user chose; null if unknown';
comment on column presence_users.manual_location_set_at is 'The time at which this location was last set or cleared';
comment on column presence_users.manual_location_set_by_application is 'The application that did so; null without access tokens';
comment on column presence_users.manual_location_set_by_user is 'The user for whom it did so; null if it acted for itself';
comment on column presence_users.automatic_location_type is 'The kind of work location that was detected, e.g. Office; null without one';
comment on column presence_users.automatic_place_id is 'The place that was detected; null if unknown';
comment on column presence_users.automatic_location_set_at is 'The time at which this location was last set or cleared';
comment on column presence_users.automatic_location_set_by_application is 'The application that did so; null without access tokens';
comment on column presence_users.automatic_location_set_by_user is 'The user for whom it did so; null if it acted for itself';

-- One row per task that a single replica does at a time.
create table presence_leases (
    name     text collate "C" not null,
    owner    uuid             not null,
    taken_at bigint           not null,
    until    bigint           not null,
    constraint presence_leases_pkey primary key (name)
);

comment on table presence_leases is 'One row per task that a single replica does at a time';
comment on column presence_leases.name is 'The task, e.g. cleanup';
comment on column presence_leases.owner is 'The replica that does the task';
comment on column presence_leases.taken_at is 'The time at which the replica took or renewed the lease';
comment on column presence_leases.until is 'The time at which the lease ends unless it is renewed';

-- For people: psql -c "select * from presence_sessions_readable where user_id = '…'"
create view presence_sessions_readable as
select tenant_id, user_id, session_id, availability, activity,
       to_timestamp(opened_at / 1000.0)       as opened_at,
       to_timestamp(changed_at / 1000.0)      as changed_at,
       to_timestamp(set_at / 1000.0)          as set_at,
       to_timestamp(expires_at / 1000.0)      as expires_at,
       to_timestamp(cleared_at / 1000.0)      as cleared_at,
       to_timestamp(observed_at / 1000.0)     as observed_at,
       holder, set_by_application, set_by_user,
       previous_availability, previous_activity,
       to_timestamp(previous_from / 1000.0)   as previous_from,
       to_timestamp(previous_until / 1000.0)  as previous_until,
       to_timestamp(previous_set_at / 1000.0) as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_sessions;

create view presence_users_readable as
select tenant_id, user_id,
       to_timestamp(changed_at / 1000.0)                as changed_at,
       preferred_availability, preferred_activity,
       to_timestamp(preferred_expires_at / 1000.0)      as preferred_expires_at,
       to_timestamp(preferred_set_at / 1000.0)          as preferred_set_at,
       preferred_set_by_application, preferred_set_by_user,
       status_content,
       to_timestamp(status_expires_at / 1000.0)         as status_expires_at,
       to_timestamp(status_set_at / 1000.0)             as status_set_at,
       status_set_by_application, status_set_by_user,
       manual_location_type, manual_place_id,
       to_timestamp(manual_location_set_at / 1000.0)    as manual_location_set_at,
       manual_location_set_by_application, manual_location_set_by_user,
       automatic_location_type, automatic_place_id,
       to_timestamp(automatic_location_set_at / 1000.0) as automatic_location_set_at,
       automatic_location_set_by_application, automatic_location_set_by_user
from presence_users;
