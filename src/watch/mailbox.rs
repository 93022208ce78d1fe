//! What a stream has yet to be told: the newest presence of each user, whatever
//! came before it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Notify;

use crate::{clock::Stopwatch, presence::Presence, telemetry::WatchMetrics};

/// The number of a watched user. It stays the user's while a stream watches it.
pub(super) type UserSlot = usize;

/// What a stream is told of one user.
#[derive(Clone, Debug)]
pub struct News {
    /// The user's number, the same in all news of one stream.
    pub slot: usize,
    /// What the user is shown as.
    pub presence: Arc<Presence>,
    /// Since when it is known that there is news; nothing of a first presence.
    pub since: Option<Stopwatch>,
}

/// Between the hub, which puts news in, and one stream, which takes them out.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// The users whose news come here; the hub's.
    pub(super) users: OnceLock<Box<[UserSlot]>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    metrics: WatchMetrics,
}

/// At most one piece of news for each user.
#[derive(Debug, Default)]
struct Waiting {
    /// In the order in which the stream will be told of them.
    order: VecDeque<UserSlot>,
    newest: HashMap<UserSlot, News>,
    /// Whether news took the place of older news since it was last empty.
    slow: bool,
}

impl Mailbox {
    pub(super) fn new(metrics: WatchMetrics) -> Self {
        metrics.streams.inc();
        Self { users: OnceLock::new(), waiting: Mutex::default(), arrived: Notify::new(), metrics }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts news in, in place of older news of the same user.
    pub(super) fn put(&self, news: News) {
        let mut waiting = self.waiting();
        let slot = news.slot;
        let replaced = waiting.newest.insert(slot, news);
        if replaced.is_none() {
            waiting.order.push_back(slot);
        } else {
            self.metrics.coalesced.inc();
            if !std::mem::replace(&mut waiting.slow, true) {
                self.metrics.slow_readers.inc();
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Takes the next news out, however long it takes. Nothing is lost if this
    /// future is dropped.
    pub(super) async fn take(&self) -> News {
        loop {
            if let Some(news) = self.next() {
                return news;
            }
            self.arrived.notified().await;
        }
    }

    /// The next news, if there are any.
    pub(super) fn next(&self) -> Option<News> {
        let mut waiting = self.waiting();
        let slot = waiting.order.pop_front()?;
        let news = waiting.newest.remove(&slot);
        if waiting.order.is_empty() {
            if waiting.slow {
                self.metrics.slow_readers.dec();
            }
            // The room that a snapshot took is not needed again soon.
            *waiting = Waiting::default();
        }
        news
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
