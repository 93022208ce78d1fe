-- One row per session. A session is one application's claim about one user.
--
-- No index covers a column that a refresh changes (set_at, expires_at), and each page has
-- free space. So every refresh is a heap-only (HOT) update.
-- Texts compare byte by byte (collate "C"), so the key does not depend on the operating
-- system's locale data.
create table presence_sessions (
    tenant_id    uuid             not null,
    user_id      text collate "C" not null,
    session_id   text collate "C" not null,
    availability text collate "C" not null,
    activity     text collate "C" not null,
    set_at       timestamptz      not null,
    changed_at   timestamptz      not null,
    expires_at   timestamptz      not null,
    cleared_at   timestamptz,
    constraint presence_sessions_pkey primary key (tenant_id, user_id, session_id),
    constraint presence_sessions_pair_allowed check (
        (availability, activity) in (
            ('Available', 'Available'),
            ('Busy', 'InACall'),
            ('Busy', 'InAConferenceCall'),
            ('Away', 'Away'),
            ('DoNotDisturb', 'Presenting')
        )
    )
) with (fillfactor = 70);

comment on table presence_sessions is 'One row per session, which is one application''s claim about one user';
comment on column presence_sessions.tenant_id is 'The organisation; the nil UUID while authentication is off';
comment on column presence_sessions.user_id is 'Opaque; a GUID is in lower case';
comment on column presence_sessions.session_id is 'The application''s id; a GUID is in lower case';
comment on column presence_sessions.availability is 'The availability that was set, e.g. Busy';
comment on column presence_sessions.activity is 'The activity that was set, e.g. InACall';
comment on column presence_sessions.set_at is 'The time of the last set or refresh; an Available session fades 5 and 10 minutes later';
comment on column presence_sessions.changed_at is 'The time of the last set that changed what watchers see; never goes back';
comment on column presence_sessions.expires_at is 'The time at which the session expires; the session is live until then';
comment on column presence_sessions.cleared_at is 'The time of the clear; null if the session was not cleared since the last set';
