-- Removes the spans that ended before a time, on Citus; see Store::remove_spans.
--
-- $1 the time: at most SLICE after the end of the oldest span
delete from presence_history
where ended_at < $1
