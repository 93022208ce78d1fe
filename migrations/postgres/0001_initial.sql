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
    message                     text,
    set_at                      bigint           not null,
    expires_at                  bigint           not null,
    observed_at                 bigint           not null,
    observed_by_caller          boolean          not null,
    holder                      uuid,
    previous_holder             uuid,
    set_by_application          text collate "C",
    set_by_user                 text collate "C",
    opened_at                   bigint           not null,
    started_at                  bigint           not null,
    changed_at                  bigint           not null,
    cleared_at                  bigint,
    cleared_by_application      text collate "C",
    cleared_by_user             text collate "C",
    previous_availability       text collate "C",
    previous_activity           text collate "C",
    previous_message            text,
    previous_started_at         bigint,
    previous_ended_at           bigint,
    previous_end_reason         text collate "C",
    previous_changed_at         bigint,
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
comment on column presence_sessions.message is 'The text of the session, not empty; null without one';
comment on column presence_sessions.set_at is 'The time of the last set, refresh or extension; an Available session fades 5 and 10 minutes later';
comment on column presence_sessions.expires_at is 'The time at which the session expires; the session is live until then';
comment on column presence_sessions.observed_at is 'The time of the newest observation that the row reflects; never shown';
comment on column presence_sessions.observed_by_caller is 'Whether the caller of the last set or clear gave that time';
comment on column presence_sessions.holder is 'The token of the stream that holds the session; null if none does';
comment on column presence_sessions.previous_holder is 'The token of the stream from which the last write took the session; null if it took it from none';
comment on column presence_sessions.set_by_application is 'The application that set the session; null without access tokens';
comment on column presence_sessions.set_by_user is 'The user for whom the application set the session; null if it acted for itself';
comment on column presence_sessions.opened_at is 'The time at which the session last became live; never goes back';
comment on column presence_sessions.started_at is 'The time from which the pair, the text and their author, or their absence, apply: the start of the current span of the history';
comment on column presence_sessions.changed_at is 'The time of the last set that changed what watchers see; never goes back';
comment on column presence_sessions.cleared_at is 'The time of the clear; null if the session was not cleared since the last set';
comment on column presence_sessions.cleared_by_application is 'The application that cleared the session';
comment on column presence_sessions.cleared_by_user is 'The user for whom the application cleared the session; null if it acted for itself';
comment on column presence_sessions.previous_availability is 'The availability of the span that the last write ended; null, as all previous_ columns, if it ended none';
comment on column presence_sessions.previous_activity is 'The activity of that span';
comment on column presence_sessions.previous_message is 'The text of that span';
comment on column presence_sessions.previous_started_at is 'The start of that span';
comment on column presence_sessions.previous_ended_at is 'The end of that span; the span does not contain it';
comment on column presence_sessions.previous_end_reason is 'How that span ended: changed, cleared, expired or evicted';
comment on column presence_sessions.previous_changed_at is 'The column changed_at during that span';
comment on column presence_sessions.previous_set_at is 'The time of the last set or refresh of that span';
comment on column presence_sessions.previous_set_by_application is 'The application that had set it';
comment on column presence_sessions.previous_set_by_user is 'The user for whom the application had set it';

