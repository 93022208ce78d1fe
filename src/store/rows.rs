//! From rows back to what they stand for, the same for every engine.

use std::{fmt::Display, str::FromStr};

use super::StoreError;
use crate::presence::{Pair, PreferredPresence, Session, StatusMessage, Timestamp, User, WorkLocation};

/// What `load` selects of a user's sessions `s` and the user's row `p`, after
/// the number of the user `u`; [`users`] reads it.
///
/// The statement keeps one row for each value of the second column: one for each
/// live session, and one without an id for all that have ended, of which the
/// latest end or change (`$ended`) is all that counts. So what is sent for a user
/// does not grow with what has ended.
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

/// A row of an engine.
pub(super) trait Row {
    fn number(&self, column: usize) -> Result<i64, StoreError>;
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
    fn time(&self, column: usize) -> Result<Option<Timestamp>, StoreError>;
}

/// The answer for the caller's key at `place`, which came back with a row.
pub(super) fn at_place<T>(answers: &mut [T], place: Option<usize>) -> Result<&mut T, StoreError> {
    place
        .and_then(|place| answers.get_mut(place))
        .ok_or_else(|| StoreError::Data(format!("a row for place {place:?}, which was not asked for")))
}

/// The answer for each place of the caller's slice, from the rows of so many
/// distinct users: at least one a user, see [`load_columns`].
pub(super) fn users<R: Row>(distinct: usize, places: &[usize], rows: &[R]) -> Result<Vec<User>, StoreError> {
    let mut users = vec![None; distinct];
    for row in rows {
        let place = usize::try_from(row.number(0)?).ok();
        let slot = at_place(&mut users, place)?;
        let user = match slot {
            Some(user) => user,
            None => slot.insert(user_row(row)?),
        };
        match row.text(1)? {
            Some(session_id) => user.sessions.push(session(session_id, row)?),
            None => user.changed_at = user.changed_at.max(row.time(2)?),
        }
    }
    let users: Vec<User> = users.into_iter().map(Option::unwrap_or_default).collect();
    if places.len() == users.len() {
        return Ok(users);
    }
    Ok(places.iter().map(|user| users.get(*user).cloned().unwrap_or_default()).collect())
}

fn session<R: Row>(session_id: &str, row: &R) -> Result<Session, StoreError> {
    Ok(Session {
        session_id: stored(session_id)?,
        pair: Pair::new(stored(required(row.text(3)?)?)?, stored(required(row.text(4)?)?)?),
        set_at: required(row.time(5)?)?,
        changed_at: required(row.time(6)?)?,
        expires_at: required(row.time(7)?)?,
    })
}

/// What the user's own row holds; nothing if there is none.
fn user_row<R: Row>(row: &R) -> Result<User, StoreError> {
    let Some(changed_at) = row.time(8)? else { return Ok(User::default()) };
    let mut user = User { changed_at: Some(changed_at), ..User::default() };
    if let Some(availability) = row.text(9)? {
        user.preferred = Some(PreferredPresence {
            pair: Pair::new(stored(availability)?, stored(required(row.text(10)?)?)?),
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
    let place_id = place_id.map(stored).transpose()?;
    Ok(Some(WorkLocation { location_type: stored(location_type)?, place_id }))
}

fn required<T>(value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Data("a null in a row".to_owned()))
}

/// What a row holds as a text.
pub(super) fn stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Data(format!("{text:?} in a row: {error}")))
}
