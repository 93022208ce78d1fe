-- The schema. Every time is a number of milliseconds since 1970-01-01T00:00:00Z; the views show
-- texts in UTC.

-- One row per session. A session is one application's claim about one user.
create table presence_sessions (
    tenant_id                   text    not null, -- The organisation; the nil UUID while authentication is off
    user_id                     text    not null, -- Opaque; a GUID is in lower case
    session_id                  text    not null, -- The application's id; a GUID is in lower case
    availability                text,             -- The availability that was set, e.g. Busy; null in a mark, which is a session that was cleared before it was set
    activity                    text,             -- The activity that was set, e.g. InACall; null in a mark
    opened_at                   integer not null, -- The time at which the session last became live
    changed_at                  integer not null, -- The time of the last set that changed what watchers see; never goes back
    set_at                      integer not null, -- The time of the last set, refresh or extension; an Available session fades 5 and 10 minutes later
    expires_at                  integer not null, -- The time at which the session expires; the session is live until then
    cleared_at                  integer,          -- The time of the clear; null if the session was not cleared since the last set
    observed_at                 integer not null, -- The time of the newest observation that the row reflects; never shown
    holder                      text,             -- The token of the stream that holds the session; null if none does
    set_by_application          text,             -- The application that set the session; null without access tokens
    set_by_user                 text,             -- The user for whom the application set the session; null if it acted for itself
    previous_availability       text,             -- The availability that the last write replaced; null, as all previous_ columns, if it replaced none
    previous_activity           text,             -- The activity that the last write replaced
    previous_from               integer,          -- The time from which the replaced pair applied
    previous_until              integer,          -- The time at which the replaced pair ended
    previous_set_at             integer,          -- The time at which the replaced pair was last set or refreshed
    previous_set_by_application text,             -- The application that had set the replaced pair
    previous_set_by_user        text,             -- The user for whom the replaced pair had been set
    constraint presence_sessions_pkey primary key (tenant_id, user_id, session_id),
    constraint presence_sessions_pair_allowed check (
        case
            when availability is null then activity is null and cleared_at is not null
            else activity is not null and availability || '/' || activity in (
                'Available/Available',
                'Busy/InACall',
                'Busy/InAConferenceCall',
                'Away/Away',
                'DoNotDisturb/Presenting'
            )
        end
    )
) strict, without rowid;

-- A user keeps 100 sessions, so that reads stay bounded however many session ids a caller
-- invents. Opening more removes ended sessions first, then the sessions that were set longest
-- ago. Sessions that were set at the same instant as the new one are kept.
create trigger presence_sessions_bounded after insert on presence_sessions
when (
    select count(*) from presence_sessions where tenant_id = new.tenant_id and user_id = new.user_id
) > 100
begin
    delete from presence_sessions
    where (tenant_id, user_id, session_id) in (
        select tenant_id, user_id, session_id
        from presence_sessions
        where tenant_id = new.tenant_id and user_id = new.user_id and set_at < new.set_at
        order by cleared_at is null and expires_at > new.set_at, set_at
        limit (
            select count(*) - 100
            from presence_sessions
            where tenant_id = new.tenant_id and user_id = new.user_id
        )
    );
end;

