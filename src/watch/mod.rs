//! Watching: who follows whom, and what each stream has yet to be told.
//!
//! State, not events: a stream is told the latest presence of each user that it
//! follows, never a backlog; one that reads slowly is told less often. The hub
//! lives on the main runtime and knows the watched users only. It reads a user
//! when a stream begins, when a [`Invalidation`](crate::store::Invalidation) says that something
//! was written, and when the time has come at which the presence changes by
//! itself; and it tells the streams, which live on the workers, if what is shown
//! differs.

mod hub;
mod mailbox;
mod users;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{clock::Stopwatch, store::UserKey, telemetry::WatchMetrics};
use mailbox::Mailbox;

pub use hub::{CONNECTIONS, Sources, run};
pub use mailbox::News;

/// The hub, as streams see it; clones are one.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    knock: Notify,
    /// A permit for each user of each stream.
    room: Arc<Semaphore>,
    metrics: WatchMetrics,
}

/// The streams that have begun or ended since the hub last looked.
#[derive(Debug, Default)]
struct Inbox {
    opened: Vec<(Vec<UserKey>, Arc<Mailbox>)>,
    closed: Vec<Arc<Mailbox>>,
}

impl Hub {
    /// A hub, which does nothing unless it is [`run`]. All streams together may
    /// follow `users_max` users, each counted once for each stream.
    #[must_use]
    pub fn new(users_max: u32, metrics: WatchMetrics) -> Self {
        let room = Arc::new(Semaphore::new(usize::try_from(users_max).unwrap_or(usize::MAX)));
        Self(Arc::new(Shared { inbox: Mutex::default(), knock: Notify::new(), room, metrics }))
    }

    /// Begins to follow users, each of them once, unless there is no room for so
    /// many. The news begin with the presence of each, read from now on.
    #[must_use]
    pub fn subscribe(&self, users: Vec<UserKey>) -> Option<Subscription> {
        let number = u32::try_from(users.len()).ok()?;
        let room = Arc::clone(&self.0.room).try_acquire_many_owned(number).ok()?;
        let mailbox = Arc::new(Mailbox::new(self.0.metrics.clone()));
        self.inbox().opened.push((users, Arc::clone(&mailbox)));
        self.0.knock.notify_one();
        Some(Subscription { hub: self.clone(), mailbox, _room: room })
    }

    /// What the streams count in.
    #[must_use]
    pub fn metrics(&self) -> &WatchMetrics {
        &self.0.metrics
    }

    /// Resolves when there is something in the inbox.
    async fn knocked(&self) {
        self.0.knock.notified().await;
    }

    fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut *self.inbox())
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream follows; dropped, it follows nobody.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    mailbox: Arc<Mailbox>,
    _room: OwnedSemaphorePermit,
}

impl Subscription {
    /// The next news, however long they take: of each user at first its presence,
    /// then the newest one whenever it has changed. Nothing is lost if this future
    /// is dropped.
    pub async fn next(&self) -> News {
        self.mailbox.take().await
    }

    /// Counts a presence that is sent, which was news since then.
    pub fn count_sent(&self, since: Option<Stopwatch>) {
        let metrics = self.hub.metrics();
        metrics.sent.inc();
        if let Some(since) = since {
            metrics.delay.observe(since.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.inbox().closed.push(Arc::clone(&self.mailbox));
        self.hub.0.knock.notify_one();
    }
}
