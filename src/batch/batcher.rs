//! The queue and the dispatcher of one method of the store.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, iter,
    sync::Arc,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    runner::{CALL_TIMEOUT, PendingCall, Results, Runner},
    statement::Statement,
};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
    telemetry::{Metrics, StatementMetrics},
};

/// A call is large if it has more than this part of a batch's maximum.
const LARGE_PART: usize = 4;

/// The limits of a batcher.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of items in one statement. A single call may have more.
    pub batch_max: usize,
    /// The maximum number of waiting items.
    pub queue_max: usize,
    /// The maximum number of statements that run at the same time.
    pub concurrent_statements: u16,
}

impl Limits {
    /// The number of items above which a call is large.
    const fn large(self) -> usize {
        self.batch_max / LARGE_PART
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The queue has no space for the call's items.
    #[error("the queue of {0} is full")]
    QueueFull(&'static str),
    /// The store returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Collects calls of one method into statements.
pub struct Batcher<S: Statement> {
    /// The name of the statement in metrics and logs.
    name: &'static str,
    store: Arc<dyn Store>,
    queue: mpsc::Sender<PendingCall<S>>,
    metrics: StatementMetrics,
    /// One permit for each item that may wait.
    permits: Arc<Semaphore>,
}

impl<S: Statement> fmt::Debug for Batcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("statement", &self.name).finish_non_exhaustive()
    }
}

impl<S: Statement> Batcher<S> {
    /// Starts a dispatcher on the current runtime. It ends when the batcher is dropped.
    #[must_use]
    pub fn start(store: &Arc<dyn Store>, clock: &Clock, metrics: &Metrics, limits: Limits) -> Self {
        Self::start_as(S::NAME, store, clock, metrics, limits)
    }

    pub(super) fn start_as(
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
        let store = Arc::clone(store);
        Self { name, store, queue, metrics, permits: Arc::new(Semaphore::new(limits.queue_max)) }
    }

    /// Waits until the dispatcher ends, and returns the statement's name.
    pub async fn ended(&self) -> &'static str {
        self.queue.closed().await;
        self.name
    }

    /// Runs the statement for one `item` and returns its result.
    pub async fn call_one(&self, item: S::Item) -> Result<S::Output, BatchError> {
        let (_, mut results) = self.call(vec![item]).await?;
        results.pop().ok_or_else(|| StoreError::Data(format!("{} returned no result", self.name)).into())
    }

    /// Runs the statement for all `items`, together with other waiting calls. Returns their
    /// results in order, with the `now` of the statement.
    pub async fn call(&self, items: Vec<S::Item>) -> Result<Results<S>, BatchError> {
        let mut groups = items.iter().map(|item| S::group(&*self.store, item));
        let first = groups.next();
        let group = first.filter(|first| groups.all(|group| group == *first));
        let weight = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let full = |_| BatchError::QueueFull(self.name);
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(weight).map_err(full)?;
        let (call, results) = PendingCall::new(self.name, items, group, permit);
        self.queue.try_send(call).map_err(|_| BatchError::QueueFull(self.name))?;
        match timeout(CALL_TIMEOUT, results).await {
            Ok(Ok(results)) => Ok(results?),
            Ok(Err(_)) => {
                Err(StoreError::Unavailable(format!("{} ended without a result", self.name)).into())
            }
            Err(_) => {
                self.metrics.given_up();
                Err(StoreError::Unavailable(format!(
                    "{} did not complete within {CALL_TIMEOUT:?}",
                    self.name
                ))
                .into())
            }
        }
    }
}

/// Takes the next batch whenever another statement may run, until the batcher is dropped.
async fn dispatch<S: Statement>(mut calls: mpsc::Receiver<PendingCall<S>>, runner: Runner, limits: Limits) {
    let permits = Arc::new(Semaphore::new(limits.concurrent_statements.into()));
    let runner = Arc::new(runner);
    let mut waiting = VecDeque::new();
    let is_large = |call: &PendingCall<S>| call.items.len() > limits.large();
    let mut after_large = false;
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        if waiting.is_empty() {
            let Some(call) = calls.recv().await else { return };
            waiting.push_back(call);
        }
        waiting.extend(iter::from_fn(|| calls.try_recv().ok()));
        let small = after_large.then(|| waiting.iter().position(|call| !is_large(call))).flatten();
        let Some(first) = waiting.remove(small.unwrap_or_default()) else { continue };
        after_large = is_large(&first);
        let batch = collect(first, &mut waiting, limits);
        let runner = Arc::clone(&runner);
        tokio::spawn(async move {
            runner.run(batch).await;
            drop(permit);
        });
    }
}

/// The values that a batch writes, by row.
#[derive(Default)]
struct Writes {
    now: HashMap<u64, u64>,
    /// The rows that a later batch writes. Calls on them stay in order.
    later: HashSet<u64>,
}

impl Writes {
    /// Adds the writes of a call that fits into the batch, unless it writes another value to a row of
    /// the batch. Returns whether the call belongs to the batch.
    fn add<S: Statement>(&mut self, call: &PendingCall<S>, call_fits: bool) -> bool {
        let writes: Vec<_> = call.items.iter().filter_map(S::write_of).collect();
        let fits = |(row, value): &(u64, u64)| {
            !self.later.contains(row) && self.now.get(row).is_none_or(|written| written == value)
        };
        let belongs = call_fits && writes.iter().all(fits);
        if belongs {
            self.now.extend(writes);
        } else {
            self.later.extend(writes.into_iter().map(|(row, _)| row));
        }
        belongs
    }
}

/// Returns `first` and the calls of its group that wait behind it, up to `batch_max` items. The other
/// calls stay in `waiting`, in order: those of other groups, those that do not fit, and those that write
/// another value to a row. A call of several groups is a batch of its own.
fn collect<S: Statement>(
    first: PendingCall<S>,
    waiting: &mut VecDeque<PendingCall<S>>,
    limits: Limits,
) -> Vec<PendingCall<S>> {
    let Limits { batch_max, .. } = limits;
    let (mut items, group) = (first.items.len(), first.group);
    let call_max = if items > limits.large() { batch_max } else { limits.large() };
    let mut writes = Writes::default();
    writes.add(&first, true);
    let mut batch = vec![first];
    let mut others = VecDeque::new();
    while group.is_some()
        && items < batch_max
        && let Some(call) = waiting.pop_front()
    {
        let fits = call.items.len() <= call_max && items + call.items.len() <= batch_max;
        if call.group == group && writes.add(&call, fits) {
            items += call.items.len();
            batch.push(call);
        } else {
            others.push_back(call);
        }
    }
    others.append(waiting);
    *waiting = others;
    batch
}
