//! One statement names each key once: `on conflict` refuses a second hit on a
//! row, there is no order among the rows of an update, and a row that is read
//! for two callers need come only once.

use std::collections::HashMap;

use super::{SessionKey, SetSession, UserKey};

/// For each key the last set of it, in the order of the keys: a fixed order of
/// locks, so that two calls do not deadlock.
pub(super) fn last_of_each(sets: &[SetSession]) -> Vec<&SetSession> {
    let mut last: Vec<&SetSession> =
        sets.iter().map(|set| (&set.key, set)).collect::<HashMap<_, _>>().into_values().collect();
    last.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    last
}

/// Each key once, with the place where it stood first, in the order of the keys.
pub(super) fn first_of_each(keys: &[SessionKey]) -> Vec<(&SessionKey, usize)> {
    let mut first: Vec<_> = keys
        .iter()
        .enumerate()
        .rev()
        .map(|(place, key)| (key, place))
        .collect::<HashMap<_, _>>()
        .into_iter()
        .collect();
    first.sort_unstable();
    first
}

/// For each session and pair the longest extension, in the order of the keys.
pub(super) fn longest_of_each(held: &[SetSession]) -> Vec<&SetSession> {
    let mut longest: HashMap<_, &SetSession> = HashMap::with_capacity(held.len());
    for set in held {
        let kept = longest.entry((&set.key, set.pair)).or_insert(set);
        if kept.expires_after < set.expires_after {
            *kept = set;
        }
    }
    let mut longest: Vec<_> = longest.into_values().collect();
    longest.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    longest
}

/// Each user once, and for each place of `users` which of them stands there.
pub(super) fn distinct(users: &[UserKey]) -> (Vec<&UserKey>, Vec<usize>) {
    let mut distinct = Vec::new();
    let mut numbers = HashMap::with_capacity(users.len());
    let places = users
        .iter()
        .map(|user| {
            *numbers.entry(user).or_insert_with(|| {
                distinct.push(user);
                distinct.len() - 1
            })
        })
        .collect();
    (distinct, places)
}
