//! The users that are watched: what each was last shown as, when that changes by
//! itself, who watches, and who is to be read. No input or output, no waiting.
//!
//! Rules:
//!
//! 1. At most one read of a user is under way, so none overtakes another; what
//!    is heard meanwhile has the user read again.
//! 2. A stream's first presence of a user comes from a read that began after the
//!    stream did.
//! 3. What nobody watches any more is forgotten.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use super::mailbox::{Mailbox, News, UserSlot};
use crate::{
    clock::Stopwatch,
    presence::{Presence, Timestamp, User, next_transition},
    store::UserKey,
    telemetry::WatchMetrics,
};

/// Whoever changed within so long is read once more after as long. A refresh
/// tells nobody, for it changes nothing; but if it was decided just before the
/// session would have ended, it may commit after we have read that it did. It may
/// also come from a replica whose clock is a little behind.
const SETTLE: Duration = Duration::from_secs(5);

/// Where a user is on its way to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    /// Nothing is to be read.
    No,
    /// Waits behind all that is urgent.
    Later,
    /// Something has happened.
    Urgent,
    /// Is being read.
    Running,
    /// The same, and something has happened since.
    Again,
}

#[derive(Debug)]
struct Watched {
    key: Arc<UserKey>,
    /// What was last read.
    shown: Option<Arc<Presence>>,
    /// When to read it because of the time.
    due: Option<Timestamp>,
    read: ReadState,
    /// Whether it stands in each of the two queues.
    in_urgent: bool,
    in_later: bool,
    /// Since when there may be news.
    since: Option<Stopwatch>,
    /// Those who watch, the longest first: the first `told` were told of `shown`;
    /// the next, up to `reading`, will be of what is being read.
    streams: Vec<Arc<Mailbox>>,
    told: usize,
    reading: usize,
}

/// All users that are watched.
#[derive(Debug)]
pub(super) struct Users {
    watched: Slab<Watched>,
    slots: HashMap<Arc<UserKey>, UserSlot>,
    due: BTreeSet<(Timestamp, UserSlot)>,
    urgent: VecDeque<UserSlot>,
    later: VecDeque<UserSlot>,
    /// Where the round that reads everybody goes on.
    round: UserSlot,
    metrics: WatchMetrics,
}

impl Users {
    pub(super) fn new(metrics: WatchMetrics) -> Self {
        Self {
            watched: Slab::new(),
            slots: HashMap::new(),
            due: BTreeSet::new(),
            urgent: VecDeque::new(),
            later: VecDeque::new(),
            round: 0,
            metrics,
        }
    }

    /// A stream begins that watches these users, each of them once.
    pub(super) fn watch(&mut self, keys: Vec<UserKey>, stream: &Arc<Mailbox>) {
        let slots: Box<[UserSlot]> = keys.into_iter().map(|key| self.slot(key)).collect();
        for slot in &slots {
            if let Some(user) = self.watched.get_mut(*slot) {
                user.streams.push(Arc::clone(stream));
            }
            self.read(*slot, ReadState::Later);
        }
        // The stream is new.
        let _ = stream.users.set(slots);
    }

