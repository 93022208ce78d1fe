-- Counts the spans of the history that ended before a time, up to a maximum.
--
-- ?1 the time
-- ?2 the maximum
select count(*)
from (
    select 1
    from presence_history
    where ended_at < ?1
    limit ?2
) as old
