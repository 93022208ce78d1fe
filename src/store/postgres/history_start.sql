-- Returns the start of the complete history, or no row if it is complete.
select until
from presence_leases
where name = 'history'
