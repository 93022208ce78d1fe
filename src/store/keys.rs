//! Removing duplicate keys from a call, so that its statement names each key once.
//!
//! `on conflict` refuses a second write to a row, the rows of an update have no order, and
//! a row that two callers read needs to be sent only once.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use uuid::Uuid;

use super::{
    ClearOutcome, ClearSession, ExtendSession, Observed, SessionKey, SetOutcome, SetSession, UserKey,
};
use crate::presence::Timestamp;

/// A write of a session with a time of observation.
pub(super) trait Observation {
    /// Whether the last of several writes with the same time applies, or the first.
    const LAST_APPLIES: bool;

    fn key(&self) -> &SessionKey;

    fn observed(&self) -> Observed;
}

impl Observation for SetSession {
    const LAST_APPLIES: bool = true;

    fn key(&self) -> &SessionKey {
        &self.key
    }

    fn observed(&self) -> Observed {
        self.observed
    }
}

impl Observation for ClearSession {
    const LAST_APPLIES: bool = false;

    fn key(&self) -> &SessionKey {
        &self.key
    }

    fn observed(&self) -> Observed {
        self.observed
    }
}

/// The write of a call that applies to a session.
pub(super) struct Newest<'a, W> {
    pub(super) write: &'a W,
    /// The position of the write in the call.
    pub(super) position: usize,
    /// The time of the write; [`Observed::Now`] if any write of the session in the call has none.
    pub(super) observed: Observed,
    at: Timestamp,
}

/// Returns the write of each session that was observed last, in key order. A write without a time
/// was observed at `now`. A fixed order of locks prevents deadlocks between two calls.
pub(super) fn newest_of_each<W: Observation>(now: Timestamp, writes: &[W]) -> Vec<Newest<'_, W>> {
    let mut newest: HashMap<_, Newest<'_, W>> = HashMap::with_capacity(writes.len());
    for (position, write) in writes.iter().enumerate() {
        let observed = write.observed();
        let at = observed.at(now);
        let write = Newest { write, position, observed, at };
        match newest.entry(write.write.key()) {
            Entry::Vacant(entry) => drop(entry.insert(write)),
            Entry::Occupied(mut entry) => {
                let kept = entry.get_mut();
                let is_timed = kept.observed != Observed::Now && observed != Observed::Now;
                if at > kept.at || (at == kept.at && W::LAST_APPLIES) {
                    *kept = write;
                }
                kept.observed = if is_timed { Observed::At(kept.at) } else { Observed::Now };
            }
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_unstable_by(|a, b| a.write.key().cmp(b.write.key()));
    newest
}

/// Whether a write may be stale.
pub(super) fn may_be_stale<W>(writes: &[Newest<'_, W>]) -> bool {
    writes.iter().any(|newest| newest.observed != Observed::Now)
}

/// The times of the writes that apply, if a session has several writes. The others are as if they
/// came after: stale if they were observed before.
struct Applied<'a>(HashMap<&'a SessionKey, Timestamp>);

impl<'a> Applied<'a> {
    fn new<W: Observation>(writes: &[W], newest: &[Newest<'a, W>]) -> Self {
        let has_several = writes.len() > newest.len();
        let newest = newest.iter().filter(|_| has_several);
        Self(newest.map(|newest| (newest.write.key(), newest.at)).collect())
    }

    fn makes_stale(&self, write: &impl Observation) -> bool {
        match write.observed() {
            Observed::Now => false,
            Observed::At(at) => self.0.get(write.key()).is_some_and(|applied| at < *applied),
        }
    }
}

/// Returns the outcome of each set. Those of a session that was not written are stale.
pub(super) fn set_outcomes(
    sets: &[SetSession],
    newest: &[Newest<'_, SetSession>],
    is_written: impl Fn(&SessionKey) -> bool,
    evicted: &HashSet<SessionKey>,
) -> Vec<SetOutcome> {
    let applied = Applied::new(sets, newest);
    let outcome = |set: &SetSession| match is_written(&set.key) {
        true if applied.makes_stale(set) => SetOutcome::Stale,
        true if evicted.contains(&set.key) => SetOutcome::NoRoom,
        true => SetOutcome::Set,
        false => SetOutcome::Stale,
    };
    sets.iter().map(outcome).collect()
}

/// Returns the outcome of each clear. `written` has the sessions that were written, and whether they
/// were live.
pub(super) fn clear_outcomes(
    clears: &[ClearSession],
    newest: &[Newest<'_, ClearSession>],
    written: &HashMap<SessionKey, bool>,
) -> Vec<ClearOutcome> {
    let applied = Applied::new(clears, newest);
    let positions: HashSet<usize> = newest.iter().map(|newest| newest.position).collect();
    let outcome = |(position, clear): (usize, &ClearSession)| match written.get(&clear.key) {
        Some(true) if positions.contains(&position) => ClearOutcome::Cleared,
        Some(_) if applied.makes_stale(clear) => ClearOutcome::Stale,
        None if clear.observed != Observed::Now => ClearOutcome::Stale,
        Some(_) | None => ClearOutcome::NotLive,
    };
    clears.iter().enumerate().map(outcome).collect()
}

/// Extensions of different sessions, in key order, with their positions in the call.
pub(super) type Round<'a> = Vec<(&'a ExtendSession, usize)>;

/// Returns the extensions in rounds: the second extension of a session is in the second round.
pub(super) fn rounds(held: &[ExtendSession]) -> Vec<Round<'_>> {
    let mut rounds: Vec<Round<'_>> = Vec::new();
    let mut numbers: HashMap<_, usize> = HashMap::with_capacity(held.len());
    for (position, extension) in held.iter().enumerate() {
        let number = numbers.entry(&extension.key).or_default();
        match rounds.get_mut(*number) {
            Some(round) => round.push((extension, position)),
            None => rounds.push(vec![(extension, position)]),
        }
        *number += 1;
    }
    for round in &mut rounds {
        round.sort_unstable_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    }
    rounds
}

/// Notes the expiry of the sessions that a round extended.
pub(super) fn note_extended(
    outcomes: &mut [Option<Timestamp>],
    round: &Round<'_>,
    extended: &HashMap<SessionKey, Timestamp>,
) {
    for (extension, position) in round {
        if let Some(outcome) = outcomes.get_mut(*position) {
            *outcome = extended.get(&extension.key).copied();
        }
    }
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
