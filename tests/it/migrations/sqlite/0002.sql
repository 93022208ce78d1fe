-- Written by the code of schema 2: everything that a user can set.
insert into presence_users (
    tenant_id, user_id, changed_at,
    preferred_availability, preferred_activity, preferred_expires_at,
    status_content, status_published_at, status_expires_at,
    manual_location_type, manual_place_id, automatic_location_type, automatic_place_id
)
values (
    '00000000-0000-0000-0000-000000000000', 'call', 1767225600000,
    'Away', 'Away', 4102444800000,
    'back soon', 1767225600000, 4102444800000,
    'Office', 'desk-7', 'Remote', null
);
