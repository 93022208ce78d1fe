-- Returns the end of the oldest span.
select min(ended_at)
from presence_history
