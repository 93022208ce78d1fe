//! The mailbox of a watcher: the newest unsent presence of each user.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Notify;

use crate::{clock::Stopwatch, presence::Presence, telemetry::WatchMetrics};

/// The index of a watched user. It is stable while a watcher follows the user.
pub(super) type UserSlot = usize;

/// The place of a watcher among those of a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slot: UserSlot,
    pub(super) follower: usize,
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
    /// The watcher's place at each user that it follows. The hub sets it.
    pub(super) places: OnceLock<Box<[Place]>>,
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
}

impl Mailbox {
    pub(super) fn new(metrics: WatchMetrics) -> Self {
        metrics.streams.inc();
        Self { places: OnceLock::new(), waiting: Mutex::default(), filled: Notify::new(), metrics }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits for the next update and removes it. The future can be dropped without losing an
    /// update.
    pub(super) async fn recv(&self) -> PresenceUpdate {
        loop {
            if let Some(update) = self.try_recv() {
                return update;
            }
            self.filled.notified().await;
        }
    }

    /// Removes the next update, if there is one.
    pub(super) fn try_recv(&self) -> Option<PresenceUpdate> {
        let mut waiting = self.waiting();
        let slot = waiting.order.pop_front()?;
        let update = waiting.newest.remove(&slot);
        if waiting.order.is_empty() {
            if waiting.slow {
                self.metrics.slow_readers.dec();
            }
            // This releases the memory of a snapshot, which is not needed again soon.
            *waiting = Waiting::default();
        }
        update
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
