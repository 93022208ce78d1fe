-- Takes or renews a lease; see Store::take_lease.
--
-- $1 name, $2 owner, $3 now, $4 the time until which the lease is taken
--
-- Returns one row if the owner has the lease, and no row if another owner has it.
insert into presence_leases as l (name, owner, taken_at, until)
values ($1, $2, $3, $4)
on conflict (name) do update set
    owner    = excluded.owner,
    taken_at = excluded.taken_at,
    until    = excluded.until
where l.owner = excluded.owner
   or l.until <= excluded.taken_at
returning name
