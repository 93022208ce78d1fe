//! Tests of the batcher, with a store that the test controls.

mod fake;

pub use fake::FakeStore;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderMap;
use presenced::{
    batch::{BatchError, Batches, Limits},
    clock::{Clock, ManualClock, Stopwatch},
    presence::{Pair, Timestamp},
    store::{ClearOutcome, Store, StoreError, UserChange},
    telemetry::{Api, Metrics, RequestTimer, Traces},
};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, error::TryRecvError},
    },
    task::{JoinHandle, JoinSet, yield_now},
};

use crate::{
    conformance::{HOUR, IN_A_CALL, clears, key, set, update},
    support::{collector::Collector, server::START, wait::pass_time},
};

struct Fixture {
    store: Arc<FakeStore>,
    clock: ManualClock,
    batches: Arc<Batches>,
    metrics: Metrics,
    started: mpsc::Receiver<Vec<String>>,
}

type Call = JoinHandle<Result<Timestamp, BatchError>>;

impl Fixture {
    fn new(batch_max: usize, concurrent_statements: u16, queue_max: usize) -> Self {
        let (sender, started) = mpsc::channel(1_000);
        let store = Arc::new(FakeStore {
            gate: Semaphore::new(0),
            takes: Duration::ZERO,
            errors: Mutex::default(),
            started: sender,
            listed: 0,
        });
        let clock = ManualClock::new(START);
        let limits = Limits { batch_max, queue_max, concurrent_statements };
        let dynamic: Arc<dyn Store> = Arc::clone(&store) as _;
        let metrics = Metrics::new();
        let batches = Batches::start(&dynamic, &Clock::Manual(clock.clone()), &metrics, limits);
        Self { store, clock, batches: Arc::new(batches), metrics, started }
    }

    /// Sets a session of each user in one call. The call is in the queue when this returns.
    async fn set(&self, users: &[&str], pair: Pair) -> Call {
        let batches = Arc::clone(&self.batches);
        let sets = users.iter().map(|user| set(user, "a", pair, HOUR)).collect();
        let call = tokio::spawn(async move { batches.set_sessions.call(sets).await.map(|(now, _)| now) });
        yield_now().await;
        call
    }

    /// Returns the number of calls that timed out.
    fn given_up(&self) -> String {
        let name = "presence_calls_given_up_total{statement=\"set_sessions\"} ";
        let metrics = self.metrics.encode();
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    }

    fn release(&self, statements: usize) {
        self.store.gate.add_permits(statements);
    }

    /// Lets all tasks run until they wait, and checks that no statement started.
    async fn starts_nothing(&mut self) {
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(self.started.try_recv(), Err(TryRecvError::Empty));
    }
}

#[tokio::test]
async fn a_call_on_an_idle_server_runs_at_once() {
    let mut fixture = Fixture::new(10, 1, 10);
    fixture.release(1);
    let call = fixture.set(&["u"], IN_A_CALL).await;
    assert_eq!(call.await.unwrap(), Ok(START));
    assert_eq!(fixture.started.recv().await.unwrap(), ["u"]);
}

#[tokio::test]
async fn calls_collect_while_a_statement_runs_and_share_one_clock_reading() {
    let mut fixture = Fixture::new(3, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    let mut calls = Vec::new();
    for user in ["b", "c", "d", "e"] {
        calls.push(fixture.set(&[user], IN_A_CALL).await);
    }
    fixture.clock.advance(HOUR);
    fixture.release(1);
    assert_eq!(first.await.unwrap(), Ok(START));
    assert_eq!(fixture.started.recv().await.unwrap(), ["b", "c", "d"], "at most three");
    fixture.starts_nothing().await;
    assert!(!calls[0].is_finished(), "no call returns before its statement");
    fixture.release(2);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(START + HOUR));
    }
    assert_eq!(fixture.started.recv().await.unwrap(), ["e"]);
}

