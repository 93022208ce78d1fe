//! Removing duplicate keys from a call, so that its statement names each key once.
//!
//! `on conflict` refuses a second write to a row, the rows of an update have no order, and
//! a row that two callers read needs to be sent only once.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{ClearSession, SetSession, UserKey};

/// Returns the last set of each key, in key order. A fixed order of locks prevents
/// deadlocks between two calls.
pub(super) fn last_of_each(sets: &[SetSession]) -> Vec<&SetSession> {
    let mut last: Vec<&SetSession> =
        sets.iter().map(|set| (&set.key, set)).collect::<HashMap<_, _>>().into_values().collect();
    last.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    last
}

/// Returns the first clear of each key, with its position in `clears`, in key order.
pub(super) fn first_of_each(clears: &[ClearSession]) -> Vec<(&ClearSession, usize)> {
    let mut first: Vec<_> = clears
        .iter()
        .enumerate()
        .rev()
        .map(|(position, clear)| (&clear.key, (clear, position)))
        .collect::<HashMap<_, _>>()
        .into_values()
        .collect();
    first.sort_unstable_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    first
}

/// Returns the longest extension of each session and pair, in rounds: each session is once in a
/// round, in key order. Streams that hold one session with different pairs make a second round.
pub(super) fn longest_of_each(held: &[SetSession]) -> Vec<Vec<&SetSession>> {
    let mut longest: HashMap<_, &SetSession> = HashMap::with_capacity(held.len());
    for set in held {
        let kept = longest.entry((&set.key, set.pair)).or_insert(set);
        if kept.expires_after < set.expires_after {
            *kept = set;
        }
    }
    let mut longest: Vec<_> = longest.into_values().collect();
    longest.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut rounds: Vec<Vec<&SetSession>> = Vec::new();
    let (mut last, mut number) = (None, 0);
    for set in longest {
        number = if last == Some(&set.key) { number + 1 } else { 0 };
        last = Some(&set.key);
        match rounds.get_mut(number) {
            Some(round) => round.push(set),
            None => rounds.push(vec![set]),
        }
    }
    rounds
}

/// Returns the user ids of each tenant once.
pub(super) fn by_tenant(users: &[UserKey]) -> BTreeMap<Uuid, Vec<&str>> {
    let mut tenants: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for user in users {
        tenants.entry(user.tenant_id).or_default().push(user.user_id.as_str());
    }
    for user_ids in tenants.values_mut() {
        user_ids.sort_unstable();
        user_ids.dedup();
    }
    tenants
}
