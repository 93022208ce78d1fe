//! Running the statements of a batcher, and passing results to their callers.

use std::{ops::Range, slice, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{debug, info, warn};

use super::statement::Statement;
use crate::{
    clock::{Clock, Stopwatch},
    presence::Timestamp,
    store::{LATE_AFTER, STATEMENT_TIMEOUT, Store, StoreError},
    telemetry::{LogThrottle, QueueSpan, StatementMetrics, StatementSpan, Trace},
};

/// The timeout of a call, including its time in the queue.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(2_800);

/// The timeout of a caller's wait until its statement begins.
///
/// A statement that runs after its caller gave up could undo the caller's next write. The
/// caller must not give up before the store recognises the statement as late, or before the
/// statement times out.
const QUEUE_TIMEOUT: Duration = CALL_TIMEOUT.saturating_sub(LATE_AFTER).saturating_sub(STATEMENT_TIMEOUT);

/// The time without a failure after which the log reports that a statement succeeds again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// The results of a call: the `now` of its statement, and one result for each item.
pub type Results<S> = (Timestamp, Vec<<S as Statement>::Output>);

/// A call in the queue.
pub(super) struct PendingCall<S: Statement> {
    pub(super) items: Vec<S::Item>,
    /// The group of all items; `None` if they are of several.
    pub(super) group: Option<u32>,
    caller: Caller<S>,
    /// The span of the wait, if the request is traced.
    queued: Option<Box<QueueSpan>>,
    _permit: OwnedSemaphorePermit,
}

impl<S: Statement> PendingCall<S> {
    /// Creates a call that waits for `statement`, and the receiver of its results.
    pub(super) fn new(
        statement: &'static str,
        items: Vec<S::Item>,
        group: Option<u32>,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<Results<S>, StoreError>>) {
        let (sender, receiver) = oneshot::channel();
        let caller = Caller { sender, waiting: Stopwatch::start() };
        (Self { items, group, caller, queued: QueueSpan::start(statement), _permit: permit }, receiver)
    }
}

/// The caller of a call, which waits for the results.
struct Caller<S: Statement> {
    sender: oneshot::Sender<Result<Results<S>, StoreError>>,
    waiting: Stopwatch,
}

impl<S: Statement> Caller<S> {
    /// Whether a statement may still begin for this caller.
    fn has_time(&self) -> bool {
        self.waiting.elapsed() < QUEUE_TIMEOUT
    }

    /// Sends the results. A caller that stopped waiting misses them.
    fn respond(self, outcome: Result<Results<S>, StoreError>) {
        let _ = self.sender.send(outcome);
    }
}

/// A call whose statement runs.
struct RunningCall<S: Statement> {
    /// The range of the call's items among those of the statement.
    items: Range<usize>,
    caller: Caller<S>,
    /// The trace, if the request is traced.
    trace: Option<Trace>,
}

/// Runs the statements of one batcher.
pub(super) struct Runner {
    name: &'static str,
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: StatementMetrics,
    /// Limits the log of failed statements.
    throttle: LogThrottle,
    /// Limits the log of calls that wait too long in the queue.
    queue_throttle: LogThrottle,
}

impl Runner {
    pub(super) fn new(
        name: &'static str,
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: StatementMetrics,
    ) -> Self {
        Self {
            name,
            store: Arc::clone(store),
            clock: clock.clone(),
            metrics,
            throttle: LogThrottle::new(RECOVERED_AFTER),
            queue_throttle: LogThrottle::new(RECOVERED_AFTER),
        }
    }

    /// Runs a batch as one statement, and sends the results to its callers.
    pub(super) async fn run<S: Statement>(&self, batch: Vec<PendingCall<S>>) {
        let mut items = Vec::new();
        let mut calls: Vec<RunningCall<S>> = Vec::with_capacity(batch.len());
        for PendingCall { items: own, caller, queued, .. } in batch {
            let Some(caller) = self.if_in_time(caller) else { continue };
            let start = items.len();
            items.extend(own);
            let trace = queued.map(|queued| queued.finish());
            calls.push(RunningCall { items: start..items.len(), caller, trace });
        }
        if items.is_empty() {
            return;
        }
        match self.execute(&items, &calls).await {
            Ok((now, results)) => {
                let mut results = results.into_iter();
                for RunningCall { items, caller, .. } in calls {
                    caller.respond(Ok((now, results.by_ref().take(items.len()).collect())));
                }
            }
            Err(StoreError::Data(_)) if calls.len() > 1 => {
                for RunningCall { items: own, caller, trace } in calls {
                    let Some(caller) = self.if_in_time(caller) else { continue };
                    let alone = RunningCall { items: own.clone(), caller, trace };
                    let own = items.get(own).unwrap_or_default();
                    let outcome = self.execute(own, slice::from_ref(&alone)).await;
                    alone.caller.respond(outcome);
                }
            }
            Err(error) => {
                for call in calls {
                    call.caller.respond(Err(error.clone()));
                }
            }
        }
    }

    /// Returns the caller if it still waits and has time left. A caller without time left
    /// gets an error.
    fn if_in_time<S: Statement>(&self, caller: Caller<S>) -> Option<Caller<S>> {
        if caller.sender.is_closed() {
            return None;
        }
        if caller.has_time() {
            return Some(caller);
        }
        self.metrics.given_up();
        if self.queue_throttle.fails() {
            warn!(statement = self.name, timeout = ?QUEUE_TIMEOUT, "calls time out in the queue");
        }
        let text = format!("the statement did not begin within {QUEUE_TIMEOUT:?}");
        caller.respond(Err(StoreError::Unavailable(text)));
        None
    }

    /// Runs one statement. A conflict is retried once, if all callers have time left.
    async fn execute<S: Statement>(
        &self,
        items: &[S::Item],
        calls: &[RunningCall<S>],
    ) -> Result<Results<S>, StoreError> {
        let mut now = self.clock.now();
        let timer = self.metrics.start(items.len());
        let traces = calls.iter().filter_map(|call| call.trace.as_ref());
        let spans: Vec<StatementSpan> = traces.map(|trace| trace.statement(S::NAME, items.len())).collect();
        let mut outcome = S::execute(&*self.store, now, items).await;
        let has_time = || calls.iter().all(|call| call.caller.has_time());
        if matches!(outcome, Err(StoreError::Conflict(_))) && has_time() {
            now = self.clock.now();
            outcome = S::execute(&*self.store, now, items).await;
        }
        timer.finish(outcome.is_ok());
        for span in spans {
            span.finish(outcome.as_ref().err().map(StoreError::kind));
        }
        let statement = self.name;
        match &outcome {
            Ok(_) if self.throttle.succeeds() => info!(statement, "statement succeeds again"),
            Ok(_) => {}
            // The request that has the data logs the error.
            Err(error @ StoreError::Data(_)) => debug!(statement, %error, "statement failed"),
            Err(error) if self.throttle.fails() => {
                warn!(statement, %error, "statement failed; repeats within a minute are logged at debug");
            }
            Err(error) => debug!(statement, %error, "statement failed"),
        }
        Ok((now, outcome?))
    }
}
