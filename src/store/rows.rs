//! Decoding rows, the same for every engine.

use std::{fmt::Display, str::FromStr};

use super::StoreError;
use crate::presence::{Pair, PreferredPresence, Session, StatusMessage, Timestamp, User, WorkLocation};

/// The columns that `load` selects from a user's sessions `s` and the user's row `p`, after
/// the index of the user `u`. [`users`] decodes them.
///
/// The statement keeps one row for each value of the second column: one for each live
/// session, and one without an id for all ended sessions. Of those only the latest end or
/// change (`$ended`) counts. So the result of a user does not grow with ended sessions.
macro_rules! load_columns {
    ($now:literal, $ended:expr) => {
        concat!(
            "case when s.cleared_at is null and s.expires_at > ",
            $now,
            " then s.session_id end,
       ",
            $ended,
            ",
       s.availability, s.activity, s.set_at, s.changed_at, s.expires_at,
       p.changed_at, p.preferred_availability, p.preferred_activity, p.preferred_expires_at,
       p.status_content, p.status_published_at, p.status_expires_at,
       p.manual_location_type, p.manual_place_id, p.automatic_location_type, p.automatic_place_id"
        )
    };
}
pub(super) use load_columns;

/// A row of any engine.
pub(super) trait Row {
    fn number(&self, column: usize) -> Result<i64, StoreError>;
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError>;
}

/// Returns the result at the position that a row names.
pub(super) fn at_position<T>(results: &mut [T], position: Option<usize>) -> Result<&mut T, StoreError> {
    position.and_then(|position| results.get_mut(position)).ok_or_else(|| {
        StoreError::Data(format!("a row names position {position:?}, which was not requested"))
    })
}

/// Returns the user of each position of the caller's slice, from the rows of `distinct`
/// users. Each user has at least one row, see [`load_columns`].
pub(super) fn users<R: Row>(
    distinct: usize,
    positions: &[usize],
    rows: &[R],
) -> Result<Vec<User>, StoreError> {
    let mut users = vec![None; distinct];
    for row in rows {
        let user = at_position(&mut users, usize::try_from(row.number(0)?).ok())?;
        let user = match user {
            Some(user) => user,
            None => user.insert(user_row(row)?),
        };
        match row.text(1)? {
            Some(session_id) => user.sessions.push(session(session_id, row)?),
            None => user.changed_at = user.changed_at.max(row.time(2)?),
        }
    }
    let users: Vec<User> = users.into_iter().map(Option::unwrap_or_default).collect();
    if positions.len() == users.len() {
        return Ok(users);
    }
    Ok(positions.iter().map(|index| users.get(*index).cloned().unwrap_or_default()).collect())
}

fn session<R: Row>(session_id: &str, row: &R) -> Result<Session, StoreError> {
    Ok(Session {
        session_id: parse_stored(session_id)?,
        pair: Pair::new(parse_stored(required(row.text(3)?)?)?, parse_stored(required(row.text(4)?)?)?),
        set_at: required(row.time(5)?)?,
        changed_at: required(row.time(6)?)?,
        expires_at: required(row.time(7)?)?,
    })
}

/// Decodes the user's own row. A user without a row is empty.
fn user_row<R: Row>(row: &R) -> Result<User, StoreError> {
    let Some(changed_at) = row.time(8)? else { return Ok(User::default()) };
    let mut user = User { changed_at: Some(changed_at), ..User::default() };
    if let Some(availability) = row.text(9)? {
        user.preferred = Some(PreferredPresence {
            pair: Pair::new(parse_stored(availability)?, parse_stored(required(row.text(10)?)?)?),
            expires_at: required(row.time(11)?)?,
        });
    }
    if let Some(content) = row.text(12)? {
        let (published_at, expires_at) = (row.time(13)?, row.time(14)?);
        user.status_message = Some(StatusMessage { content: content.to_owned(), published_at, expires_at });
    }
    user.manual_location = location(row.text(15)?, row.text(16)?)?;
    user.automatic_location = location(row.text(17)?, row.text(18)?)?;
    Ok(user)
}

fn location(location_type: Option<&str>, place_id: Option<&str>) -> Result<Option<WorkLocation>, StoreError> {
    let Some(location_type) = location_type else { return Ok(None) };
    let place_id = place_id.map(parse_stored).transpose()?;
    Ok(Some(WorkLocation { location_type: parse_stored(location_type)?, place_id }))
}

fn required<T>(value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Data("a column is null that must not be".to_owned()))
}

/// Parses a text column.
pub(super) fn parse_stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Data(format!("a stored value is invalid: {text:?}: {error}")))
}
