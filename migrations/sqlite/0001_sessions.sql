-- One row per session: one application's claim about one user.
-- Times are milliseconds since 1970-01-01T00:00:00Z.
create table presence_sessions (
    tenant_id    text    not null, -- the organisation; the nil UUID while authentication is off
    user_id      text    not null, -- opaque; a GUID is in lower case
    session_id   text    not null, -- the application's id; a GUID is in lower case
    availability text    not null, -- what was set, e.g. Busy
    activity     text    not null, -- what was set, e.g. InACall
    set_at       integer not null, -- when it was last set or refreshed; an Available session fades 5 and 10 minutes later
    changed_at   integer not null, -- when a set last changed what watchers see; never goes back
    expires_at   integer not null, -- when it ends by itself: it is live while this lies ahead
    cleared_at   integer,          -- when it was cleared; null until then, and again once it is set anew
    constraint presence_sessions_pkey primary key (tenant_id, user_id, session_id),
    constraint presence_sessions_pair_allowed check (
        (availability = 'Available' and activity = 'Available')
        or (availability = 'Busy' and activity = 'InACall')
        or (availability = 'Busy' and activity = 'InAConferenceCall')
        or (availability = 'Away' and activity = 'Away')
        or (availability = 'DoNotDisturb' and activity = 'Presenting')
    )
) strict, without rowid;
