//! The natural batcher: calls that arrive while a statement is in the database
//! share the next one.
//!
//! Each method of the store has a bounded queue and a dispatcher. The
//! dispatcher takes what has gathered, up to a limit, and runs it as one
//! statement in a task of its own; while `workers` statements are running, the
//! next batch gathers. There is no timer: an idle server adds no latency.
//!
//! Rules:
//!
//! 1. A caller is answered after its batch committed.
//! 2. The clock is read once per statement; that instant is `now` for all of it.
//! 3. A caller that has gone by then is skipped; one that goes later loses only
//!    the answer, for the statement's task is not the caller's. One that has waited
//!    so long that it might go before the statement is done is refused.
//! 4. A call of many members is one caller: it is done as a whole or not at all.
//! 5. The rare methods go the same way, one call to a statement and one statement
//!    at a time: so they, too, have a bounded queue, and run in tasks of their
//!    own.
//! 6. On bad data each caller is retried by itself, so that a bad row hurts
//!    only its owner; a conflict is retried once; all else fails the batch.

mod runner;
mod statement;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use crate::{
    clock::Clock,
    store::{Store, StoreError},
    telemetry::{Metrics, StatementMetrics},
};

use runner::{PendingCall, Results, Runner};
pub use statement::{
    ClearSessions, CountUsers, ExtendSessions, ListPage, Load, SetSessions, Statement, UpdateUsers,
};

/// How long a caller waits, its time in the queue included: as long as the
/// time-outs of one statement, so that those before it count, too.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How much a batcher takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The members of one statement; a single call may carry more.
    pub batch_max: usize,
    /// The members that may wait.
    pub queue_max: usize,
    /// The statements that may run at once.
    pub workers: u16,
}

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// As many members wait as the queue holds.
    #[error("the queue of {0} is full")]
    QueueFull(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The batchers of one worker, one for each method of its store.
#[derive(Debug)]
pub struct Batches {
    /// For [`Store::set_sessions`].
    pub set_sessions: Batcher<SetSessions>,
    /// For [`Store::clear_sessions`].
    pub clear_sessions: Batcher<ClearSessions>,
    /// For [`Store::extend_sessions`].
    pub extend_sessions: Batcher<ExtendSessions>,
    /// For [`Store::update_user`].
    pub update_user: Batcher<UpdateUsers>,
    /// For those that read.
    pub reads: Reads,
}

/// The batchers of the methods that read.
#[derive(Debug)]
pub struct Reads {
    /// For [`Store::load`].
    pub load: Batcher<Load>,
    /// For [`Store::list_users`].
    pub list_users: Batcher<ListPage>,
    /// For [`Store::count_users`].
    pub count_users: Batcher<CountUsers>,
}

impl Reads {
    /// The connections that they use: see [`Batches::connections`].
    #[must_use]
    pub fn connections(limits: Limits) -> u32 {
        u32::from(limits.workers) + 1
    }

    /// Starts the dispatchers of reads from a replica, whose statements have names of
    /// their own in metrics and logs.
    #[must_use]
    pub fn start_on_replica(
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Metrics,
        limits: Limits,
    ) -> Self {
        let names = ["replica_load", "replica_list_users", "replica_count_users"];
        Self::start(names, store, clock, metrics, limits)
    }

    fn start(
        names: [&'static str; 3],
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Metrics,
        limits: Limits,
    ) -> Self {
        let rare = Limits { batch_max: 1, workers: 1, ..limits };
        let [load, list_users, count_users] = names;
        Self {
            load: Batcher::start_as(load, store, clock, metrics, limits),
            list_users: Batcher::start_as(list_users, store, clock, metrics, rare),
            count_users: Batcher::start_as(count_users, store, clock, metrics, rare),
        }
    }
}

impl Batches {
    /// The connections that they use: one for each statement of a hot method
    /// that may run at once, one for extensions, which nobody waits for, and one that
    /// the rare methods share.
    #[must_use]
    pub fn connections(limits: Limits) -> u32 {
        u32::from(limits.workers) * 3 + 2
    }

    /// Starts the dispatchers on the current runtime; they end when the batches
    /// are dropped.
    #[must_use]
    pub fn start(store: &Arc<dyn Store>, clock: &Clock, metrics: &Metrics, limits: Limits) -> Self {
        let extend = Limits { workers: 1, ..limits };
        let rare = Limits { batch_max: 1, ..extend };
        let names = [Load::NAME, ListPage::NAME, CountUsers::NAME];
        Self {
            set_sessions: Batcher::start(store, clock, metrics, limits),
            clear_sessions: Batcher::start(store, clock, metrics, limits),
            extend_sessions: Batcher::start(store, clock, metrics, extend),
            update_user: Batcher::start(store, clock, metrics, rare),
            reads: Reads::start(names, store, clock, metrics, limits),
        }
    }
}

/// Gathers calls of one method into statements.
pub struct Batcher<S: Statement> {
    /// What the statement is called in metrics and logs.
    name: &'static str,
    queue: mpsc::Sender<PendingCall<S>>,
    metrics: StatementMetrics,
    /// A permit for each member that may wait.
    room: Arc<Semaphore>,
}

impl<S: Statement> fmt::Debug for Batcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("statement", &self.name).finish_non_exhaustive()
    }
}

