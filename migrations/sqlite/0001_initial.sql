-- The schema. Every time is a number of milliseconds since 1970-01-01T00:00:00Z; the views show
-- texts in UTC.

-- One row per session. A session is one application's claim about one user.
create table presence_sessions (
    tenant_id                   text    not null, -- The organisation; the nil UUID while authentication is off
    user_id                     text    not null, -- Opaque; a GUID is in lower case
    session_id                  text    not null, -- The application's id; a GUID is in lower case
    availability                text,             -- The availability that was set, e.g. Busy; null in a mark, which is a session that was cleared before it was set
    activity                    text,             -- The activity that was set, e.g. InACall; null in a mark
    message                     text,             -- The text of the session, not empty; null without one
    set_at                      integer not null, -- The time of the last set, refresh or extension; an Available session fades 5 and 10 minutes later
    expires_at                  integer not null, -- The time at which the session expires; the session is live until then
    observed_at                 integer not null, -- The time of the newest observation that the row reflects; never shown
    observed_by_caller          integer not null, -- Whether the caller of the last set or clear gave that time: 1 or 0
    holder                      text,             -- The token of the stream that holds the session; null if none does
    previous_holder             text,             -- The token of the stream from which the last write took the session; null if it took it from none
    set_by_application          text,             -- The application that set the session; null without access tokens
    set_by_user                 text,             -- The user for whom the application set the session; null if it acted for itself
    opened_at                   integer not null, -- The time at which the session last became live; never goes back
    started_at                  integer not null, -- The time from which the pair, the text and their author, or their absence, apply: the start of the current span of the history
    changed_at                  integer not null, -- The time of the last set that changed what watchers see; never goes back
    cleared_at                  integer,          -- The time of the clear; null if the session was not cleared since the last set
    cleared_by_application      text,             -- The application that cleared the session
    cleared_by_user             text,             -- The user for whom the application cleared the session; null if it acted for itself
    previous_availability       text,             -- The availability of the span that the last write ended; null, as all previous_ columns, if it ended none
    previous_activity           text,             -- The activity of that span
    previous_message            text,             -- The text of that span
    previous_started_at         integer,          -- The start of that span
    previous_ended_at           integer,          -- The end of that span; the span does not contain it
    previous_end_reason         text,             -- How that span ended: changed, cleared, expired or evicted
    previous_changed_at         integer,          -- The column changed_at during that span
    previous_set_at             integer,          -- The time of the last set or refresh of that span
    previous_set_by_application text,             -- The application that had set it
    previous_set_by_user        text,             -- The user for whom the application had set it
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

-- One row per user with a preferred presence, a status message or a work location. Each part
-- has the time of its last set or clear and its author. The two work locations are one part.
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
    preferred_started_at                  integer,          -- The time from which the preference, or its absence, applies
    status_started_at                     integer,          -- The time from which the status message, or its absence, applies
    locations_started_at                  integer,          -- The time from which the two locations apply together
    previous_part                         text,             -- The part of which the last write ended a span: preference, message or locations; null, as all previous_ columns, if it ended none
    previous_availability                 text,             -- The preferred availability of that span
    previous_activity                     text,             -- The preferred activity of that span
    previous_content                      text,             -- The status message of that span
    previous_manual_location_type         text,             -- The kind of manual location of that span
    previous_manual_place_id              text,             -- The place of the manual location of that span
    previous_automatic_location_type      text,             -- The kind of automatic location of that span
    previous_automatic_place_id           text,             -- The place of the automatic location of that span
    previous_started_at                   integer,          -- The start of that span
    previous_ended_at                     integer,          -- The end of that span; the span does not contain it
    previous_end_reason                   text,             -- How that span ended: changed, cleared or expired
    previous_set_at                       integer,          -- The time of the last set of that span
    previous_set_by_application           text,             -- The application that had set it
    previous_set_by_user                  text,             -- The user for whom the application had set it
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

-- One row per span: one value of one part of a user's presence, from one instant to another.
-- A row is written when the span has ended, and does not change. Erasing a user removes the rows,
-- and the user's id from the rows of others.
create table presence_history (
    tenant_id               text    not null, -- The organisation; the nil UUID while authentication is off
    user_id                 text    not null, -- Opaque; a GUID is in lower case
    part                    text    not null, -- The part of the presence: session, preference, message or locations
    session_id              text,             -- The session; null for the other parts
    started_at              integer not null, -- The start of the span
    ended_at                integer not null, -- The end of the span; the span does not contain it
    availability            text,             -- The availability of the session or preference
    activity                text,             -- The activity of the session or preference
    content                 text,             -- The status message
    manual_location_type    text,             -- The kind of manual location; null without one
    manual_place_id         text,             -- The place of the manual location; null if unknown
    automatic_location_type text,             -- The kind of automatic location; null without one
    automatic_place_id      text,             -- The place of the automatic location; null if unknown
    changed_at              integer,          -- The column changed_at of the session during the span; null for the other parts
    set_at                  integer not null, -- The time of the last set or refresh; an Available session fades 5 and 10 minutes later
    set_by_application      text,             -- The application that set the value; null without access tokens
    set_by_user             text,             -- The user for whom the application set it; null if it acted for itself
    end_reason              text    not null, -- How the span ended: changed, cleared, expired, or evicted, which is removed for the limit of sessions
    ended_by_application    text,             -- The application that changed or cleared the value
    ended_by_user           text,             -- The user for whom the application did so; null if it acted for itself
    constraint presence_history_part_allowed check (
        part in ('session', 'preference', 'message', 'locations')
        and (part = 'session') = (session_id is not null)
        and (part = 'session') = (changed_at is not null)
    ),
    constraint presence_history_end_allowed check (
        started_at <= ended_at and end_reason in ('changed', 'cleared', 'expired', 'evicted')
    )
) strict;

-- For reads of a user, and for the cleanup of all users.
create index presence_history_by_user on presence_history (tenant_id, user_id, ended_at);
create index presence_history_by_end on presence_history (ended_at);

-- One row per task that a single replica does at a time. The row `history` is no task: history is
-- complete from the time in its column `until`.
create table presence_leases (
    name     text    not null, -- The task, e.g. cleanup
    owner    text    not null, -- The replica that does the task
    taken_at integer not null, -- The time at which the replica took or renewed the lease
    until    integer not null, -- The time at which the lease ends unless it is renewed
    constraint presence_leases_pkey primary key (name)
) strict, without rowid;

-- One row per subscription to change notifications.
create table presence_subscriptions (
    tenant_id                text    not null, -- The organisation; the nil UUID while authentication is off
    subscription_id          text    not null, -- The subscription
    created_by_application   text,             -- The application that made it; null without access tokens
    created_by_user          text,             -- The user for whom it did so; null if it acted for itself
    request                  text    not null, -- What the subscriber asked for, as JSON: users, receivers, certificate and so on. URLs can contain secrets
    signing_keys             text    not null, -- The secrets that sign its notifications, a JSON array; the current one first
    created_at               integer not null, -- The time at which it was made
    expires_at               integer not null, -- The time at which it ends
    authorized_at            integer,          -- The time at which an access token last authorized it; null without access tokens
    authorized_until         integer,          -- The time at which that token expires
    reauthorization_sent_for integer,          -- The value of authorized_at for which the subscriber was asked to authorize it again; null if none was
    delivered_through        integer not null, -- Every change before this time was delivered, or is older than the subscription
    owner                    text,             -- The replica that last delivered it; null before the first one
    leased_until             integer not null, -- The time at which the lease of that replica ends unless it is renewed; 0 without a lease
    generation               integer not null, -- The number of times that a replica took it over
    failing_since            integer,          -- The time since which deliveries fail; null if the last one succeeded
    last_error               text,             -- The answer of the receiver, or the reason why it is unreachable, when a delivery last failed
    constraint presence_subscriptions_pkey primary key (tenant_id, subscription_id),
    constraint presence_subscriptions_authorized_whole check (
        (authorized_at is null) = (authorized_until is null)
    )
) strict, without rowid;

-- One row per key pair with which the service signs tokens in notifications.
create table presence_signing_keys (
    number      integer not null, -- The position in the order in which the keys were made
    key_id      text    not null, -- The name of the key in tokens and in the published key set
    private_key text    not null, -- The private key, in PKCS#8 and base64. A secret
    created_at  integer not null, -- The time at which it was made
    constraint presence_signing_keys_pkey primary key (number),
    constraint presence_signing_keys_key_id_unique unique (key_id)
) strict, without rowid;

-- For people: sqlite3 presence.db "select * from presence_sessions_readable where user_id = '…'"
create view presence_sessions_readable as
select tenant_id, user_id, session_id, availability, activity, message,
       strftime('%Y-%m-%dT%H:%M:%fZ', opened_at / 1000.0, 'unixepoch')           as opened_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch')          as started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1000.0, 'unixepoch')          as changed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', set_at / 1000.0, 'unixepoch')              as set_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')          as expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', cleared_at / 1000.0, 'unixepoch')          as cleared_at,
       cleared_by_application, cleared_by_user,
       strftime('%Y-%m-%dT%H:%M:%fZ', observed_at / 1000.0, 'unixepoch')         as observed_at,
       observed_by_caller, holder, previous_holder, set_by_application, set_by_user,
       previous_availability, previous_activity, previous_message,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_started_at / 1000.0, 'unixepoch') as previous_started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_ended_at / 1000.0, 'unixepoch')   as previous_ended_at,
       previous_end_reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_changed_at / 1000.0, 'unixepoch') as previous_changed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_set_at / 1000.0, 'unixepoch')     as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_sessions;

