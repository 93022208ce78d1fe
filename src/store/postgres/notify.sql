-- Notifies the replicas, in the transaction of a write. Only Citus needs it: elsewhere the write
-- itself does.
--
-- $1 the users, an array of `TENANT USER`
select count(pg_notify('presence_changes', changed))
from unnest($1::text[]) as changed