    /// Whether nobody is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    fn slot(&mut self, key: UserKey) -> UserSlot {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        let key = Arc::new(key);
        let slot = self.watched.insert(Watched {
            key: Arc::clone(&key),
            shown: None,
            due: None,
            read: ReadState::No,
            in_urgent: false,
            in_later: false,
            since: None,
            streams: Vec::new(),
            told: 0,
            reading: 0,
        });
        self.slots.insert(key, slot);
        self.metrics.users.inc();
        slot
    }

    /// A stream has ended.
    pub(super) fn leave(&mut self, stream: &Arc<Mailbox>) {
        for slot in stream.users.get().map(AsRef::as_ref).unwrap_or_default() {
            let Some(user) = self.watched.get_mut(*slot) else { continue };
            let place = user.streams.iter().position(|other| Arc::ptr_eq(other, stream));
            if let Some(place) = place {
                user.streams.remove(place);
                user.told -= usize::from(place < user.told);
                user.reading -= usize::from(place < user.reading);
            }
            self.forget_if_unwatched(*slot);
        }
    }

    /// Its number may not be given to another user before it has left the queues
    /// and its read has ended.
    fn forget_if_unwatched(&mut self, slot: UserSlot) {
        let gone = self.watched.get(slot).is_some_and(|user| {
            let busy =
                user.in_urgent || user.in_later || matches!(user.read, ReadState::Running | ReadState::Again);
            user.streams.is_empty() && !busy
        });
        if gone {
            let user = self.watched.remove(slot);
            if let Some(due) = user.due {
                self.due.remove(&(due, slot));
            }
            self.slots.remove(&user.key);
            self.metrics.users.dec();
        }
    }

    /// Something was written of a user, who may be watched.
    pub(super) fn changed(&mut self, key: &UserKey) {
        if let Some(slot) = self.slots.get(key).copied() {
            self.news(slot);
        }
    }

    /// Whoever's presence changes by itself at `now`, or should have before, is
    /// read.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        while let Some((at, slot)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, slot));
            self.news(slot);
        }
    }

    /// When [`Self::pass_time`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Something may have been missed: everybody is read.
    pub(super) fn read_everybody(&mut self) {
        let slots: Vec<_> = self.watched.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.read(slot, ReadState::Later);
        }
    }

    /// Has a part of all users read, one in `parts` but `max` at most; the next
    /// part comes next time.
    pub(super) fn read_round(&mut self, parts: usize, max: usize) {
        let end = self.round + self.watched.capacity().div_ceil(parts).clamp(1, max);
        for slot in self.round..end {
            if self.watched.contains(slot) {
                self.read(slot, ReadState::Later);
            }
        }
        self.round = if end >= self.watched.capacity() { 0 } else { end };
    }

    fn news(&mut self, slot: UserSlot) {
        if let Some(user) = self.watched.get_mut(slot) {
            user.since.get_or_insert_with(Stopwatch::start);
        }
        self.read(slot, ReadState::Urgent);
    }

    /// Has a user read, `how` soon.
    fn read(&mut self, slot: UserSlot, how: ReadState) {
        let Some(user) = self.watched.get_mut(slot) else { return };
        match (user.read, how) {
            (ReadState::Running, _) => user.read = ReadState::Again,
            (ReadState::No, _) | (ReadState::Later, ReadState::Urgent) => {
                user.read = how;
                let (queue, queued) = match how {
                    ReadState::Urgent => (&mut self.urgent, &mut user.in_urgent),
                    _ => (&mut self.later, &mut user.in_later),
                };
                if !std::mem::replace(queued, true) {
                    queue.push_back(slot);
                }
            }
            _ => {}
        }
    }

    /// Who is to be read next, `max` at most; the urgent first, but not alone: a
    /// quarter is for the others. The read begins with this.
    pub(super) fn begin_reads(&mut self, max: usize) -> Vec<(UserSlot, UserKey)> {
        let mut begun = Vec::new();
        while begun.len() < max {
            let others = begun.len() >= max - max / 4 || self.urgent.is_empty();
            let slot = if others { self.later.pop_front() } else { None };
            let from_later = slot.is_some();
            let Some(slot) = slot.or_else(|| self.urgent.pop_front()) else { break };
            let Some(user) = self.watched.get_mut(slot) else { continue };
            let queued = if from_later { &mut user.in_later } else { &mut user.in_urgent };
            *queued = false;
            // What stood in both queues was read from the other one.
            let wanted = if from_later { ReadState::Later } else { ReadState::Urgent };
            if user.read != wanted {
                self.forget_if_unwatched(slot);
                continue;
            }
            user.read = ReadState::No;
            if user.streams.is_empty() {
                self.forget_if_unwatched(slot);
                continue;
            }
            (user.read, user.reading) = (ReadState::Running, user.streams.len());
            begun.push((slot, user.key.as_ref().clone()));
        }
        begun
    }

    /// A read has ended: with what is kept of the user and the instant for which
    /// that holds, or with nothing, because it failed. Then it is read again.
    pub(super) fn end_read(&mut self, slot: UserSlot, outcome: Option<(&User, Timestamp)>) {
        let Some(user) = self.watched.get_mut(slot) else { return };
        let again = std::mem::replace(&mut user.read, ReadState::No) == ReadState::Again;
        let Some((kept, now)) = outcome else {
            let how = if user.since.is_some() { ReadState::Urgent } else { ReadState::Later };
            self.read(slot, how);
            return;
        };
        let presence = Presence::whole(user.key.user_id.clone(), kept, now);
        let same = user.shown.as_ref().is_some_and(|shown| shown.shows_the_same_as(&presence));
        // Streams keep what they were told of last: the same is kept once.
        let kept_already = user.shown.take().filter(|shown| **shown == presence);
        let presence = kept_already.unwrap_or_else(|| Arc::new(presence));
        user.shown = Some(Arc::clone(&presence));
        let since = user.since.take();
        for (place, stream) in user.streams.iter().take(user.reading).enumerate() {
            let first = place >= user.told;
            if first || !same {
                let (presence, since) = (Arc::clone(&presence), since.filter(|_| !first));
                stream.put(News { slot, presence, since });
            }
        }
        user.told = user.reading;

        let settles = presence.sequence_number.changed_at() + SETTLE > now;
        let settled = settles.then(|| now + SETTLE);
        let transition = next_transition(kept, now).map(|transition| transition.at);
        let due = [settled, transition].into_iter().flatten().min();
        if let Some(before) = std::mem::replace(&mut user.due, due) {
            self.due.remove(&(before, slot));
        }
        self.due.extend(due.map(|at| (at, slot)));
        if again {
            self.read(slot, ReadState::Urgent);
        }
        self.forget_if_unwatched(slot);
    }
}
