//! The loop that keeps the presences of watched users current. It receives invalidations,
//! waits for transitions, reads users, and fills the mailboxes of watchers.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{future::OptionFuture, future::join_all};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::{Sleep, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Following, Hub, Inbox, mailbox::UserSlot, users::Users};
use crate::{
    batch::{BatchError, Batcher, Limits, ListPage, Load},
    clock::Clock,
    presence::{Timestamp, User, UserId},
    store::{Invalidation, InvalidationFeed, ListUsers, Store, StoreError, UserKey},
    telemetry::Metrics,
};

/// The maximum number of users in one read.
const READ_MAX: usize = 250;
/// The maximum number of concurrent reads.
const CONCURRENT_READS: u16 = 2;

/// The number of connections that the hub uses: one lists users.
pub const CONNECTIONS: u32 = CONCURRENT_READS as u32 + 1;

/// The number of users that one statement lists.
const PAGE: u32 = 1_000;

/// The capacity of the channel of invalidations. A full channel delays the feed.
const INVALIDATIONS_WAITING_MAX: usize = 64;

/// The interval of the background round, which reads a part of all watched users in each
/// tick. It repairs any error within one round, although no such error is known.
const TICK: Duration = Duration::from_secs(1);
/// The number of ticks in which a round reads all users.
const TICKS_IN_ROUND: usize = 60;
/// The maximum number of users that a tick reads. With more users a round takes longer.
const READS_IN_TICK_MAX: usize = 1_000;

/// The users of watchers that begin or end, after which other tasks have a turn.
const USERS_IN_TURN: usize = 10_000;

/// The first pause after a failed read. It doubles with each failure.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest pause after a failed read.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The inputs of the hub.
#[derive(Debug)]
pub struct Sources {
    /// The store that the hub reads from.
    pub store: Arc<dyn Store>,
    /// The feed of invalidations.
    pub invalidations: InvalidationFeed,
    /// The clock of transitions.
    pub clock: Clock,
    /// The metrics of the process.
    pub metrics: Metrics,
}

/// Runs the hub until `stop`, then closes the store.
pub async fn run(hub: Hub, sources: Sources, stop: CancellationToken) {
    let Sources { store, invalidations, clock, metrics } = sources;
    let limits = Limits {
        batch_max: READ_MAX,
        queue_max: READ_MAX * usize::from(CONCURRENT_READS),
        concurrent_statements: CONCURRENT_READS,
    };
    let load = Arc::new(Batcher::start(&store, &clock, &metrics, limits));
    let one = Limits { batch_max: 1, queue_max: 1, concurrent_statements: 1 };
    let list = Arc::new(Batcher::start(&store, &clock, &metrics, one));
    let (sender, receiver) = mpsc::channel(INVALIDATIONS_WAITING_MAX);
    // Dropping the set ends the task.
    let mut forwarder = JoinSet::new();
    forwarder.spawn(forward(invalidations, sender));
    let users = Users::new(hub.metrics().clone());
    let (reads, listing) = (JoinSet::new(), JoinSet::new());
    let running = Running { hub, users, load, list, clock, reads, listing, retry: None, failures: 0 };
    let (load, list) = (Arc::clone(&running.load), Arc::clone(&running.list));
    let run = async {
        tokio::select! {
            () = running.run(receiver) => {}
            // Without either, the hub would miss changes and never notice.
            _ = forwarder.join_next() => {}
            _ = load.ended() => {}
            _ = list.ended() => {}
        }
    };
    stop.run_until_cancelled(run).await;
    drop(forwarder);
    store.close().await;
}

/// Forwards invalidations until the hub has ended.
async fn forward(mut invalidations: InvalidationFeed, sender: mpsc::Sender<Invalidation>) {
    while sender.send(invalidations.next().await).await.is_ok() {}
}

/// Counts work, and gives other tasks a turn.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    async fn count(&mut self, users: usize) {
        self.0 += users;
        if self.0 >= USERS_IN_TURN {
            self.0 = 0;
            yield_now().await;
        }
    }
}

/// The result of a read.
struct Outcome {
    users: Vec<(UserSlot, Option<(User, Timestamp)>)>,
    error: Option<BatchError>,
}

/// The result of listing a page of a tenant's users.
struct Page {
    tenant_id: Uuid,
    users: Result<Vec<UserId>, BatchError>,
}

struct Running {
    hub: Hub,
    users: Users,
    load: Arc<Batcher<Load>>,
    list: Arc<Batcher<ListPage>>,
    clock: Clock,
    reads: JoinSet<Outcome>,
    /// The page that is listed, if any.
    listing: JoinSet<Page>,
    /// The pause after a failed read, in which no read begins.
    retry: Option<Pin<Box<Sleep>>>,
    /// The number of consecutive failed reads.
    failures: u32,
}