create view presence_users_readable as
select tenant_id, user_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1000.0, 'unixepoch')           as changed_at,
       preferred_availability, preferred_activity,
       strftime('%Y-%m-%dT%H:%M:%fZ', preferred_expires_at / 1000.0, 'unixepoch') as preferred_expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', preferred_started_at / 1000.0, 'unixepoch') as preferred_started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', preferred_set_at / 1000.0, 'unixepoch')     as preferred_set_at,
       preferred_set_by_application, preferred_set_by_user,
       status_content,
       strftime('%Y-%m-%dT%H:%M:%fZ', status_expires_at / 1000.0, 'unixepoch')    as status_expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', status_started_at / 1000.0, 'unixepoch')    as status_started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', status_set_at / 1000.0, 'unixepoch')        as status_set_at,
       status_set_by_application, status_set_by_user,
       manual_location_type, manual_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', manual_location_set_at / 1000.0, 'unixepoch')    as manual_location_set_at,
       manual_location_set_by_application, manual_location_set_by_user,
       automatic_location_type, automatic_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', automatic_location_set_at / 1000.0, 'unixepoch') as automatic_location_set_at,
       automatic_location_set_by_application, automatic_location_set_by_user,
       strftime('%Y-%m-%dT%H:%M:%fZ', locations_started_at / 1000.0, 'unixepoch')      as locations_started_at,
       previous_part, previous_availability, previous_activity, previous_content,
       previous_manual_location_type, previous_manual_place_id,
       previous_automatic_location_type, previous_automatic_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_started_at / 1000.0, 'unixepoch')  as previous_started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_ended_at / 1000.0, 'unixepoch')    as previous_ended_at,
       previous_end_reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', previous_set_at / 1000.0, 'unixepoch')      as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_users;

