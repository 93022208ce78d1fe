-- A user keeps 100 sessions: whoever makes up session ids must not make reads
-- grow. When one more is opened, those that have ended give way, or else those
-- that were set longest ago; those that were set at the same instant stay.
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
