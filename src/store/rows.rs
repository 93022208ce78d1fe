//! Decoding rows, the same for every engine.

use std::{fmt::Display, str::FromStr};

use uuid::Uuid;

use super::{StoreError, StoredHistory, UserKey, keys};
use crate::presence::{
    Author, EndReason, Pair, PreferredPresence, Session, SessionId, Span, SpanEnd, SpanValue, StatusMessage,
    Timestamp, User, UserId, WorkLocation,
};

/// A row of any engine.
pub(super) trait Row {
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError>;
    fn id(&self, column: usize) -> Result<Option<Uuid>, StoreError>;

    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.integer(column)?.map(Timestamp::from_millis))
    }
}

/// Returns the result at the position that a row names.
pub(super) fn at_position<T>(results: &mut [T], position: Option<usize>) -> Result<&mut T, StoreError> {
    position
        .and_then(|position| results.get_mut(position))
        .ok_or_else(|| StoreError::Data("a row names a key that was not requested".to_owned()))
}

/// The users of one tenant that one statement reads, each with a `T` of its rows.
pub(super) struct TenantUsers<'a, T> {
    pub(super) tenant_id: Uuid,
    /// The ids, sorted, each once.
    pub(super) user_ids: Vec<&'a str>,
    users: Vec<T>,
}

impl<'a, T: Clone + Default> TenantUsers<'a, T> {
    /// Splits keys by tenant, sorted by tenant.
    pub(super) fn split(keys: &'a [UserKey]) -> Vec<Self> {
        let tenants = keys::by_tenant(keys).into_iter().map(|(tenant_id, user_ids)| {
            let users = vec![T::default(); user_ids.len()];
            Self { tenant_id, user_ids, users }
        });
        tenants.collect()
    }

    /// Returns the user that a row names.
    pub(super) fn of(&mut self, user_id: &str) -> Result<&mut T, StoreError> {
        at_position(&mut self.users, self.user_ids.binary_search(&user_id).ok())
    }

    /// Returns the user of each key.
    pub(super) fn join(mut tenants: Vec<Self>, keys: &[UserKey]) -> Vec<T> {
        let is_distinct = tenants.iter().map(|tenant| tenant.users.len()).sum::<usize>() == keys.len();
        let user = |key: &UserKey| {
            let tenant = tenants.binary_search_by_key(&key.tenant_id, |tenant| tenant.tenant_id).ok()?;
            let tenant = tenants.get_mut(tenant)?;
            let index = tenant.user_ids.binary_search(&key.user_id.as_str()).ok()?;
            let user = tenant.users.get_mut(index)?;
            Some(if is_distinct { std::mem::take(user) } else { user.clone() })
        };
        keys.iter().map(user).map(Option::unwrap_or_default).collect()
    }
}

impl TenantUsers<'_, User> {
    /// Adds the rows of the statement.
    pub(super) fn add<R: Row>(&mut self, now: Timestamp, rows: &[R]) -> Result<(), StoreError> {
        for row in rows {
            let user = self.of(required(row.text(0)?)?)?;
            match row.text(1)? {
                Some(session_id) => add_session(user, session_id, now, row)?,
                None => add_user_row(user, row)?,
            }
        }
        Ok(())
    }
}

/// Adds the rows of `load_history` about one user, of whom at most `spans_max` spans were read.
pub(super) fn add_history<R: Row>(
    stored: &mut StoredHistory,
    now: Timestamp,
    spans_max: u32,
    rows: &[&R],
) -> Result<(), StoreError> {
    let mut ends = Vec::new();
    let mut start = None;
    for row in rows {
        match (row.text(19)?, row.text(1)?) {
            (Some("start"), _) => start = row.time(20)?,
            (None, None) => add_user_row(&mut stored.user, *row)?,
            (None, Some(session_id)) => {
                add_session(&mut stored.user, session_id, now, *row)?;
                // The span of a cleared session is in the history.
                if row.time(7)?.is_none() {
                    stored.spans.push(current(span("session", row.time(6)?, *row)?, now));
                }
            }
            (Some(part), _) => {
                let span = span(part, row.time(21)?, *row)?;
                if span.end.is_some() {
                    ends.extend(span.ended_at);
                    stored.spans.push(span);
                } else {
                    stored.spans.push(current(span, now));
                }
            }
        }
    }
    if u32::try_from(ends.len()).is_ok_and(|number| number >= spans_max) {
        stored.complete_from = ends.into_iter().min();
        stored.has_more = true;
    }
    stored.begin_at(start);
    Ok(())
}

/// Returns the span of a current value. After the clock stepped back, it may start after `now`.
fn current(span: Span, now: Timestamp) -> Span {
    Span { started_at: span.started_at.min(now), ..span }
}