create view presence_history_readable as
select tenant_id, user_id, part, session_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') as started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000.0, 'unixepoch')   as ended_at,
       availability, activity, content,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1000.0, 'unixepoch') as changed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', set_at / 1000.0, 'unixepoch')     as set_at,
       set_by_application, set_by_user,
       end_reason, ended_by_application, ended_by_user
from presence_history;

-- Without the secrets that sign notifications.
create view presence_subscriptions_readable as
select tenant_id, subscription_id, created_by_application, created_by_user, request,
       strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch')               as created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')               as expires_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', authorized_at / 1000.0, 'unixepoch')            as authorized_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', authorized_until / 1000.0, 'unixepoch')         as authorized_until,
       strftime('%Y-%m-%dT%H:%M:%fZ', reauthorization_sent_for / 1000.0, 'unixepoch') as reauthorization_sent_for,
       strftime('%Y-%m-%dT%H:%M:%fZ', delivered_through / 1000.0, 'unixepoch')        as delivered_through,
       owner,
       strftime('%Y-%m-%dT%H:%M:%fZ', leased_until / 1000.0, 'unixepoch')             as leased_until,
       generation,
       strftime('%Y-%m-%dT%H:%M:%fZ', failing_since / 1000.0, 'unixepoch')            as failing_since,
       last_error
from presence_subscriptions;
