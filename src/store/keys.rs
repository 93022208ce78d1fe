//! Removing duplicate keys from a call, so that its statement names each key once.
//!
//! `on conflict` refuses a second write to a row, the rows of an update have no order, and
//! a row that two callers read needs to be sent only once.

use std::collections::HashMap;

use super::{SessionKey, SetSession, UserKey};

/// Returns the last set of each key, in key order. A fixed order of locks prevents
/// deadlocks between two calls.
pub(super) fn last_of_each(sets: &[SetSession]) -> Vec<&SetSession> {
    let mut last: Vec<&SetSession> =
        sets.iter().map(|set| (&set.key, set)).collect::<HashMap<_, _>>().into_values().collect();
    last.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    last
}

/// Returns each key once, with its first position in `keys`, in key order.
pub(super) fn first_of_each(keys: &[SessionKey]) -> Vec<(&SessionKey, usize)> {
    let mut first: Vec<_> = keys
        .iter()
        .enumerate()
        .rev()
        .map(|(position, key)| (key, position))
        .collect::<HashMap<_, _>>()
        .into_iter()
        .collect();
    first.sort_unstable();
    first
}

/// Returns the longest extension of each session and pair, in key order.
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

/// Returns each user once, and for each position of `users` the index of its user.
pub(super) fn distinct(users: &[UserKey]) -> (Vec<&UserKey>, Vec<usize>) {
    let mut distinct = Vec::new();
    let mut indexes = HashMap::with_capacity(users.len());
    let positions = users
        .iter()
        .map(|user| {
            *indexes.entry(user).or_insert_with(|| {
                distinct.push(user);
                distinct.len() - 1
            })
        })
        .collect();
    (distinct, positions)
}
