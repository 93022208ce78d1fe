//! The streams that hold sessions: each is woken when an invalidation names its user, because
//! another call may have taken its session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slab::Slab;
use tokio::sync::Notify;

use crate::store::{Invalidation, InvalidationSwitch, UserKey};

/// The streams of this process that hold sessions. All clones share one state.
#[derive(Clone, Debug)]
pub struct HeldUsers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    streams: Mutex<HashMap<UserKey, Slab<Arc<Notify>>>>,
    switch: InvalidationSwitch,
}

/// One stream that holds a session. Dropping it ends the wake-ups.
#[derive(Debug)]
pub struct HeldUser {
    all: HeldUsers,
    user: UserKey,
    /// Its place among the streams of the user.
    place: usize,
    invalidated: Arc<Notify>,
}

impl HeldUsers {
    pub(super) fn new(switch: InvalidationSwitch) -> Self {
        Self(Arc::new(Shared { streams: Mutex::default(), switch }))
    }

    /// Adds a stream that holds a session of the user. It hears of every write that commits from now
    /// on.
    #[must_use]
    pub fn add(&self, user: UserKey) -> HeldUser {
        let invalidated = Arc::new(Notify::new());
        let mut streams = self.streams();
        let place = streams.entry(user.clone()).or_default().insert(Arc::clone(&invalidated));
        self.0.switch.set(true);
        drop(streams);
        HeldUser { all: self.clone(), user, place, invalidated }
    }

    /// Wakes the streams whose session may have been taken.
    pub(super) fn invalidate(&self, invalidation: &Invalidation) {
        let streams = self.streams();
        match invalidation {
            Invalidation::Users(users) => {
                let woken = users.iter().filter_map(|user| streams.get(user)).flatten();
                woken.for_each(|(_, stream)| stream.notify_one());
            }
            Invalidation::AllUsers => {
                streams.values().flatten().for_each(|(_, stream)| stream.notify_one());
            }
        }
    }

    /// Turns invalidations on if a user is watched or held. Holding the lock, no stream can begin
    /// between the check and the switch.
    pub(super) fn set_switch(&self, is_watched: bool) {
        let streams = self.streams();
        self.0.switch.set(is_watched || !streams.is_empty());
        drop(streams);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<UserKey, Slab<Arc<Notify>>>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldUser {
    /// Waits until an invalidation names the user. The future can be dropped without losing one.
    pub async fn invalidated(&self) {
        self.invalidated.notified().await;
    }
}

impl Drop for HeldUser {
    fn drop(&mut self) {
        let mut streams = self.all.streams();
        if let Some(of_user) = streams.get_mut(&self.user) {
            of_user.try_remove(self.place);
            if of_user.is_empty() {
                streams.remove(&self.user);
            }
        }
    }
}
