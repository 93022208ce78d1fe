//! The watched users: the last presence of each, its next transition, its watchers, and the
//! queue of reads. This module does no I/O and never waits.
//!
//! Rules:
//!
//! 1. At most one read of a user runs at a time, so no read overtakes another. An
//!    invalidation during a read causes another read.
//! 2. A watcher's first presence of a user comes from a read that began after the watcher
//!    did.
//! 3. A user without watchers is removed.

mod everyone;
mod members;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use super::mailbox::{Mailbox, Place, Places, PresenceUpdate, UserSlot};
use crate::{
    clock::Stopwatch,
    presence::{Presence, Timestamp, User},
    store::UserKey,
    telemetry::WatchMetrics,
};
use everyone::{Everyone, Outcome, Served};

/// A user who changed within this time is read once more after this time.
///
/// A refresh sends no invalidation, because it changes nothing. But a refresh that ran just
/// before the session's expiry may commit after the hub has read the session as expired. It
/// may also come from a replica whose clock is slightly behind.
const REREAD_AFTER: Duration = Duration::from_secs(5);

/// The state of a user's reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    /// No read is queued.
    Idle,
    /// A read is queued behind the urgent reads.
    Later,
    /// An urgent read is queued, because the presence may have changed.
    Urgent,
    /// A read is running.
    Running,
    /// A read is running, and another must follow it.
    RunAgain,
}

#[derive(Debug)]
struct Watched {
    key: Arc<UserKey>,
    /// The last presence that was read.
    shown: Option<Arc<Presence>>,
    /// The time of the next read that time alone causes.
    due: Option<Timestamp>,
    read: ReadState,
    /// Whether the urgent queue contains the user.
    in_urgent: bool,
    /// Whether the other queue contains the user.
    in_later: bool,
    /// The time since the hub noticed a change that was not read yet.
    noticed: Option<Stopwatch>,
    followers: Slab<Follower>,
    /// The number of the next follower.
    next: u64,
    /// The followers with a lower number have received `shown`.
    served: u64,
    /// The followers with a lower number will receive the result of the running read.
    reading: u64,
    /// Set if watchers of everybody follow the user.
    everyone: Option<Served>,
    /// Every change before this time was read.
    known_through: Timestamp,
}

impl Watched {
    fn is_followed(&self) -> bool {
        !self.followers.is_empty() || self.everyone.is_some()
    }
}

/// A watcher of a user.
#[derive(Debug)]
struct Follower {
    mailbox: Arc<Mailbox>,
    /// Its number in the order in which the user's watchers began.
    number: u64,
}

/// All watched users.
#[derive(Debug)]
pub(super) struct Users {
    watched: Slab<Watched>,
    slots: HashMap<Arc<UserKey>, UserSlot>,
    everyone: Everyone,
    due: BTreeSet<(Timestamp, UserSlot)>,
    urgent: VecDeque<UserSlot>,
    later: VecDeque<UserSlot>,
    /// The first user of the background round's next part.
    round: UserSlot,
    /// The latest time that was seen, which may be a little behind.
    now: Timestamp,
    metrics: WatchMetrics,
}

impl Users {
    pub(super) fn new(metrics: WatchMetrics) -> Self {
        Self {
            watched: Slab::new(),
            slots: HashMap::new(),
            everyone: Everyone::default(),
            due: BTreeSet::new(),
            urgent: VecDeque::new(),
            later: VecDeque::new(),
            round: 0,
            now: Timestamp::from_millis(0),
            metrics,
        }
    }