impl<S: Statement> Batcher<S> {
    /// Starts a dispatcher on the current runtime; it ends when the batcher is
    /// dropped.
    #[must_use]
    pub fn start(store: &Arc<dyn Store>, clock: &Clock, metrics: &Metrics, limits: Limits) -> Self {
        Self::start_as(S::NAME, store, clock, metrics, limits)
    }

    fn start_as(
        name: &'static str,
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Metrics,
        limits: Limits,
    ) -> Self {
        let (queue, calls) = mpsc::channel(limits.queue_max);
        let metrics = metrics.statement(name);
        let runner = Runner::new(name, store, clock, metrics.clone());
        tokio::spawn(dispatch(calls, runner, limits));
        Self { name, queue, metrics, room: Arc::new(Semaphore::new(limits.queue_max)) }
    }

    /// Has one `member` done; its answer alone.
    pub async fn call_one(&self, member: S::Member) -> Result<S::Output, BatchError> {
        let (_, mut answers) = self.call(vec![member]).await?;
        answers.pop().ok_or_else(|| StoreError::Data(format!("{} answered nothing", self.name)).into())
    }

    /// Has `members` done as a whole, together with whatever else waits;
    /// answers them in order, with the `now` of the statement that did them.
    pub async fn call(&self, members: Vec<S::Member>) -> Result<Results<S>, BatchError> {
        let weight = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let full = |_| BatchError::QueueFull(self.name);
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight).map_err(full)?;
        let (call, answered) = PendingCall::new(self.name, members, room);
        self.queue.try_send(call).map_err(|_| BatchError::QueueFull(self.name))?;
        match timeout(CALL_TIMEOUT, answered).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => {
                Err(StoreError::Unavailable(format!("{} ended without an answer", self.name)).into())
            }
            Err(_) => {
                self.metrics.given_up();
                Err(StoreError::Unavailable(format!("{} not done within {CALL_TIMEOUT:?}", self.name)).into())
            }
        }
    }
}

/// Takes what has gathered whenever a worker is free, until the batcher is
/// dropped.
async fn dispatch<S: Statement>(mut calls: mpsc::Receiver<PendingCall<S>>, runner: Runner, limits: Limits) {
    let workers = Arc::new(Semaphore::new(limits.workers.into()));
    let runner = Arc::new(runner);
    while let Ok(worker) = Arc::clone(&workers).acquire_owned().await {
        let Some(first) = calls.recv().await else { return };
        let batch = gather(first, &mut calls, limits.batch_max);
        let runner = Arc::clone(&runner);
        tokio::spawn(async move {
            runner.run(batch).await;
            drop(worker);
        });
    }
}

/// `first` and the calls that wait behind it, up to `batch_max` members.
fn gather<S: Statement>(
    first: PendingCall<S>,
    calls: &mut mpsc::Receiver<PendingCall<S>>,
    batch_max: usize,
) -> Vec<PendingCall<S>> {
    let mut members = first.members.len();
    let mut batch = vec![first];
    while members < batch_max {
        let Ok(call) = calls.try_recv() else { break };
        members += call.members.len();
        batch.push(call);
    }
    batch
}
