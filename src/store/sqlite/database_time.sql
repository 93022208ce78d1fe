-- Returns the time of the clock in milliseconds since the epoch; see Store::database_time. Reads
-- the table as well, so that an unreadable file fails.
select cast(unixepoch('subsec') * 1000 as integer), exists (select 1 from presence_sessions)