-- One row per user with a preferred presence, a status message or a work location. Each part
-- has the time of its last set or clear and its author. The two work locations are one part.
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
    preferred_started_at                  bigint,
    status_started_at                     bigint,
    locations_started_at                  bigint,
    previous_part                         text collate "C",
    previous_availability                 text collate "C",
    previous_activity                     text collate "C",
    previous_content                      text,
    previous_manual_location_type         text collate "C",
    previous_manual_place_id              text collate "C",
    previous_automatic_location_type      text collate "C",
    previous_automatic_place_id           text collate "C",
    previous_started_at                   bigint,
    previous_ended_at                     bigint,
    previous_end_reason                   text collate "C",
    previous_set_at                       bigint,
    previous_set_by_application           text collate "C",
    previous_set_by_user                  text collate "C",
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
comment on column presence_users.preferred_started_at is 'The time from which the preference, or its absence, applies';
comment on column presence_users.status_started_at is 'The time from which the status message, or its absence, applies';
comment on column presence_users.locations_started_at is 'The time from which the two locations apply together';
comment on column presence_users.previous_part is 'The part of which the last write ended a span: preference, message or locations; null, as all previous_ columns, if it ended none';
comment on column presence_users.previous_availability is 'The preferred availability of that span';
comment on column presence_users.previous_activity is 'The preferred activity of that span';
comment on column presence_users.previous_content is 'The status message of that span';
comment on column presence_users.previous_manual_location_type is 'The kind of manual location of that span';
comment on column presence_users.previous_manual_place_id is 'The place of the manual location of that span';
comment on column presence_users.previous_automatic_location_type is 'The kind of automatic location of that span';
comment on column presence_users.previous_automatic_place_id is 'The place of the automatic location of that span';
comment on column presence_users.previous_started_at is 'The start of that span';
comment on column presence_users.previous_ended_at is 'The end of that span; the span does not contain it';
comment on column presence_users.previous_end_reason is 'How that span ended: changed, cleared or expired';
comment on column presence_users.previous_set_at is 'The time of the last set of that span';
comment on column presence_users.previous_set_by_application is 'The application that had set it';
comment on column presence_users.previous_set_by_user is 'The user for whom the application had set it';

-- One row per span: one value of one part of a user's presence, from one instant to another.
-- A row is written when the span has ended, and does not change. Erasing a user removes the rows,
-- and the user's id from the rows of others.
create table presence_history (
    tenant_id               uuid             not null,
    user_id                 text collate "C" not null,
    part                    text collate "C" not null,
    session_id              text collate "C",
    started_at              bigint           not null,
    ended_at                bigint           not null,
    availability            text collate "C",
    activity                text collate "C",
    content                 text,
    manual_location_type    text collate "C",
    manual_place_id         text collate "C",
    automatic_location_type text collate "C",
    automatic_place_id      text collate "C",
    changed_at              bigint,
    set_at                  bigint           not null,
    set_by_application      text collate "C",
    set_by_user             text collate "C",
    end_reason              text collate "C" not null,
    ended_by_application    text collate "C",
    ended_by_user           text collate "C",
    constraint presence_history_part_allowed check (
        part in ('session', 'preference', 'message', 'locations')
        and (part = 'session') = (session_id is not null)
        and (part = 'session') = (changed_at is not null)
    ),
    constraint presence_history_end_allowed check (
        started_at <= ended_at and end_reason in ('changed', 'cleared', 'expired', 'evicted')
    )
);

-- For reads of a user, and for the cleanup of all users.
create index presence_history_by_user on presence_history (tenant_id, user_id, ended_at);
create index presence_history_by_end on presence_history (ended_at);

comment on table presence_history is 'One row per span: one value of one part of a user''s presence, from one instant to another';
comment on column presence_history.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_history.user_id is 'Opaque; a GUID is in lower case';
comment on column presence_history.part is 'The part of the presence: session, preference, message or locations';
comment on column presence_history.session_id is 'The session; null for the other parts';
comment on column presence_history.started_at is 'The start of the span';
comment on column presence_history.ended_at is 'The end of the span; the span does not contain it';
comment on column presence_history.availability is 'The availability of the session or preference';
comment on column presence_history.activity is 'The activity of the session or preference';
comment on column presence_history.content is 'The status message, or the text of the session; null without one';
comment on column presence_history.manual_location_type is 'The kind of manual location; null without one';
comment on column presence_history.manual_place_id is 'The place of the manual location; null if unknown';
comment on column presence_history.automatic_location_type is 'The kind of automatic location; null without one';
comment on column presence_history.automatic_place_id is 'The place of the automatic location; null if unknown';
comment on column presence_history.changed_at is 'The column changed_at of the session during the span; null for the other parts';
comment on column presence_history.set_at is 'The time of the last set or refresh; an Available session fades 5 and 10 minutes later';
comment on column presence_history.set_by_application is 'The application that set the value; null without access tokens';
comment on column presence_history.set_by_user is 'The user for whom the application set it; null if it acted for itself';
comment on column presence_history.end_reason is 'How the span ended: changed, cleared, expired, or evicted, which is removed for the limit of sessions';
comment on column presence_history.ended_by_application is 'The application that changed or cleared the value';
comment on column presence_history.ended_by_user is 'The user for whom the application did so; null if it acted for itself';

