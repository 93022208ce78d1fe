-- Removes all spans that ended before a time, on Citus; see Store::remove_spans.
--
-- $1 the time
delete from presence_history
where ended_at < $1
