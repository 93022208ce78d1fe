//! Running the statements of a batcher.

use std::{ops::Range, slice, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{debug, info, warn};

use super::{CALL_TIMEOUT, Statement};
use crate::{
    clock::{Clock, Stopwatch},
    presence::Timestamp,
    store::{LATE_AFTER, Store, StoreError},
    telemetry::{LogThrottle, QueueSpan, StatementMetrics, StatementSpan, Trace},
};

/// How long a caller waits until its statement begins. What is done for one that has
/// gone could undo what it does next: it does nothing before the store can tell that
/// the statement is late.
const QUEUE_TIMEOUT: Duration = CALL_TIMEOUT.saturating_sub(LATE_AFTER);

/// How long a statement must not have failed for the log to say that it works again.
const QUIET: Duration = Duration::from_secs(10);

/// What a caller gets: the instant for which it holds, and an answer for each
/// member.
pub(super) type Results<S> = (Timestamp, Vec<<S as Statement>::Output>);

/// A call that waits for its turn.
pub(super) struct PendingCall<S: Statement> {
    pub(super) members: Vec<S::Member>,
    caller: Caller<S>,
    /// If its request is traced.
    queued: Option<Box<QueueSpan>>,
    _room: OwnedSemaphorePermit,
}

impl<S: Statement> PendingCall<S> {
    /// A call that begins to wait for `statement`, and where its answer comes.
    pub(super) fn new(
        statement: &'static str,
        members: Vec<S::Member>,
        room: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<Results<S>, StoreError>>) {
        let (answer, answered) = oneshot::channel();
        let caller = Caller { answer, waits: Stopwatch::start() };
        (Self { members, caller, queued: QueueSpan::start(statement), _room: room }, answered)
    }
}

/// Who waits for an answer.
struct Caller<S: Statement> {
    answer: oneshot::Sender<Result<Results<S>, StoreError>>,
    waits: Stopwatch,
}

impl<S: Statement> Caller<S> {
    /// Whether a statement may still begin for it.
    fn has_time(&self) -> bool {
        self.waits.elapsed() < QUEUE_TIMEOUT
    }

    /// Answers it, unless it has gone.
    fn answer(self, outcome: Result<Results<S>, StoreError>) {
        let _ = self.answer.send(outcome);
    }
}

/// A caller whose statement runs.
struct Waiting<S: Statement> {
    /// Its members among those of the statement.
    members: Range<usize>,
    caller: Caller<S>,
    /// If its request is traced.
    trace: Option<Trace>,
}

/// Runs the statements of one batcher.
pub(super) struct Runner {
    name: &'static str,
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: StatementMetrics,
    /// With the statement.
    throttle: LogThrottle,
    /// With calls that wait too long for it.
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
            throttle: LogThrottle::new(QUIET),
            queue_throttle: LogThrottle::new(QUIET),
        }
    }

    /// Runs a batch as one statement, and answers its callers.
    pub(super) async fn run<S: Statement>(&self, batch: Vec<PendingCall<S>>) {
        let mut members = Vec::new();
        let mut callers: Vec<Waiting<S>> = Vec::with_capacity(batch.len());
        for PendingCall { members: own, caller, queued, _room } in batch {
            let Some(caller) = self.in_time(caller) else { continue };
            let start = members.len();
            members.extend(own);
            let trace = queued.map(|queued| queued.finish());
            callers.push(Waiting { members: start..members.len(), caller, trace });
        }
        if members.is_empty() {
            return;
        }
        match self.execute(&members, &callers).await {
            Ok((now, answers)) => {
                let mut answers = answers.into_iter();
                for Waiting { members, caller, .. } in callers {
                    caller.answer(Ok((now, answers.by_ref().take(members.len()).collect())));
                }
            }
            Err(StoreError::Data(_)) if callers.len() > 1 => {
                for Waiting { members: own, caller, trace } in callers {
                    let Some(caller) = self.in_time(caller) else { continue };
                    let alone = Waiting { members: own.clone(), caller, trace };
                    let own = members.get(own).unwrap_or_default();
                    let outcome = self.execute(own, slice::from_ref(&alone)).await;
                    alone.caller.answer(outcome);
                }
            }
            Err(error) => {
                for waiting in callers {
                    waiting.caller.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Refuses a caller that has waited too long; `None`, too, if it has gone.
    fn in_time<S: Statement>(&self, caller: Caller<S>) -> Option<Caller<S>> {
        if caller.answer.is_closed() {
            return None;
        }
        if caller.has_time() {
            return Some(caller);
        }
        self.metrics.given_up();
        if self.queue_throttle.fails() {
            let statement = self.name;
            warn!(statement, "calls are given up: their turn does not come within {QUEUE_TIMEOUT:?}");
        }
        let text = format!("its turn did not come within {QUEUE_TIMEOUT:?}");
        caller.answer(Err(StoreError::Unavailable(text)));
        None
    }

    /// One statement; a conflict is tried once more, if there is time.
    async fn execute<S: Statement>(
        &self,
        members: &[S::Member],
        callers: &[Waiting<S>],
    ) -> Result<Results<S>, StoreError> {
        let now = self.clock.now();
        let timer = self.metrics.start(members.len());
        let traces = callers.iter().filter_map(|waiting| waiting.trace.as_ref());
        let spans: Vec<StatementSpan> = traces.map(|trace| trace.statement(S::NAME, members.len())).collect();
        let mut outcome = S::execute(&*self.store, now, members).await;
        let has_time = || callers.iter().all(|waiting| waiting.caller.has_time());
        if matches!(outcome, Err(StoreError::Conflict(_))) && has_time() {
            outcome = S::execute(&*self.store, now, members).await;
        }
        timer.finish(outcome.is_ok());
        for span in spans {
            span.finish(outcome.as_ref().err().map(StoreError::kind));
        }
        let statement = self.name;
        match &outcome {
            Ok(_) if self.throttle.succeeds() => info!(statement, "works again"),
            Ok(_) => {}
            // Those whose data it is are told, and logged.
            Err(error @ StoreError::Data(_)) => debug!(statement, %error, "failed"),
            Err(error) if self.throttle.fails() => {
                warn!(statement, %error, "failed; more within a minute is logged at debug");
            }
            Err(error) => debug!(statement, %error, "failed"),
        }
        Ok((now, outcome?))
    }
}