impl Running {
    async fn run(mut self, mut invalidations: mpsc::Receiver<Invalidation>) {
        let mut ticks = interval(TICK);
        loop {
            // This precedes the reads, so that a later commit sends an invalidation.
            self.hub.held_users().set_switch(!self.users.is_empty());
            self.begin_reads();
            self.begin_listing();
            let transition: OptionFuture<_> =
                self.users.next_due().map(|at| self.clock.wait_until(at)).into();
            let retry: OptionFuture<_> = self.retry.as_mut().into();
            tokio::select! {
                () = self.hub.inbox_filled() => self.empty_inbox().await,
                Some(invalidation) = invalidations.recv() => {
                    self.invalidate(invalidation);
                    while let Ok(invalidation) = invalidations.try_recv() {
                        self.invalidate(invalidation);
                    }
                }
                Some(()) = transition => self.users.read_due(self.clock.now()),
                Some(outcome) = self.reads.join_next() => {
                    // After a panic in a read, its users would never be read again.
                    let Ok(outcome) = outcome else { return };
                    self.end_reads(outcome);
                }
                Some(page) = self.listing.join_next() => {
                    let Ok(page) = page else { return };
                    self.end_listing(page);
                }
                Some(()) = retry => self.retry = None,
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        self.users.read_round(TICKS_IN_ROUND, READS_IN_TICK_MAX);
        self.hub.set_known_through(self.users.known_through(self.clock.now()));
    }

    /// Adds watchers that began and removes watchers that ended. In between, other tasks of the main
    /// runtime have their turns, such as probes.
    async fn empty_inbox(&mut self) {
        let Inbox { opened, closed } = self.hub.take_inbox();
        let mut turn = Turn::default();
        for (mailbox, following) in opened {
            match following {
                Following::Users(keys) => {
                    let users = keys.len();
                    self.users.watch(keys, &mailbox);
                    turn.count(users).await;
                }
                Following::Everyone(tenant_id, share) => {
                    self.users.watch_everyone(tenant_id, &mailbox, share);
                }
            }
        }
        for mailbox in closed {
            let users = self.users.unwatch(&mailbox);
            turn.count(users).await;
        }
    }

    fn invalidate(&mut self, invalidation: Invalidation) {
        self.hub.held_users().invalidate(&invalidation);
        match invalidation {
            Invalidation::Users(keys) => {
                self.hub.metrics().invalidations.inc_by(u64::try_from(keys.len()).unwrap_or(u64::MAX));
                for key in &keys {
                    self.users.invalidate(key);
                }
            }
            Invalidation::AllUsers => self.users.read_all(),
        }
    }

    fn begin_reads(&mut self) {
        while self.retry.is_none() && self.reads.len() < CONCURRENT_READS.into() {
            let users = self.users.begin_reads(READ_MAX);
            if users.is_empty() {
                return;
            }
            self.hub.metrics().reads.inc_by(u64::try_from(users.len()).unwrap_or(u64::MAX));
            let load = Arc::clone(&self.load);
            self.reads.spawn(async move { read(&load, users).await });
        }
    }

    fn end_reads(&mut self, Outcome { users, error }: Outcome) {
        for (slot, stored) in users {
            self.users.end_read(slot, stored.as_ref().map(|(user, now)| (user, *now)));
        }
        self.note(error.as_ref());
    }

    /// Lists the next page for watchers of everybody.
    fn begin_listing(&mut self) {
        if self.retry.is_some() || !self.listing.is_empty() {
            return;
        }
        if let Some((tenant_id, after)) = self.users.begin_page() {
            let list = Arc::clone(&self.list);
            self.listing.spawn(async move {
                let users =
                    list.call_one(ListUsers { tenant_id, after, include_ended: false, limit: PAGE }).await;
                Page { tenant_id, users }
            });
        }
    }

    fn end_listing(&mut self, Page { tenant_id, users }: Page) {
        self.note(users.as_ref().err());
        let users = users.ok();
        let is_last = users.as_ref().is_some_and(|users| users.len() < usize::try_from(PAGE).unwrap_or(0));
        self.users.end_page(tenant_id, users, is_last);
    }

    /// Notes whether a statement failed. After a failure the next ones wait.
    fn note(&mut self, error: Option<&BatchError>) {
        match error {
            None if self.failures > 0 => {
                info!("reading watched users succeeds again");
                self.failures = 0;
            }
            None => {}
            Some(error) => {
                if self.failures == 0 {
                    warn!(%error, "reading watched users failed");
                } else {
                    debug!(%error, "reading watched users failed");
                }
                let pause = RETRY_MIN * 2_u32.saturating_pow(self.failures.min(10));
                self.failures += 1;
                self.retry = Some(Box::pin(sleep(pause.min(RETRY_MAX))));
            }
        }
    }
}

/// Reads users. After an error about invalid data each user is read alone, so that an
/// invalid row fails only its own user.
async fn read(load: &Batcher<Load>, users: Vec<(UserSlot, UserKey)>) -> Outcome {
    let (slots, keys): (Vec<_>, Vec<_>) = users.into_iter().unzip();
    match load.call(keys.clone()).await {
        Ok((now, stored)) => {
            let users = slots.into_iter().zip(stored.into_iter().map(|user| Some((user, now)))).collect();
            Outcome { users, error: None }
        }
        Err(BatchError::Store(StoreError::Data(_))) if keys.len() > 1 => {
            let each = keys.into_iter().map(|key| load.call(vec![key]));
            let mut error = None;
            let users = slots.into_iter().zip(join_all(each).await).map(|(slot, outcome)| {
                let stored = outcome.map_err(|failed| error = Some(failed)).ok();
                (slot, stored.and_then(|(now, mut users)| Some((users.pop()?, now))))
            });
            let users = users.collect();
            Outcome { users, error }
        }
        Err(error) => {
            Outcome { users: slots.into_iter().map(|slot| (slot, None)).collect(), error: Some(error) }
        }
    }
}
