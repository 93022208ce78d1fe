//! The loop that keeps the watched users true: it hears of changes, waits for
//! transitions, reads, and tells the streams.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{future::OptionFuture, future::join_all};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Sleep, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Hub, Inbox, mailbox::UserSlot, users::Users};
use crate::{
    batch::{BatchError, Batcher, Limits, Load},
    clock::Clock,
    presence::{Timestamp, User},
    store::{Changes, Invalidation, Store, StoreError, UserKey, Wanted},
    telemetry::Metrics,
};

/// The users that are read in one call, and the calls that may run at once.
const READ_MAX: usize = 250;
const READS_AT_ONCE: u16 = 2;

/// The connections that reading uses.
pub const CONNECTIONS: u32 = READS_AT_ONCE as u32;

/// The invalidations that may wait for the hub; who tells them waits meanwhile.
const INVALIDATIONS_WAITING_MAX: usize = 64;

/// Everybody is read once in so many of these ticks, a part in each, whether or
/// not anything was heard: so that nothing that went wrong lasts. Where many are
/// watched it takes longer, for nothing is known that could go wrong unheard.
const TICK: Duration = Duration::from_secs(1);
const TICKS_IN_A_ROUND: usize = 60;
const READS_IN_A_TICK_MAX: usize = 1_000;

/// How soon to read again after a read failed, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the hub works with.
#[derive(Debug)]
pub struct Sources {
    /// Where the users are.
    pub store: Arc<dyn Store>,
    /// What tells of writes.
    pub changes: Changes,
    /// What tells the time.
    pub clock: Clock,
    /// Of the process.
    pub metrics: Metrics,
}

/// Runs the hub until `stop`; then closes the store.
pub async fn run(hub: Hub, sources: Sources, stop: CancellationToken) {
    let Sources { store, changes, clock, metrics } = sources;
    let limits = Limits {
        batch_max: READ_MAX,
        queue_max: READ_MAX * usize::from(READS_AT_ONCE),
        workers: READS_AT_ONCE,
    };
    let load = Arc::new(Batcher::start(&store, &clock, &metrics, limits));
    let (tell, invalidations) = mpsc::channel(INVALIDATIONS_WAITING_MAX);
    let wanted = changes.wanted();
    wanted.set(false);
    // Dropped with what it holds when the hub ends.
    let mut listening = JoinSet::new();
    listening.spawn(listen(changes, tell));
    let users = Users::new(hub.metrics().clone());
    let running =
        Running { hub, users, wanted, load, clock, reads: JoinSet::new(), retry: None, failures: 0 };
    stop.run_until_cancelled(running.run(invalidations)).await;
    drop(listening);
    store.close().await;
}

/// Hands invalidations over until the hub has ended.
async fn listen(mut changes: Changes, tell: mpsc::Sender<Invalidation>) {
    while tell.send(changes.next().await).await.is_ok() {}
}

/// What came of a read.
struct Outcome {
    users: Vec<(UserSlot, Option<(User, Timestamp)>)>,
    error: Option<BatchError>,
}

struct Running {
    hub: Hub,
    users: Users,
    /// Invalidations are wanted while anybody is watched.
    wanted: Wanted,
    load: Arc<Batcher<Load>>,
    clock: Clock,
    reads: JoinSet<Outcome>,
    /// Until when nothing is read, because a read failed.
    retry: Option<Pin<Box<Sleep>>>,
    /// The reads that failed one after the other.
    failures: u32,
}