/// The history then has both values.
#[tokio::test]
async fn a_batch_writes_one_value_to_a_row() {
    let mut fixture = Fixture::new(10, 1, 10);
    let mut calls = vec![fixture.set(&["a"], IN_A_CALL).await];
    for (user, pair) in
        [("b", IN_A_CALL), ("b", Pair::AWAY), ("c", IN_A_CALL), ("b", IN_A_CALL), ("c", IN_A_CALL)]
    {
        calls.push(fixture.set(&[user], pair).await);
    }
    fixture.release(10);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(START));
    }
    for expected in [&["a"][..], &["b", "c", "c"], &["b"], &["b"]] {
        assert_eq!(fixture.started.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_call_joins_a_batch_only_if_its_items_fit() {
    let mut fixture = Fixture::new(4, 1, 20);
    let mut calls = vec![fixture.set(&["a"], IN_A_CALL).await];
    for users in [&["b"][..], &["c", "d", "e", "f", "g"], &["h"]] {
        calls.push(fixture.set(users, IN_A_CALL).await);
    }
    fixture.release(10);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(START));
    }
    for expected in [&["a"][..], &["b", "h"], &["c", "d", "e", "f", "g"]] {
        assert_eq!(fixture.started.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn small_calls_wait_for_one_large_call_at_most() {
    let mut fixture = Fixture::new(4, 1, 40);
    let mut calls = Vec::new();
    for users in [&["a", "b", "c"][..], &["d", "e", "f"], &["g", "h", "i"], &["j"], &["k"]] {
        calls.push(fixture.set(users, IN_A_CALL).await);
    }
    fixture.release(10);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(START));
    }
    for expected in [&["a", "b", "c"][..], &["j", "k"], &["d", "e", "f"], &["g", "h", "i"]] {
        assert_eq!(fixture.started.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_number_of_concurrent_statements_is_limited() {
    let mut fixture = Fixture::new(10, 2, 10);
    let mut calls = Vec::new();
    for user in ["a", "b", "c"] {
        calls.push(fixture.set(&[user], IN_A_CALL).await);
        yield_now().await;
    }
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    assert_eq!(fixture.started.recv().await.unwrap(), ["b"]);
    fixture.starts_nothing().await;
    fixture.release(1);
    assert_eq!(fixture.started.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn a_caller_that_left_before_its_statement_is_skipped() {
    let mut fixture = Fixture::new(10, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    let leaves = fixture.set(&["b"], IN_A_CALL).await;
    let stays = fixture.set(&["c"], IN_A_CALL).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    fixture.release(2);
    assert_eq!((first.await.unwrap(), stays.await.unwrap()), (Ok(START), Ok(START)));
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    assert_eq!(fixture.started.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn a_caller_that_leaves_later_does_not_stop_its_statement() {
    let mut fixture = Fixture::new(10, 1, 10);
    let leaves = fixture.set(&["a"], IN_A_CALL).await;
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    leaves.abort();
    let next = fixture.set(&["b"], IN_A_CALL).await;
    fixture.release(2);
    assert_eq!(next.await.unwrap(), Ok(START));
    assert_eq!(fixture.store.gate.available_permits(), 0, "both statements completed");
}

#[tokio::test]
async fn invalid_data_fails_only_its_own_call() {
    let mut fixture = Fixture::new(10, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    let good = fixture.set(&["b", "c"], IN_A_CALL).await;
    let bad = fixture.set(&["d", "e"], Pair::OFFLINE).await;
    let also_good = fixture.set(&["f"], IN_A_CALL).await;
    fixture.release(10);
    assert_eq!((first.await.unwrap(), good.await.unwrap()), (Ok(START), Ok(START)));
    assert!(matches!(bad.await.unwrap(), Err(BatchError::Store(StoreError::Data(_)))));
    assert_eq!(also_good.await.unwrap(), Ok(START));
    let statements: Vec<_> =
        std::iter::from_fn(|| fixture.started.try_recv().ok()).map(|users| users.concat()).collect();
    assert_eq!(statements, ["a", "bcdef", "bc", "de", "f"], "each call alone and whole");
}

#[tokio::test]
async fn a_conflict_is_retried_only_once() {
    let fixture = Fixture::new(10, 1, 10);
    fixture.release(10);
    let conflict = || StoreError::Conflict("deadlock".into());
    fixture.store.errors.lock().unwrap().extend([conflict()]);
    assert_eq!(fixture.set(&["a"], IN_A_CALL).await.await.unwrap(), Ok(START));
    fixture.store.errors.lock().unwrap().extend([conflict(), conflict()]);
    assert_eq!(fixture.set(&["a"], IN_A_CALL).await.await.unwrap(), Err(conflict().into()));
}

#[tokio::test]
async fn an_unavailable_store_fails_the_whole_batch_at_once() {
    let mut fixture = Fixture::new(10, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    let second = fixture.set(&["b"], IN_A_CALL).await;
    let third = fixture.set(&["c"], IN_A_CALL).await;
    let unavailable = || StoreError::Unavailable("unavailable".into());
    fixture.store.errors.lock().unwrap().extend([unavailable(), unavailable()]);
    fixture.release(10);
    for call in [first, second, third] {
        assert_eq!(call.await.unwrap(), Err(unavailable().into()));
    }
    fixture.started.close();
    assert_eq!(fixture.started.len(), 2);
}

#[tokio::test]
async fn each_traced_call_has_a_span_of_the_shared_failed_statement() {
    let collector = Collector::start().await;
    let traces = Traces::export(&collector.url, 1.0, "fake").unwrap();
    let mut fixture = Fixture::new(10, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    let mut calls = JoinSet::new();
    for user in ["b", "c"] {
        let (batches, traces) = (Arc::clone(&fixture.batches), traces.clone());
        calls.spawn(async move {
            let timer = RequestTimer::start(&Metrics::new(), &traces, Api::Grpc, &HeaderMap::new());
            let call = batches.set_sessions.call_one(set(user, "a", IN_A_CALL, HOUR));
            let unavailable = StoreError::Unavailable("unavailable".into());
            assert_eq!(timer.work(pin!(call)).await, Err(unavailable.into()));
            timer.finish("UNAVAILABLE", 14);
        });
        yield_now().await;
    }
    first.abort();
    let unavailable = || StoreError::Unavailable("unavailable".into());
    fixture.store.errors.lock().unwrap().extend([unavailable(), unavailable()]);
    fixture.release(10);
    calls.join_all().await;
    traces.stop().await;

    let spans = collector.spans();
    let statements: Vec<_> = spans.iter().filter(|span| span.name == "set_sessions").collect();
    assert_eq!(statements.len(), 2, "{spans:#?}");
    for statement in statements {
        assert!(statement.failed);
        assert_eq!(statement.attributes["error.type"], "unavailable");
        assert_eq!(statement.attributes["db.operation.batch.size"], "2");
        let request = spans.iter().find(|span| span.span_id == statement.parent_id).unwrap();
        assert!(request.failed && request.parent_id.is_empty());
        assert_eq!(request.attributes["error.type"], "UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_calls_until_it_has_space() {
    let mut fixture = Fixture::new(10, 1, 3);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    let waits = fixture.set(&["b", "c"], IN_A_CALL).await;
    let refused = fixture.set(&["d", "e"], IN_A_CALL).await;
    assert_eq!(refused.await.unwrap(), Err(BatchError::QueueFull("set_sessions")));
    let fits = fixture.set(&["f"], IN_A_CALL).await;
    fixture.release(10);
    for call in [first, waits, fits] {
        assert_eq!(call.await.unwrap(), Ok(START));
    }
    assert_eq!(fixture.set(&["g", "h", "i"], IN_A_CALL).await.await.unwrap(), Ok(START));
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_longer_than_three_seconds_including_the_queue() {
    let fixture = Fixture::new(10, 1, 10);
    let stopwatch = Stopwatch::start();
    let first = fixture.set(&["a"], IN_A_CALL).await;
    let queued = fixture.set(&["b"], IN_A_CALL).await;
    for call in [first, queued] {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, BatchError::Store(StoreError::Unavailable(_))), "{error:?}");
    }
    assert!(stopwatch.elapsed() < Duration::from_secs(3));
    assert_eq!(fixture.given_up(), "2");
}

/// A statement that completes after its caller gave up could undo the caller's next write.
#[tokio::test]
async fn no_statement_begins_for_a_caller_that_may_give_up_before_it_ends() {
    let mut fixture = Fixture::new(10, 1, 10);
    let first = fixture.set(&["a"], IN_A_CALL).await;
    let waits = fixture.set(&["b"], IN_A_CALL).await;
    pass_time(Duration::from_millis(900)).await;
    let fresh = fixture.set(&["c"], IN_A_CALL).await;
    fixture.release(2);
    assert_eq!((first.await.unwrap(), fresh.await.unwrap()), (Ok(START), Ok(START)));
    let error = waits.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("the statement did not begin within 800ms"), "{error}");
    assert_eq!(fixture.given_up(), "1");
    assert_eq!(fixture.started.recv().await.unwrap(), ["a"]);
    assert_eq!(fixture.started.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn the_first_of_several_clears_in_a_batch_ends_the_session() {
    let fixture = Fixture::new(10, 1, 10);
    let clear = || {
        let batches = Arc::clone(&fixture.batches);
        tokio::spawn(async move { batches.clear_sessions.call(clears(&[key("u", "a")])).await.unwrap().1 })
    };
    let other = clear();
    yield_now().await;
    yield_now().await;
    let (first, second) = (clear(), clear());
    yield_now().await;
    fixture.release(10);
    assert_eq!(
        [other.await.unwrap(), first.await.unwrap(), second.await.unwrap()],
        [[ClearOutcome::Cleared], [ClearOutcome::Cleared], [ClearOutcome::NotLive]]
    );
}

#[tokio::test]
async fn the_rare_methods_run_one_call_at_a_time() {
    let mut fixture = Fixture::new(100, 4, 100);
    for user in ["a", "b", "c"] {
        let batches = Arc::clone(&fixture.batches);
        let update = update(user, UserChange::StatusMessage(None));
        tokio::spawn(async move { batches.update_user.call_one(update).await });
    }
    for user in ["a", "b", "c"] {
        assert_eq!(fixture.started.recv().await.unwrap(), [user]);
        fixture.starts_nothing().await;
        fixture.release(1);
    }
}
