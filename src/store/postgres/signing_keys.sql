-- Reads the signing keys, the newest first; see SubscriptionStore::signing_keys.
select key_id, private_key, created_at
from presence_signing_keys
order by number desc