impl Running {
    async fn run(mut self, mut invalidations: mpsc::Receiver<Invalidation>) {
        let mut ticks = interval(TICK);
        loop {
            // Before anything is read: what commits later is told.
            self.wanted.set(!self.users.is_empty());
            self.begin_reads();
            let transition: OptionFuture<_> =
                self.users.next_due().map(|at| self.clock.wait_until(at)).into();
            let retry: OptionFuture<_> = self.retry.as_mut().into();
            tokio::select! {
                () = self.hub.knocked() => self.open_and_close(),
                Some(invalidation) = invalidations.recv() => {
                    self.hear(invalidation);
                    while let Ok(invalidation) = invalidations.try_recv() {
                        self.hear(invalidation);
                    }
                }
                Some(()) = transition => self.users.pass_time(self.clock.now()),
                Some(outcome) = self.reads.join_next() => {
                    // One that panicked leaves users behind that nobody reads: a fault.
                    let Ok(outcome) = outcome else { return };
                    self.end_reads(outcome);
                }
                Some(()) = retry => self.retry = None,
                _ = ticks.tick() => self.users.read_round(TICKS_IN_A_ROUND, READS_IN_A_TICK_MAX),
            }
        }
    }

    /// Streams that have begun or ended.
    fn open_and_close(&mut self) {
        let Inbox { opened, closed } = self.hub.take_inbox();
        for (keys, stream) in opened {
            self.users.watch(keys, &stream);
        }
        for stream in closed {
            self.users.leave(&stream);
        }
    }

    fn hear(&mut self, invalidation: Invalidation) {
        match invalidation {
            Invalidation::Users(keys) => {
                self.hub.metrics().invalidations.inc_by(u64::try_from(keys.len()).unwrap_or(u64::MAX));
                for key in &keys {
                    self.users.changed(key);
                }
            }
            Invalidation::Everything => self.users.read_everybody(),
        }
    }

    fn begin_reads(&mut self) {
        while self.retry.is_none() && self.reads.len() < READS_AT_ONCE.into() {
            let begun = self.users.begin_reads(READ_MAX);
            if begun.is_empty() {
                return;
            }
            self.hub.metrics().reads.inc_by(u64::try_from(begun.len()).unwrap_or(u64::MAX));
            let load = Arc::clone(&self.load);
            self.reads.spawn(async move { read(&load, begun).await });
        }
    }

    fn end_reads(&mut self, Outcome { users, error }: Outcome) {
        for (slot, kept) in users {
            self.users.end_read(slot, kept.as_ref().map(|(user, now)| (user, *now)));
        }
        match error {
            None if self.failures > 0 => {
                info!("the presences that are watched can be read again");
                self.failures = 0;
            }
            None => {}
            Some(error) => {
                if self.failures == 0 {
                    warn!(%error, "the presences that are watched can't be read");
                } else {
                    debug!(%error, "the presences that are watched can't be read");
                }
                let pause = RETRY_MIN * 2_u32.saturating_pow(self.failures.min(10));
                self.failures += 1;
                self.retry = Some(Box::pin(sleep(pause.min(RETRY_MAX))));
            }
        }
    }
}

/// Reads users. One of whom the database holds what can't be read must not stand
/// in the way of the others: then each is read by itself.
async fn read(load: &Batcher<Load>, users: Vec<(UserSlot, UserKey)>) -> Outcome {
    let (slots, keys): (Vec<_>, Vec<_>) = users.into_iter().unzip();
    match load.call(keys.clone()).await {
        Ok((now, kept)) => {
            let users = slots.into_iter().zip(kept.into_iter().map(|user| Some((user, now)))).collect();
            Outcome { users, error: None }
        }
        Err(BatchError::Store(StoreError::Data(_))) if keys.len() > 1 => {
            let each = keys.into_iter().map(|key| load.call(vec![key]));
            let mut error = None;
            let users = slots.into_iter().zip(join_all(each).await).map(|(slot, outcome)| {
                let kept = outcome.map_err(|failed| error = Some(failed)).ok();
                (slot, kept.and_then(|(now, mut users)| Some((users.pop()?, now))))
            });
            let users = users.collect();
            Outcome { users, error }
        }
        Err(error) => {
            Outcome { users: slots.into_iter().map(|slot| (slot, None)).collect(), error: Some(error) }
        }
    }
}
