-- Triggers that append each span to the history when it ends. The writer creates them when it opens,
-- unless history is off.
--
-- Every write of a session or a part of a user's row sets the columns previous_... to the span that it
-- ended, or to null.
create temp trigger append_span_of_session after update of previous_ended_at on presence_sessions
when new.previous_ended_at is not null
begin
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user,
        end_reason, ended_by_application, ended_by_user
    )
    values (
        new.tenant_id, new.user_id, 'session', new.session_id, new.previous_started_at, new.previous_ended_at,
        new.previous_availability, new.previous_activity, new.previous_message,
        new.previous_changed_at, new.previous_set_at, new.previous_set_by_application, new.previous_set_by_user,
        new.previous_end_reason,
        case new.previous_end_reason
            when 'changed' then new.set_by_application
            when 'cleared' then new.cleared_by_application
        end,
        case new.previous_end_reason
            when 'changed' then new.set_by_user
            when 'cleared' then new.cleared_by_user
        end
    );
end;

-- The session has expired: a live session is cleared before it is removed. Only erasing the user
-- removes a live one, and then what this appends.
create temp trigger append_span_of_removed_session after delete on presence_sessions
when old.cleared_at is null
begin
    insert into presence_history (
        tenant_id, user_id, part, session_id, started_at, ended_at,
        availability, activity, content, changed_at, set_at, set_by_application, set_by_user, end_reason
    )
    values (
        old.tenant_id, old.user_id, 'session', old.session_id, old.started_at, max(old.started_at, old.expires_at),
        old.availability, old.activity, old.message, old.changed_at, old.set_at, old.set_by_application, old.set_by_user, 'expired'
    );
end;

create temp trigger append_span_of_user after update of previous_ended_at on presence_users
when new.previous_ended_at is not null
begin
    insert into presence_history (
        tenant_id, user_id, part, started_at, ended_at,
        availability, activity, content,
        manual_location_type, manual_place_id, automatic_location_type, automatic_place_id,
        set_at, set_by_application, set_by_user, end_reason, ended_by_application, ended_by_user
    )
    select new.tenant_id, new.user_id, new.previous_part, new.previous_started_at, new.previous_ended_at,
           new.previous_availability, new.previous_activity, new.previous_content,
           new.previous_manual_location_type, new.previous_manual_place_id,
           new.previous_automatic_location_type, new.previous_automatic_place_id,
           new.previous_set_at, new.previous_set_by_application, new.previous_set_by_user, new.previous_end_reason,
           case when new.previous_end_reason <> 'expired' then author.application end,
           case when new.previous_end_reason <> 'expired' then author.user end
    from (
        select 'preference' as part, new.preferred_set_by_application as application, new.preferred_set_by_user as user
        union all
        select 'message', new.status_set_by_application, new.status_set_by_user
        union all
        select 'locations', new.manual_location_set_by_application, new.manual_location_set_by_user
        where coalesce(new.manual_location_set_at, 0) >= coalesce(new.automatic_location_set_at, 0)
        union all
        select 'locations', new.automatic_location_set_by_application, new.automatic_location_set_by_user
        where coalesce(new.manual_location_set_at, 0) < coalesce(new.automatic_location_set_at, 0)
    ) as author
    where author.part = new.previous_part;
end;

-- The cleanup removes a row when its preference and its message have expired and it has no location.
-- Erasing the user removes any row, also one whose message has no expiry, and then what this appends.
create temp trigger append_spans_of_removed_user after delete on presence_users
begin
    insert into presence_history (
        tenant_id, user_id, part, started_at, ended_at,
        availability, activity, set_at, set_by_application, set_by_user, end_reason
    )
    select old.tenant_id, old.user_id, 'preference', old.preferred_started_at,
           max(old.preferred_started_at, old.preferred_expires_at),
           old.preferred_availability, old.preferred_activity,
           old.preferred_set_at, old.preferred_set_by_application, old.preferred_set_by_user, 'expired'
    where old.preferred_availability is not null;
    insert into presence_history (
        tenant_id, user_id, part, started_at, ended_at,
        content, set_at, set_by_application, set_by_user, end_reason
    )
    select old.tenant_id, old.user_id, 'message', old.status_started_at,
           max(old.status_started_at, old.status_expires_at),
           old.status_content, old.status_set_at, old.status_set_by_application, old.status_set_by_user, 'expired'
    where old.status_content is not null and old.status_expires_at is not null;
end;