    /// Adds a watcher of these users, which must be distinct.
    pub(super) fn watch(&mut self, keys: Vec<UserKey>, mailbox: &Arc<Mailbox>) {
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let slot = self.slot(key);
            if let Some(user) = self.watched.get_mut(slot) {
                let follower = Follower { mailbox: Arc::clone(mailbox), number: user.next };
                user.next += 1;
                places.push(Place { slot, follower: user.followers.insert(follower) });
            }
            self.queue_read(slot, ReadState::Later);
        }
        // The mailbox is new, so its places are not set yet.
        let _ = mailbox.places.set(Places::Users(places.into()));
    }

    /// Whether no user is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.everyone.is_empty()
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
            read: ReadState::Idle,
            in_urgent: false,
            in_later: false,
            noticed: None,
            followers: Slab::new(),
            next: 0,
            served: 0,
            reading: 0,
            everyone: None,
            known_through: self.now,
        });
        self.slots.insert(key, slot);
        self.metrics.users.inc();
        slot
    }

    /// Removes a watcher, and returns the number of its users. It searches nothing, because all
    /// watchers of a user may leave at once.
    pub(super) fn unwatch(&mut self, mailbox: &Mailbox) -> usize {
        match mailbox.places.get() {
            None => 0,
            Some(Places::Users(places)) => {
                for Place { slot, follower } in places {
                    if let Some(user) = self.watched.get_mut(*slot) {
                        user.followers.try_remove(*follower);
                    }
                    self.remove_if_unwatched(*slot);
                }
                places.len()
            }
            Some(Places::Everyone { tenant_id, follower }) => {
                let members = self.everyone.unwatch(*tenant_id, *follower);
                for slot in &members {
                    if let Some(user) = self.watched.get_mut(*slot) {
                        user.everyone = None;
                    }
                    self.remove_if_unwatched(*slot);
                }
                members.len()
            }
        }
    }

    /// Removes a user without watchers. A queued or running read delays the removal, because
    /// it refers to the user's index.
    fn remove_if_unwatched(&mut self, slot: UserSlot) {
        let unused = self.watched.get(slot).is_some_and(|user| {
            let busy = user.in_urgent
                || user.in_later
                || matches!(user.read, ReadState::Running | ReadState::RunAgain);
            !user.is_followed() && !busy
        });
        if unused {
            let user = self.watched.remove(slot);
            if let Some(due) = user.due {
                self.due.remove(&(due, slot));
            }
            self.slots.remove(&user.key);
            self.metrics.users.dec();
        }
    }

    /// Queues an urgent read of a user, if the user is watched.
    pub(super) fn invalidate(&mut self, key: &UserKey) {
        let slot = self.slots.get(key).copied();
        let member = match slot {
            Some(slot) if self.watched.get(slot).is_some_and(|user| user.everyone.is_some()) => None,
            _ if self.everyone.is_empty() => None,
            _ => self.add_member(key.clone()),
        };
        if let Some(slot) = slot.or(member.map(|(slot, _)| slot)) {
            self.note_change(slot);
        }
    }

    /// Queues urgent reads of all users that are due at `now` or earlier.
    pub(super) fn read_due(&mut self, now: Timestamp) {
        while let Some((at, slot)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, slot));
            self.note_change(slot);
        }
    }

    /// Returns the earliest time at which a user is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Queues a read of all users, because an invalidation may have been lost.
    pub(super) fn read_all(&mut self) {
        let slots: Vec<_> = self.watched.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.queue_read(slot, ReadState::Later);
        }
        self.everyone.list_all_again();
    }

    /// Queues a read of the next part of all users: one in `parts`, and at most `max`.
    pub(super) fn read_round(&mut self, parts: usize, max: usize) {
        let end = self.round + self.watched.capacity().div_ceil(parts).clamp(1, max);
        for slot in self.round..end {
            if self.watched.contains(slot) && !self.forget_if_offline(slot) {
                self.queue_read(slot, ReadState::Later);
            }
        }
        if end < self.watched.capacity() {
            self.round = end;
            return;
        }
        self.round = 0;
        self.everyone.list_all_again();
    }

    /// Returns the time before which every change of a watched user was read. It is up to a background
    /// round behind `now`.
    pub(super) fn known_through(&mut self, now: Timestamp) -> Timestamp {
        self.now = now;
        let users = self.watched.iter().filter(|(_, user)| user.is_followed());
        let oldest = users.map(|(_, user)| user.known_through).min();
        [oldest, self.everyone.known_through()].into_iter().flatten().min().unwrap_or(now)
    }

    fn note_change(&mut self, slot: UserSlot) {
        if let Some(user) = self.watched.get_mut(slot) {
            user.noticed.get_or_insert_with(Stopwatch::start);
        }
        self.queue_read(slot, ReadState::Urgent);
    }

    /// Queues a read of a user. `priority` is [`ReadState::Later`] or [`ReadState::Urgent`].
    fn queue_read(&mut self, slot: UserSlot, priority: ReadState) {
        let Some(user) = self.watched.get_mut(slot) else { return };
        match (user.read, priority) {
            (ReadState::Running, _) => user.read = ReadState::RunAgain,
            (ReadState::Idle, _) | (ReadState::Later, ReadState::Urgent) => {
                user.read = priority;
                let (queue, queued) = match priority {
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

    /// Begins a read of up to `max` users and returns them. Urgent users come first, but a
    /// quarter is reserved for the others.
    pub(super) fn begin_reads(&mut self, max: usize) -> Vec<(UserSlot, UserKey)> {
        let mut begun = Vec::new();
        while begun.len() < max {
            let take_later = begun.len() >= max - max / 4 || self.urgent.is_empty();
            let slot = if take_later { self.later.pop_front() } else { None };
            let from_later = slot.is_some();
            let Some(slot) = slot.or_else(|| self.urgent.pop_front()) else { break };
            let Some(user) = self.watched.get_mut(slot) else { continue };
            let queued = if from_later { &mut user.in_later } else { &mut user.in_urgent };
            *queued = false;
            // A user in both queues was already read from the other queue.
            let expected = if from_later { ReadState::Later } else { ReadState::Urgent };
            if user.read != expected {
                self.remove_if_unwatched(slot);
                continue;
            }
            user.read = ReadState::Idle;
            if !user.is_followed() {
                self.remove_if_unwatched(slot);
                continue;
            }
            (user.read, user.reading) = (ReadState::Running, user.next);
            if let Some(everyone) = &mut user.everyone {
                everyone.reading = self.everyone.get(user.key.tenant_id).map_or(0, |tenant| tenant.next);
            }
            begun.push((slot, user.key.as_ref().clone()));
        }
        begun
    }

    /// Ends a read. `outcome` is the stored user and the time of the read, or `None` if the
    /// read failed. A failed read is queued again.
    pub(super) fn end_read(&mut self, slot: UserSlot, outcome: Option<(&User, Timestamp)>) {
        let Some(user) = self.watched.get_mut(slot) else { return };
        let again = std::mem::replace(&mut user.read, ReadState::Idle) == ReadState::RunAgain;
        let Some((stored, now)) = outcome else {
            let priority = if user.noticed.is_some() { ReadState::Urgent } else { ReadState::Later };
            self.queue_read(slot, priority);
            return;
        };
        user.known_through = now;
        let presence = Presence::compute(user.key.user_id.clone(), stored, now);
        // Watchers keep the last presence that they received. An equal presence shares its
        // memory.
        let unchanged = user.shown.take().filter(|shown| **shown == presence);
        let same = unchanged.is_some();
        let presence = unchanged.unwrap_or_else(|| Arc::new(presence));
        user.shown = Some(Arc::clone(&presence));
        let noticed = user.noticed.take();
        let reading = user.followers.iter().filter(|(_, follower)| follower.number < user.reading);
        for (_, Follower { mailbox, number }) in reading {
            let first = *number >= user.served;
            let presence = Arc::clone(&presence);
            if first {
                mailbox.push_first(PresenceUpdate { slot, presence, noticed: None });
            } else if !same {
                mailbox.push(PresenceUpdate { slot, presence, noticed });
            }
        }
        user.served = user.reading;
        if let Some(everyone) = &mut user.everyone
            && let Some(tenant) = self.everyone.get_mut(user.key.tenant_id)
        {
            let update = PresenceUpdate { slot, presence: Arc::clone(&presence), noticed };
            tenant.send(Outcome { update, served: *everyone, same });
            everyone.served = everyone.reading;
        }

        let changed_recently = presence.sequence_number.changed_at() + REREAD_AFTER > now;
        let reread = changed_recently.then(|| now + REREAD_AFTER);
        let due = [reread, stored.next_change(now)].into_iter().flatten().min();
        if let Some(before) = std::mem::replace(&mut user.due, due) {
            self.due.remove(&(before, slot));
        }
        self.due.extend(due.map(|at| (at, slot)));
        if again {
            self.queue_read(slot, ReadState::Urgent);
        }
        self.remove_if_unwatched(slot);
    }
}
