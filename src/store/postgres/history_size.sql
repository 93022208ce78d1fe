-- Returns the size of the history with its indexes, in bytes.
select pg_total_relation_size('presence_history')
