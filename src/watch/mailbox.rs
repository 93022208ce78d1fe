//! The mailbox of a watcher: the newest unsent presence of each user.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::Exceeded;
use crate::{clock::Stopwatch, presence::Presence, telemetry::WatchMetrics};

/// The index of a watched user. It is stable while a watcher follows the user.
pub(super) type UserSlot = usize;

/// The places of a watcher.
#[derive(Debug)]
pub(super) enum Places {
    /// One for each user that it follows.
    Users(Box<[Place]>),
    /// One among the watchers of everybody of a tenant.
    Everyone { tenant_id: Uuid, follower: usize },
}

/// The place of a watcher among those of a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slot: UserSlot,
    pub(super) follower: usize,
}

/// What a watcher receives.
#[derive(Clone, Debug)]
pub enum Update {
    /// The presence of a user.
    Presence(PresenceUpdate),
    /// The presence of each user was received once. It comes once.
    SnapshotComplete,
    /// The watcher of everybody has more users than this limit allows. It receives nothing more.
    Exceeded(Exceeded),
}

/// The presence of one user, for one watcher.
#[derive(Clone, Debug)]
pub struct PresenceUpdate {
    /// The user's index, the same in all updates of one watcher.
    pub slot: usize,
    /// The user's presence.
    pub presence: Arc<Presence>,
    /// The time since the hub noticed the change; `None` for a first presence.
    pub noticed: Option<Stopwatch>,
}

/// A queue from the hub to one watcher.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// The watcher's place at each user that it follows, or at all users of a tenant. The hub sets it.
    pub(super) places: OnceLock<Places>,
    waiting: Mutex<Waiting>,
    filled: Notify,
    metrics: WatchMetrics,
}

/// At most one update for each user.
#[derive(Debug, Default)]
struct Waiting {
    /// The users in the order of their first unsent update.
    order: VecDeque<UserSlot>,
    newest: HashMap<UserSlot, PresenceUpdate>,
    /// Whether an update replaced an unsent one since the queue was last empty.
    slow: bool,
    /// The number of users whose first presence was not added yet.
    awaited: usize,
    /// After this number of updates the snapshot is complete.
    complete_after: Option<usize>,
    /// The limit that ended the watching.
    exceeded: Option<Exceeded>,
}

impl Mailbox {
    /// A mailbox whose snapshot has this number of users; zero if that is not known yet.
    pub(super) fn new(metrics: WatchMetrics, users: usize) -> Self {
        metrics.streams.inc();
        let waiting = Mutex::new(Waiting { awaited: users, ..Waiting::default() });
        Self { places: OnceLock::new(), waiting, filled: Notify::new(), metrics }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the first presence of a user whom [`Self::new`] counted.
    pub(super) fn push_first(&self, update: PresenceUpdate) {
        self.push(update);
        let mut waiting = self.waiting();
        waiting.awaited = waiting.awaited.saturating_sub(1);
        let is_last = waiting.awaited == 0;
        drop(waiting);
        if is_last {
            self.complete_snapshot();
        }
    }

    /// Adds an update. It replaces an unsent update of the same user.
    pub(super) fn push(&self, update: PresenceUpdate) {
        let mut waiting = self.waiting();
        let slot = update.slot;
        let replaced = waiting.newest.insert(slot, update);
        if replaced.is_none() {
            waiting.order.push_back(slot);
        } else {
            self.metrics.coalesced.inc();
            if !std::mem::replace(&mut waiting.slow, true) {
                self.metrics.slow_readers.inc();
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Ends the snapshot behind the updates that wait now.
    pub(super) fn complete_snapshot(&self) {
        let mut waiting = self.waiting();
        waiting.complete_after = Some(waiting.order.len());
        drop(waiting);
        self.filled.notify_one();
    }

    /// Ends the watching because of a limit.
    pub(super) fn exceed(&self, exceeded: Exceeded) {
        self.waiting().exceeded = Some(exceeded);
        self.filled.notify_one();
    }

    /// Whether an update of the user waits.
    pub(super) fn has_unsent(&self, slot: UserSlot) -> bool {
        self.waiting().newest.contains_key(&slot)
    }

    /// Waits for the next update and removes it. The future can be dropped without losing an
    /// update.
    pub(super) async fn recv(&self) -> Update {
        loop {
            if let Some(update) = self.try_recv() {
                return update;
            }
            self.filled.notified().await;
        }
    }

    /// Removes the next update, if there is one.
    pub(super) fn try_recv(&self) -> Option<Update> {
        let mut waiting = self.waiting();
        if let Some(exceeded) = waiting.exceeded {
            return Some(Update::Exceeded(exceeded));
        }
        if waiting.complete_after == Some(0) {
            waiting.complete_after = None;
            return Some(Update::SnapshotComplete);
        }
        let slot = waiting.order.pop_front()?;
        let update = waiting.newest.remove(&slot)?;
        waiting.complete_after = waiting.complete_after.map(|updates| updates.saturating_sub(1));
        if waiting.order.is_empty() {
            if waiting.slow {
                self.metrics.slow_readers.dec();
            }
            // This releases the memory of a snapshot, which is not needed again soon.
            let Waiting { awaited, complete_after, .. } = *waiting;
            *waiting = Waiting { awaited, complete_after, ..Waiting::default() };
        }
        Some(Update::Presence(update))
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if self.waiting().slow {
            self.metrics.slow_readers.dec();
        }
        self.metrics.streams.dec();
    }
}