-- One row per task that a single replica does at a time. The row `history` is no task: history is
-- complete from the time in its column `until`.
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

-- One row per subscription to change notifications. On Citus these rows stay on the coordinator.
--
-- The replica that has a row writes it again every few seconds, to renew its lease. So no index covers
-- `leased_until`, and half of each page is free: one statement writes all rows of a page.
create table presence_subscriptions (
    tenant_id                uuid             not null,
    subscription_id          uuid             not null,
    created_by_application   text collate "C",
    created_by_user          text collate "C",
    request                  text             not null,
    signing_keys             text             not null,
    created_at               bigint           not null,
    expires_at               bigint           not null,
    authorized_at            bigint,
    authorized_until         bigint,
    reauthorization_sent_for bigint,
    delivered_through        bigint           not null,
    owner                    uuid,
    leased_until             bigint           not null,
    generation               bigint           not null,
    failing_since            bigint,
    last_error               text,
    constraint presence_subscriptions_pkey primary key (tenant_id, subscription_id),
    constraint presence_subscriptions_authorized_whole check (
        (authorized_at is null) = (authorized_until is null)
    )
) with (fillfactor = 50);

comment on table presence_subscriptions is 'One row per subscription to change notifications';
comment on column presence_subscriptions.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_subscriptions.subscription_id is 'The subscription';
comment on column presence_subscriptions.created_by_application is 'The application that made it; null without access tokens';
comment on column presence_subscriptions.created_by_user is 'The user for whom it did so; null if it acted for itself';
comment on column presence_subscriptions.request is 'What the subscriber asked for, as JSON: users, receivers, certificate and so on. URLs can contain secrets';
comment on column presence_subscriptions.signing_keys is 'The secrets that sign its notifications, a JSON array; the current one first';
comment on column presence_subscriptions.created_at is 'The time at which it was made';
comment on column presence_subscriptions.expires_at is 'The time at which it ends';
comment on column presence_subscriptions.authorized_at is 'The time at which an access token last authorized it; null without access tokens';
comment on column presence_subscriptions.authorized_until is 'The time at which that token expires';
comment on column presence_subscriptions.reauthorization_sent_for is 'The value of authorized_at for which the subscriber was asked to authorize it again; null if none was';
comment on column presence_subscriptions.delivered_through is 'Every change before this time was delivered, or is older than the subscription';
comment on column presence_subscriptions.owner is 'The replica that last delivered it; null before the first one';
comment on column presence_subscriptions.leased_until is 'The time at which the lease of that replica ends unless it is renewed; 0 without a lease';
comment on column presence_subscriptions.generation is 'The number of times that a replica took it over';
comment on column presence_subscriptions.failing_since is 'The time since which deliveries fail; null if the last one succeeded';
comment on column presence_subscriptions.last_error is 'The answer of the receiver, or the reason why it is unreachable, when a delivery last failed';

-- One row per key pair with which the service signs tokens in notifications.
create table presence_signing_keys (
    number      bigint           not null,
    key_id      text collate "C" not null,
    private_key text             not null,
    created_at  bigint           not null,
    constraint presence_signing_keys_pkey primary key (number),
    constraint presence_signing_keys_key_id_unique unique (key_id)
);

comment on table presence_signing_keys is 'One row per key pair with which the service signs tokens in notifications';
comment on column presence_signing_keys.number is 'The position in the order in which the keys were made';
comment on column presence_signing_keys.key_id is 'The name of the key in tokens and in the published key set';
comment on column presence_signing_keys.private_key is 'The private key, in PKCS#8 and base64. A secret';
comment on column presence_signing_keys.created_at is 'The time at which it was made';

