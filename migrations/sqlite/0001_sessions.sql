-- One row per session. A session is one application's claim about one user.
-- Times are milliseconds since 1970-01-01T00:00:00Z.
create table presence_sessions (
    tenant_id    text    not null, -- the organisation; the nil UUID while authentication is off
    user_id      text    not null, -- opaque; a GUID is in lower case
    session_id   text    not null, -- the application's id; a GUID is in lower case
    availability text    not null, -- the availability that was set, e.g. Busy
    activity     text    not null, -- the activity that was set, e.g. InACall
    set_at       integer not null, -- the time of the last set or refresh; an Available session fades 5 and 10 minutes later
    changed_at   integer not null, -- the time of the last set that changed what watchers see; never goes back
    expires_at   integer not null, -- the time at which the session expires; the session is live until then
    cleared_at   integer,          -- the time of the clear; null if the session was not cleared since the last set
    constraint presence_sessions_pkey primary key (tenant_id, user_id, session_id),
    constraint presence_sessions_pair_allowed check (
        (availability = 'Available' and activity = 'Available')
        or (availability = 'Busy' and activity = 'InACall')
        or (availability = 'Busy' and activity = 'InAConferenceCall')
        or (availability = 'Away' and activity = 'Away')
        or (availability = 'DoNotDisturb' and activity = 'Presenting')
    )
) strict, without rowid;
