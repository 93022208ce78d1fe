//! Decoding rows, the same for every engine.

use std::{fmt::Display, str::FromStr};

use uuid::Uuid;

use super::{StoreError, UserKey, keys};
use crate::presence::{Pair, PreferredPresence, Session, StatusMessage, Timestamp, User, WorkLocation};

/// A row of any engine.
pub(super) trait Row {
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError>;
}

/// Returns the result at the position that a row names.
pub(super) fn at_position<T>(results: &mut [T], position: Option<usize>) -> Result<&mut T, StoreError> {
    position
        .and_then(|position| results.get_mut(position))
        .ok_or_else(|| StoreError::Data("a row names a key that was not requested".to_owned()))
}

/// The users of one tenant that `load` reads with one statement.
pub(super) struct TenantUsers<'a> {
    pub(super) tenant_id: Uuid,
    /// The ids, sorted, each once.
    pub(super) user_ids: Vec<&'a str>,
    users: Vec<User>,
}

impl<'a> TenantUsers<'a> {
    /// Splits keys by tenant, sorted by tenant.
    pub(super) fn split(keys: &'a [UserKey]) -> Vec<Self> {
        let tenants = keys::by_tenant(keys).into_iter().map(|(tenant_id, user_ids)| {
            let users = vec![User::default(); user_ids.len()];
            Self { tenant_id, user_ids, users }
        });
        tenants.collect()
    }

    /// Adds the rows of the statement.
    pub(super) fn add<R: Row>(&mut self, now: Timestamp, rows: &[R]) -> Result<(), StoreError> {
        for row in rows {
            let index = self.user_ids.binary_search(&required(row.text(0)?)?).ok();
            let user = at_position(&mut self.users, index)?;
            match row.text(1)? {
                Some(session_id) => add_session(user, session_id, now, row)?,
                None => add_user_row(user, row)?,
            }
        }
        Ok(())
    }

    /// Returns the user of each key.
    pub(super) fn join(mut tenants: Vec<Self>, keys: &[UserKey]) -> Vec<User> {
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

/// Adds a live session. Of an ended one, only the time of its end or last change counts.
fn add_session<R: Row>(user: &mut User, session_id: &str, now: Timestamp, row: &R) -> Result<(), StoreError> {
    let (changed_at, expires_at) = (required(row.time(5)?)?, required(row.time(6)?)?);
    let cleared_at = row.time(7)?;
    if cleared_at.is_some() || expires_at <= now {
        let ended_at = cleared_at.unwrap_or(expires_at);
        user.changed_at = user.changed_at.max(Some(ended_at.max(changed_at)));
        return Ok(());
    }
    user.sessions.push(Session {
        session_id: parse_stored(session_id)?,
        pair: pair(row.text(2)?, row.text(3)?)?,
        set_at: required(row.time(4)?)?,
        changed_at,
        expires_at,
    });
    Ok(())
}

/// Adds the user's own row.
fn add_user_row<R: Row>(user: &mut User, row: &R) -> Result<(), StoreError> {
    user.changed_at = user.changed_at.max(row.time(5)?);
    if let Some(availability) = row.text(8)? {
        let (pair, expires_at) = (pair(Some(availability), row.text(9)?)?, required(row.time(10)?)?);
        user.preferred = Some(PreferredPresence { pair, expires_at });
    }
    if let Some(content) = row.text(11)? {
        let (published_at, expires_at) = (row.time(12)?, row.time(13)?);
        user.status_message = Some(StatusMessage { content: content.to_owned(), published_at, expires_at });
    }
    user.manual_location = location(row.text(14)?, row.text(15)?)?;
    user.automatic_location = location(row.text(16)?, row.text(17)?)?;
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

/// Parses a text column.
pub(super) fn parse_stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Data(format!("a stored value is invalid: {text:?}: {error}")))
}
