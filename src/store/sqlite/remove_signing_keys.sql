-- Removes signing keys; see SubscriptionStore::remove_signing_keys.
--
-- ?1 only keys that were made before this time
delete from presence_signing_keys
where created_at < ?1
