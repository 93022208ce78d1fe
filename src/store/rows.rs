//! From rows back to what they stand for, the same for every engine.

use std::{fmt::Display, str::FromStr};

use super::StoreError;

/// The answer for the caller's key at `place`, which came back with a row.
pub(super) fn at_place<T>(answers: &mut [T], place: Option<usize>) -> Result<&mut T, StoreError> {
    place
        .and_then(|place| answers.get_mut(place))
        .ok_or_else(|| StoreError::Data(format!("a row for place {place:?}, which was not asked for")))
}

/// The answer for each place of the caller's slice, from the rows of so many
/// distinct users; each row comes with the number of its user.
pub(super) fn by_place<T: Clone>(
    users: usize,
    places: &[usize],
    rows: impl Iterator<Item = Result<(i64, T), StoreError>>,
) -> Result<Vec<Vec<T>>, StoreError> {
    let mut answers = vec![Vec::new(); users];
    for row in rows {
        let (place, row) = row?;
        at_place(&mut answers, usize::try_from(place).ok())?.push(row);
    }
    Ok(places.iter().map(|user| answers.get(*user).cloned().unwrap_or_default()).collect())
}

/// What a row holds as a text.
pub(super) fn stored<T: FromStr<Err: Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Data(format!("{text:?} in a row: {error}")))
}
