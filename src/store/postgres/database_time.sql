-- Returns the time of the database's clock in microseconds since the epoch; see
-- Store::database_time. Returns no row if the server is read-only, as a standby is. Fails
-- without the table.
select (extract(epoch from clock_timestamp()) * 1000000)::bigint
from (select exists (select from presence_sessions)) as readable
where current_setting('transaction_read_only') = 'off'
