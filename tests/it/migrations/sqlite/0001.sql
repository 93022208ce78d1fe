-- Written by the code of schema 1: a session, a refreshed one, a cleared one.
insert into presence_sessions
    (tenant_id, user_id, session_id, availability, activity, set_at, changed_at, expires_at)
values
    ('00000000-0000-0000-0000-000000000000', 'call', 'phone', 'Busy', 'InACall', 1767225600000, 1767225600000, 4102444800000),
    ('00000000-0000-0000-0000-000000000000', 'talk', 'slides', 'Busy', 'InACall', 1767225600000, 1767225600000, 4102444800000),
    ('00000000-0000-0000-0000-000000000000', 'gone', 'desk', 'Available', 'Available', 1767225600000, 1767225600000, 4102444800000);

update presence_sessions
set availability = 'DoNotDisturb', activity = 'Presenting', set_at = 1767312000000, changed_at = 1767312000000
where user_id = 'talk';

update presence_sessions set cleared_at = 1767312000000 where user_id = 'gone';
