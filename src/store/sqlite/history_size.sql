-- Estimates the size of the history with its indexes, in bytes: the number of spans times the mean size
-- of 64 of them. To count all spans, or the pages of the table, would read the whole table.
--
-- Spans are appended in the order of rowid, and removed almost in the same order. So their number is
-- about that of the numbers between the first and the last rowid.
with recursive bounds as (
    select (select min(rowid) from presence_history) as first_id,
           (select max(rowid) from presence_history) as last_id
),
place as (
    select 0 as number, first_id, last_id, first_id as id
    from bounds
    union all
    select number + 1, first_id, last_id, first_id + (last_id - first_id) * (number + 1) / 63
    from place
    where number < 63
),
sample as (
    select -- The texts of the row.
           length(cast(
               span.tenant_id || span.user_id || span.part || coalesce(span.session_id, '')
               || coalesce(span.availability, '') || coalesce(span.activity, '') || coalesce(span.content, '')
               || coalesce(span.manual_location_type, '') || coalesce(span.manual_place_id, '')
               || coalesce(span.automatic_location_type, '') || coalesce(span.automatic_place_id, '')
               || coalesce(span.set_by_application, '') || coalesce(span.set_by_user, '') || span.end_reason
               || coalesce(span.ended_by_application, '') || coalesce(span.ended_by_user, '')
           as blob))
           -- The texts of its entry in the index by user.
           + length(cast(span.tenant_id || span.user_id as blob))
           -- The numbers and the headers of the row and of its entries in both indexes.
           + 84 as bytes
    from place
    join presence_history as span on span.rowid = (
        select min(next.rowid)
        from presence_history as next
        where next.rowid >= place.id
    )
)
-- The pages also have free space.
select cast(coalesce((bounds.last_id - bounds.first_id + 1) * avg(sample.bytes) * 1.15, 0) as integer)
from bounds, sample