/// Decodes a span.
fn span<R: Row>(part: &str, ended_at: Option<Timestamp>, row: &R) -> Result<Span, StoreError> {
    let value = match part {
        "session" => SpanValue::Session {
            session_id: stored_session_id(required(row.text(1)?)?)?,
            pair: pair(row.text(2)?, row.text(3)?)?,
            message: row.text(12)?.map(ToOwned::to_owned),
            changed_at: required(row.time(5)?)?,
        },
        "preference" => SpanValue::Preferred(pair(row.text(2)?, row.text(3)?)?),
        "message" => SpanValue::StatusMessage(required(row.text(12)?)?.to_owned()),
        "locations" => SpanValue::Locations {
            manual: location(row.text(15)?, row.text(16)?)?,
            automatic: location(row.text(17)?, row.text(18)?)?,
        },
        other => return Err(StoreError::Data(format!("a stored value is invalid: {other:?}"))),
    };
    let reason: Option<EndReason> = row.text(24)?.map(parse_stored).transpose()?;
    let by = author(row.text(25)?, row.text(26)?)?;
    Ok(Span {
        value,
        started_at: required(row.time(20)?)?,
        ended_at,
        set_at: required(row.time(4)?)?,
        set_by: author(row.text(22)?, row.text(23)?)?,
        end: reason.map(|reason| SpanEnd { reason, by }),
    })
}

pub(super) fn author(application_id: Option<&str>, user_id: Option<&str>) -> Result<Author, StoreError> {
    Ok(Author {
        application_id: application_id.map(stored_session_id).transpose()?,
        user_id: user_id.map(stored_user_id).transpose()?,
    })
}

/// Adds a live session. Of an ended one, only the time of its end counts.
fn add_session<R: Row>(user: &mut User, session_id: &str, now: Timestamp, row: &R) -> Result<(), StoreError> {
    let (changed_at, expires_at) = (required(row.time(5)?)?, required(row.time(6)?)?);
    let cleared_at = row.time(7)?;
    if cleared_at.is_some() || expires_at <= now {
        let ended_at = cleared_at.unwrap_or(expires_at);
        user.sessions_ended_at = user.sessions_ended_at.max(Some(ended_at.max(changed_at)));
        return Ok(());
    }
    user.sessions.push(Session {
        session_id: stored_session_id(session_id)?,
        pair: pair(row.text(2)?, row.text(3)?)?,
        message: row.text(12)?.map(ToOwned::to_owned),
        set_at: required(row.time(4)?)?,
        opened_at: required(row.time(8)?)?,
        changed_at,
        expires_at,
    });
    Ok(())
}

/// Adds the user's own row.
fn add_user_row<R: Row>(user: &mut User, row: &R) -> Result<(), StoreError> {
    user.changed_at = row.time(5)?;
    if let Some(availability) = row.text(9)? {
        let (pair, expires_at) = (pair(Some(availability), row.text(10)?)?, required(row.time(11)?)?);
        user.preferred = Some(PreferredPresence { pair, expires_at });
    }
    if let Some(content) = row.text(12)? {
        let (published_at, expires_at) = (row.time(13)?, row.time(14)?);
        user.status_message = Some(StatusMessage { content: content.to_owned(), published_at, expires_at });
    }
    user.manual_location = location(row.text(15)?, row.text(16)?)?;
    user.automatic_location = location(row.text(17)?, row.text(18)?)?;
    Ok(())
}

/// Decodes a pair.
pub(super) fn pair(availability: Option<&str>, activity: Option<&str>) -> Result<Pair, StoreError> {
    Ok(Pair::new(parse_stored(required(availability)?)?, parse_stored(required(activity)?)?))
}

fn location(location_type: Option<&str>, place_id: Option<&str>) -> Result<Option<WorkLocation>, StoreError> {
    let Some(location_type) = location_type else { return Ok(None) };
    let place_id = place_id.map(parse_stored).transpose()?;
    Ok(Some(WorkLocation { location_type: parse_stored(location_type)?, place_id }))
}

/// Returns a value that the schema requires.
pub(super) fn required<T>(value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Data("a column is null that must not be".to_owned()))
}

/// Reads the column of a user id, which is stored in its normal form.
pub(super) fn stored_user_id(text: &str) -> Result<UserId, StoreError> {
    UserId::from_normal(text).map_err(|error| invalid(text, error))
}

/// Reads the column of a session id, which is stored in its normal form.
pub(super) fn stored_session_id(text: &str) -> Result<SessionId, StoreError> {
    SessionId::from_normal(text).map_err(|error| invalid(text, error))
}

fn invalid(text: &str, error: impl Display) -> StoreError {
    StoreError::Data(format!("a stored value is invalid: {text:?}: {error}"))
}

/// Parses a text column.
pub(super) fn parse_stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| invalid(text, error))
}
