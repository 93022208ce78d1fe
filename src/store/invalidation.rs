//! Invalidations: messages that watchers must read some users again.
//!
//! An invalidation names users, not their values. So it may be repeated or be unnecessary,
//! but it must never be lost silently: where one may have been lost,
//! [`Invalidation::AllUsers`] replaces it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::broadcast;
use uuid::Uuid;

use super::UserKey;

/// The number of invalidations that may wait for a consumer in this process. Beyond it they
/// become [`Invalidation::AllUsers`].
const WAITING_MAX: usize = 1_024;

/// The users to read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// These users.
    Users(Vec<UserKey>),
    /// All watched users, because an invalidation may have been lost.
    AllUsers,
}

/// Parses a user in the form in which statements write it, `TENANT USER`. An id contains no
/// spaces.
pub(super) fn parse_user(text: &str) -> Option<UserKey> {
    let (tenant_id, user_id) = text.split_once(' ')?;
    Some(UserKey { tenant_id: Uuid::try_parse(tenant_id).ok()?, user_id: user_id.parse().ok()? })
}

/// Turns the invalidations of this process on and off; they start on. All clones share one
/// state.
///
/// Finding the users to notify costs SQLite a tenth of its set throughput.
#[derive(Clone, Debug)]
pub struct InvalidationSwitch(Arc<AtomicBool>);

impl InvalidationSwitch {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Turns invalidations on or off. A write that commits after they were turned on sends
    /// one.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Sends invalidations from the stores of this process to its consumers.
#[derive(Clone, Debug)]
pub(super) struct Notifier {
    sender: broadcast::Sender<Vec<UserKey>>,
    switch: InvalidationSwitch,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { sender: broadcast::Sender::new(WAITING_MAX), switch: InvalidationSwitch::new() }
    }

    /// Receives the invalidations from now on.
    pub(super) fn receiver(&self) -> broadcast::Receiver<Vec<UserKey>> {
        self.sender.subscribe()
    }

    pub(super) fn switch(&self) -> InvalidationSwitch {
        self.switch.clone()
    }

    /// Whether invalidations are on. Check again after the commit.
    pub(super) fn is_on(&self) -> bool {
        self.switch.is_on()
    }

    /// Sends an invalidation of these users, if invalidations are on.
    pub(super) fn notify(&self, users: impl FnOnce() -> Vec<UserKey>) {
        if !self.is_on() {
            return;
        }
        let users = users();
        if !users.is_empty() {
            // Without a consumer the send fails, and no harm is done.
            let _ = self.sender.send(users);
        }
    }
}
