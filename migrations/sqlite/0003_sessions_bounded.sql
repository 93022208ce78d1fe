-- A user keeps 100 sessions, so that reads stay bounded however many session ids a caller
-- invents. Opening more removes ended sessions first, then the sessions that were set longest
-- ago. Sessions that were set at the same instant as the new one are kept.
create trigger presence_sessions_bounded after insert on presence_sessions
when (
    select count(*) from presence_sessions where tenant_id = new.tenant_id and user_id = new.user_id
) > 100
begin
    delete from presence_sessions
    where (tenant_id, user_id, session_id) in (
        select tenant_id, user_id, session_id
        from presence_sessions
        where tenant_id = new.tenant_id and user_id = new.user_id and set_at < new.set_at
        order by cleared_at is null and expires_at > new.set_at, set_at
        limit (
            select count(*) - 100
            from presence_sessions
            where tenant_id = new.tenant_id and user_id = new.user_id
        )
    );
end;
