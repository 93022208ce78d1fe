//! Watching: the hub reads the watched users and sends presences to the watchers.
//!
//! A watcher gets state, not events: the latest presence of each user that it follows, never
//! a backlog. A watcher that reads slowly skips intermediate presences.
//!
//! The hub runs on the main runtime and knows only the watched users. It reads a user when a
//! watcher begins, when an [`Invalidation`](crate::store::Invalidation) names the user, and
//! when the presence changes with time. If the presence differs, the hub sends it to the
//! watchers, which run on the workers.

mod held_users;
mod hub;
mod mailbox;
mod shares;
mod users;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    clock::Stopwatch,
    presence::Timestamp,
    store::{InvalidationSwitch, UserKey},
    telemetry::WatchMetrics,
};
use mailbox::Mailbox;

pub use held_users::{HeldUser, HeldUsers};
pub use hub::{CONNECTIONS, Sources, run};
pub use mailbox::{PresenceUpdate, Update};
pub use shares::{Exceeded, Share, Shares};

/// The hub, as watchers use it. All clones share one state.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    inbox_filled: Notify,
    /// The users of all watchers, by tenant.
    shares: Shares<Uuid>,
    metrics: WatchMetrics,
    held_users: HeldUsers,
    /// In milliseconds.
    known_through: AtomicI64,
}

/// The watchers that began or ended since the hub last emptied the inbox.
#[derive(Debug, Default)]
struct Inbox {
    opened: Vec<(Arc<Mailbox>, Following)>,
    closed: Vec<Arc<Mailbox>>,
}

/// The users that a watcher follows.
#[derive(Debug)]
enum Following {
    Users(Vec<UserKey>),
    /// All users of the tenant. The share grows with them.
    Everyone(Uuid, Share<Uuid>),
}

impl Hub {
    /// Creates a hub. It works only while it is [`run`]. All watchers together may follow
    /// `users_max` users, those of one tenant `tenant_users_max`; a user counts once for each watcher.
    /// `switch` is that of the invalidations.
    #[must_use]
    pub fn new(
        users_max: u32,
        tenant_users_max: u32,
        metrics: WatchMetrics,
        switch: InvalidationSwitch,
    ) -> Self {
        let shares = Shares::new(users_max, tenant_users_max);
        let (inbox, inbox_filled, held_users) = (Mutex::default(), Notify::new(), HeldUsers::new(switch));
        let known_through = AtomicI64::new(0);
        Self(Arc::new(Shared { inbox, inbox_filled, shares, metrics, held_users, known_through }))
    }

    /// Begins to follow users of a tenant, which must be distinct. The error is a limit of watched users
    /// that is reached. The updates begin with the presence of each user, read from now on.
    pub fn watch(&self, tenant_id: Uuid, users: Vec<UserKey>) -> Result<Watcher, Exceeded> {
        let share = self.0.shares.take(tenant_id, u32::try_from(users.len()).unwrap_or(u32::MAX))?;
        let mailbox = self.open(users.len(), Following::Users(users));
        Ok(Watcher { hub: self.clone(), mailbox, _share: Some(share) })
    }

    /// Begins to follow all users of a tenant, of whom `live` or so have a live session. The updates begin
    /// with the presence of each user with a live session, read from now on; then those of any user of
    /// the tenant follow, also of one who was never watched. The error is a limit of watched users that
    /// is reached; if more users appear later, [`Update::Exceeded`] ends the watching.
    pub fn watch_everyone(&self, tenant_id: Uuid, live: u64) -> Result<Watcher, Exceeded> {
        let share = self.0.shares.take(tenant_id, u32::try_from(live).unwrap_or(u32::MAX))?;
        let mailbox = self.open(0, Following::Everyone(tenant_id, share));
        Ok(Watcher { hub: self.clone(), mailbox, _share: None })
    }

    fn open(&self, users: usize, following: Following) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(self.0.metrics.clone(), users));
        self.inbox().opened.push((Arc::clone(&mailbox), following));
        self.0.inbox_filled.notify_one();
        mailbox
    }

    /// Returns the time before which the hub has read every change of the users that it follows, and sent
    /// it to their watchers. It is up to a minute or so behind, and does not depend on invalidations.
    #[must_use]
    pub fn known_through(&self) -> Timestamp {
        Timestamp::from_millis(self.0.known_through.load(Ordering::Relaxed))
    }

    fn set_known_through(&self, at: Timestamp) {
        self.0.known_through.store(at.as_millis(), Ordering::Relaxed);
    }

    /// Returns the streams that hold sessions. They hear of changes only while the hub is [`run`].
    #[must_use]
    pub fn held_users(&self) -> &HeldUsers {
        &self.0.held_users
    }

    /// Returns the metrics of watching.
    #[must_use]
    pub fn metrics(&self) -> &WatchMetrics {
        &self.0.metrics
    }

    /// Waits until the inbox has entries.
    async fn inbox_filled(&self) {
        self.0.inbox_filled.notified().await;
    }

    fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut *self.inbox())
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The users that one stream follows. Dropping it ends the watching.
#[derive(Debug)]
pub struct Watcher {
    hub: Hub,
    mailbox: Arc<Mailbox>,
    /// That of a watcher of everybody is with the hub.
    _share: Option<Share<Uuid>>,
}

impl Watcher {
    /// Waits for the next update: first the presence of each user, then
    /// [`Update::SnapshotComplete`], then the newest presence after a change. The future can be dropped without losing an update.
    pub async fn next(&self) -> Update {
        self.mailbox.recv().await
    }

    /// Removes the next update, if there is one.
    #[must_use]
    pub fn try_next(&self) -> Option<Update> {
        self.mailbox.try_recv()
    }

    /// Counts a presence that is sent, and its delay if the change was noticed at
    /// `noticed`.
    pub fn count_sent(&self, noticed: Option<Stopwatch>) {
        let metrics = self.hub.metrics();
        metrics.sent.inc();
        if let Some(noticed) = noticed {
            metrics.delay.observe(noticed.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.inbox().closed.push(Arc::clone(&self.mailbox));
        self.hub.0.inbox_filled.notify_one();
    }
}