-- For people: psql -c "select * from presence_sessions_readable where user_id = '…'"
create view presence_sessions_readable as
select tenant_id, user_id, session_id, availability, activity, message,
       to_timestamp(opened_at / 1000.0)           as opened_at,
       to_timestamp(started_at / 1000.0)          as started_at,
       to_timestamp(changed_at / 1000.0)          as changed_at,
       to_timestamp(set_at / 1000.0)              as set_at,
       to_timestamp(expires_at / 1000.0)          as expires_at,
       to_timestamp(cleared_at / 1000.0)          as cleared_at,
       cleared_by_application, cleared_by_user,
       to_timestamp(observed_at / 1000.0)         as observed_at,
       observed_by_caller, holder, previous_holder, set_by_application, set_by_user,
       previous_availability, previous_activity, previous_message,
       to_timestamp(previous_started_at / 1000.0) as previous_started_at,
       to_timestamp(previous_ended_at / 1000.0)   as previous_ended_at,
       previous_end_reason,
       to_timestamp(previous_changed_at / 1000.0) as previous_changed_at,
       to_timestamp(previous_set_at / 1000.0)     as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_sessions;

create view presence_users_readable as
select tenant_id, user_id,
       to_timestamp(changed_at / 1000.0)           as changed_at,
       preferred_availability, preferred_activity,
       to_timestamp(preferred_expires_at / 1000.0) as preferred_expires_at,
       to_timestamp(preferred_started_at / 1000.0) as preferred_started_at,
       to_timestamp(preferred_set_at / 1000.0)     as preferred_set_at,
       preferred_set_by_application, preferred_set_by_user,
       status_content,
       to_timestamp(status_expires_at / 1000.0)    as status_expires_at,
       to_timestamp(status_started_at / 1000.0)    as status_started_at,
       to_timestamp(status_set_at / 1000.0)        as status_set_at,
       status_set_by_application, status_set_by_user,
       manual_location_type, manual_place_id,
       to_timestamp(manual_location_set_at / 1000.0)    as manual_location_set_at,
       manual_location_set_by_application, manual_location_set_by_user,
       automatic_location_type, automatic_place_id,
       to_timestamp(automatic_location_set_at / 1000.0) as automatic_location_set_at,
       automatic_location_set_by_application, automatic_location_set_by_user,
       to_timestamp(locations_started_at / 1000.0)      as locations_started_at,
       previous_part, previous_availability, previous_activity, previous_content,
       previous_manual_location_type, previous_manual_place_id,
       previous_automatic_location_type, previous_automatic_place_id,
       to_timestamp(previous_started_at / 1000.0)  as previous_started_at,
       to_timestamp(previous_ended_at / 1000.0)    as previous_ended_at,
       previous_end_reason,
       to_timestamp(previous_set_at / 1000.0)      as previous_set_at,
       previous_set_by_application, previous_set_by_user
from presence_users;

create view presence_history_readable as
select tenant_id, user_id, part, session_id,
       to_timestamp(started_at / 1000.0) as started_at,
       to_timestamp(ended_at / 1000.0)   as ended_at,
       availability, activity, content,
       manual_location_type, manual_place_id,
       automatic_location_type, automatic_place_id,
       to_timestamp(changed_at / 1000.0) as changed_at,
       to_timestamp(set_at / 1000.0)     as set_at,
       set_by_application, set_by_user,
       end_reason, ended_by_application, ended_by_user
from presence_history;

-- Without the secrets that sign notifications.
create view presence_subscriptions_readable as
select tenant_id, subscription_id, created_by_application, created_by_user, request,
       to_timestamp(created_at / 1000.0)               as created_at,
       to_timestamp(expires_at / 1000.0)               as expires_at,
       to_timestamp(authorized_at / 1000.0)            as authorized_at,
       to_timestamp(authorized_until / 1000.0)         as authorized_until,
       to_timestamp(reauthorization_sent_for / 1000.0) as reauthorization_sent_for,
       to_timestamp(delivered_through / 1000.0)        as delivered_through,
       owner,
       to_timestamp(leased_until / 1000.0)             as leased_until,
       generation,
       to_timestamp(failing_since / 1000.0)            as failing_since,
       last_error
from presence_subscriptions;
