-- Triggers that note each user who may have no room after a session was opened or marked. The writer
-- creates them when it opens, and asks for the users after each write; see room.rs. So a refresh
-- costs nothing.
--
-- The table has no key, and so a user several times: within an upsert, SQLite ignores `or ignore` of a
-- trigger, and fails.
--
-- 100 is SESSIONS_MAX, and 20 is APPLICATION_SESSIONS_MAX: more than 20 live sessions may be of one
-- application.
create temp table crowded_users (
    tenant_id text not null,
    user_id   text not null
);

create temp trigger note_inserted_session after insert on presence_sessions
when (
    select count(*) > 100 or count(*) filter (where cleared_at is null and expires_at > new.set_at) > 20
    from presence_sessions
    where tenant_id = new.tenant_id
      and user_id = new.user_id
)
begin
    insert into crowded_users values (new.tenant_id, new.user_id);
end;

create temp trigger note_opened_session after update of opened_at on presence_sessions
when new.opened_at <> old.opened_at and (
    select count(*) > 100 or count(*) filter (where cleared_at is null and expires_at > new.set_at) > 20
    from presence_sessions
    where tenant_id = new.tenant_id
      and user_id = new.user_id
)
begin
    insert into crowded_users values (new.tenant_id, new.user_id);
end;