-- One row per user with a preferred presence, a status message or a work location. Each part
-- has the time of its last set or clear and its author.
create table presence_users (
    tenant_id                             text    not null, -- The organisation; the nil UUID while authentication is off
    user_id                               text    not null, -- Opaque; a GUID is in lower case
    changed_at                            integer,          -- The time of the last change of a value; never goes back; null if the row never had one
    preferred_availability                text,             -- The preferred availability, e.g. Busy; null without a preference
    preferred_activity                    text,             -- The preferred activity, e.g. Busy; null without a preference
    preferred_expires_at                  integer,          -- The time at which the preference expires
    preferred_set_at                      integer,          -- The time at which the preference was last set or cleared
    preferred_set_by_application          text,             -- The application that did so; null without access tokens
    preferred_set_by_user                 text,             -- The user for whom it did so; null if it acted for itself
    status_content                        text,             -- The status message, not empty; null without one
    status_expires_at                     integer,          -- The time at which the status message expires; null if it does not
    status_set_at                         integer,          -- The time at which the status message was last set or cleared
    status_set_by_application             text,             -- The application that did so; null without access tokens
    status_set_by_user                    text,             -- The user for whom it did so; null if it acted for itself
    manual_location_type                  text,             -- The kind of work location that the user chose, e.g. Office; null without one
    manual_place_id                       text,             -- The place that the user chose; null if unknown
    manual_location_set_at                integer,          -- The time at which this location was last set or cleared
    manual_location_set_by_application    text,             -- The application that did so; null without access tokens
    manual_location_set_by_user           text,             -- The user for whom it did so; null if it acted for itself
    automatic_location_type               text,             -- The kind of work location that was detected, e.g. Office; null without one
    automatic_place_id                    text,             -- The place that was detected; null if unknown
    automatic_location_set_at             integer,          -- The time at which this location was last set or cleared
    automatic_location_set_by_application text,             -- The application that did so; null without access tokens
    automatic_location_set_by_user        text,             -- The user for whom it did so; null if it acted for itself
    constraint presence_users_pkey primary key (tenant_id, user_id),
    constraint presence_users_preferred_allowed check (
        (preferred_availability is null) = (preferred_activity is null)
        and (preferred_availability is null) = (preferred_expires_at is null)
        and (
            preferred_availability is null
            or preferred_availability || '/' || preferred_activity in (
                'Available/Available',
                'Busy/Busy',
                'DoNotDisturb/DoNotDisturb',
                'BeRightBack/BeRightBack',
                'Away/Away',
                'Offline/OffWork'
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
) strict, without rowid;

-- One row per task that a single replica does at a time.
create table presence_leases (
    name     text    not null, -- The task, e.g. cleanup
    owner    text    not null, -- The replica that does the task
    taken_at integer not null, -- The time at which the replica took or renewed the lease
    until    integer not null, -- The time at which the lease ends unless it is renewed
    constraint presence_leases_pkey primary key (name)
) strict, without rowid;

-- For people: sqlite3 presence.db "select * from presence_sessions_readable where user_id = '…'"
create view presence_sessions_readable as
select tenant_id, user_id, session_id, availability, activity,
       strftime('%Y-%m-%dT%H:%M:%fZ', opened_at / 1000.0, 'unixepoch')       as opened_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1000.0, 'unixepoch')      as changed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', set_at / 1000.0, 'unixepoch')          as set_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')      as expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', cleared_at / 1000.0, 'unixepoch')      as cleared_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', observed_at / 1000.0, 'unixepoch')     as observed_at,
       holder, set_by_application, set_by_user,
       previous_availability, previous_activity,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_from / 1000.0, 'unixepoch')   as previous_from,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_until / 1000.0, 'unixepoch')  as previous_until,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_set_at / 1000.0, 'unixepoch') as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_sessions;

create view presence_users_readable as
select tenant_id, user_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1000.0, 'unixepoch')                as changed_at,
       preferred_availability, preferred_activity,
       strftime('%Y-%m-%dT%H:%M:%fZ', preferred_expires_at / 1000.0, 'unixepoch')      as preferred_expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', preferred_set_at / 1000.0, 'unixepoch')          as preferred_set_at,
       preferred_set_by_application, preferred_set_by_user,
       status_content,
       strftime('%Y-%m-%dT%H:%M:%fZ', status_expires_at / 1000.0, 'unixepoch')         as status_expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', status_set_at / 1000.0, 'unixepoch')             as status_set_at,
       status_set_by_application, status_set_by_user,
       manual_location_type, manual_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', manual_location_set_at / 1000.0, 'unixepoch')    as manual_location_set_at,
       manual_location_set_by_application, manual_location_set_by_user,
       automatic_location_type, automatic_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', automatic_location_set_at / 1000.0, 'unixepoch') as automatic_location_set_at,
       automatic_location_set_by_application, automatic_location_set_by_user
from presence_users;
