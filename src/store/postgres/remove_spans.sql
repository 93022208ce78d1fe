-- Removes the next spans that ended before a time; see Store::remove_spans.
--
-- $1 the time
-- $2 the maximum number of spans
delete from presence_history
where ctid = any(array(
    select ctid
    from presence_history
    where ended_at < $1
    order by ended_at
    limit $2
))
