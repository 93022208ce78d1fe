-- Written by the code of schema 1: a session, a refreshed one, a cleared one.
insert into presence_sessions
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
values
    ('00000000-0000-0000-0000-000000000000', 'call', 'phone', 'Busy', 'InACall', '2026-01-01Z', '2026-01-01Z', '2100-01-01Z'),
    ('00000000-0000-0000-0000-000000000000', 'talk', 'slides', 'Busy', 'InACall', '2026-01-01Z', '2026-01-01Z', '2100-01-01Z'),
    ('00000000-0000-0000-0000-000000000000', 'gone', 'desk', 'Available', 'Available', '2026-01-01Z', '2026-01-01Z', '2100-01-01Z');

update presence_sessions
set availability = 'DoNotDisturb', activity = 'Presenting', set_at = '2026-01-02Z', changed_at = '2026-01-02Z'
where user_id = 'talk';

update presence_sessions set cleared_at = '2026-01-02Z' where user_id = 'gone';
