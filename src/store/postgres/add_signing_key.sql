-- Adds a signing key; see SubscriptionStore::add_signing_key.
--
-- $1 key_id, $2 private_key, $3 created_at, $4 only if no key was made after this time
--
-- Two statements that run at once compute the same number, so the second one adds nothing.
insert into presence_signing_keys (number, key_id, private_key, created_at)
select coalesce(max(number), 0) + 1, $1::text, $2::text, $3::bigint
from presence_signing_keys
having coalesce(max(created_at) <= $4::bigint, true)
on conflict do nothing
