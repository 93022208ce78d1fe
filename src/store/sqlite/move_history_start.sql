-- Moves the start of the complete history forward; see history.rs.
--
-- ?1 now, ?2 the start
insert into presence_leases as l (name, owner, taken_at, until)
values ('history', '00000000-0000-0000-0000-000000000000', ?1, ?2)
on conflict (name) do update set
    taken_at = excluded.taken_at,
    until    = max(l.until, excluded.until)
