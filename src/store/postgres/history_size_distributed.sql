-- Returns the size of the history with its indexes on all worker nodes of Citus, in bytes.
select citus_total_relation_size('presence_history')
