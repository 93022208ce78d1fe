//! The natural batcher, over a store that does what the test says.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use http::HeaderMap;
use presenced::{
    batch::{BatchError, Batches, Limits},
    clock::{Clock, ManualClock, Stopwatch},
    presence::{Pair, Timestamp, User, UserId},
    store::{Chunk, ListUsers, PoolUse, SessionKey, SetSession, Store, StoreError, UpdateUser, UserKey},
    telemetry::{Api, Metrics, RequestTimer, Traces},
};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, error::TryRecvError},
    },
    task::{JoinHandle, JoinSet, yield_now},
};
use uuid::Uuid;

use crate::{
    conformance::{HOUR, IN_A_CALL, key, set},
    support::{collector::Collector, server::START, wait::pass_time},
};

/// A store whose statements wait to be let through, and fail as told.
#[derive(Debug)]
struct FakeStore {
    /// A permit lets one statement through.
    gate: Semaphore,
    /// What comes of the next statements; success when empty.
    outcomes: Mutex<VecDeque<StoreError>>,
    /// The user ids of the members of each statement that has begun.
    begun: mpsc::Sender<Vec<String>>,
}

impl FakeStore {
    async fn statement(&self, users: Vec<String>) -> Result<(), StoreError> {
        self.begun.try_send(users).unwrap();
        self.gate.acquire().await.unwrap().forget();
        self.outcomes.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Store for FakeStore {
    /// Refuses `Offline`, as a database's constraint would.
    async fn set_sessions(&self, _: Timestamp, sets: &[SetSession]) -> Result<(), StoreError> {
        self.statement(sets.iter().map(|set| set.key.user.user_id.to_string()).collect()).await?;
        if sets.iter().any(|set| set.pair == Pair::OFFLINE) {
            return Err(StoreError::Data("a bad row".into()));
        }
        Ok(())
    }

    async fn clear_sessions(&self, _: Timestamp, keys: &[SessionKey]) -> Result<Vec<bool>, StoreError> {
        self.statement(keys.iter().map(|key| key.user.user_id.to_string()).collect()).await?;
        Ok((0..keys.len()).map(|place| place == 0).collect())
    }

    async fn extend_sessions(&self, _: Timestamp, held: &[SetSession]) -> Result<Vec<bool>, StoreError> {
        self.statement(held.iter().map(|set| set.key.user.user_id.to_string()).collect()).await?;
        Ok(vec![true; held.len()])
    }

    async fn load(&self, _: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError> {
        self.statement(users.iter().map(|user| user.user_id.to_string()).collect()).await?;
        Ok(vec![User::default(); users.len()])
    }

    async fn update_user(&self, _: Timestamp, update: &UpdateUser) -> Result<(), StoreError> {
        self.statement(vec![update.user.user_id.to_string()]).await
    }

    async fn list_users(&self, _: Timestamp, _: &ListUsers) -> Result<Vec<UserId>, StoreError> {
        self.statement(Vec::new()).await?;
        Ok(Vec::new())
    }

    async fn count_users(&self, _: Timestamp, _: &Uuid) -> Result<u64, StoreError> {
        self.statement(Vec::new()).await?;
        Ok(0)
    }

    async fn chunk_end(&self, _: Option<&SessionKey>, _: u32) -> Result<Option<SessionKey>, StoreError> {
        Ok(None)
    }

    async fn remove_ended(&self, _: Timestamp, _: &Chunk) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        Ok(START)
    }

    fn pool_use(&self) -> PoolUse {
        PoolUse::default()
    }

    async fn close(&self) {}
}

struct Bench {
    store: Arc<FakeStore>,
    clock: ManualClock,
    batches: Arc<Batches>,
    metrics: Metrics,
    begun: mpsc::Receiver<Vec<String>>,
}

type Call = JoinHandle<Result<Timestamp, BatchError>>;

impl Bench {
    fn new(batch_max: usize, workers: u16, queue_max: usize) -> Self {
        let (sender, begun) = mpsc::channel(1_000);
        let store =
            Arc::new(FakeStore { gate: Semaphore::new(0), outcomes: Mutex::default(), begun: sender });
        let clock = ManualClock::new(START);
        let limits = Limits { batch_max, queue_max, workers };
        let dynamic: Arc<dyn Store> = Arc::clone(&store) as _;
        let metrics = Metrics::new();
        let batches = Batches::start(&dynamic, &Clock::Manual(clock.clone()), &metrics, limits);
        Self { store, clock, batches: Arc::new(batches), metrics, begun }
    }

    /// Sets a session of each user, in one call; it is in the queue when this
    /// returns.
    async fn set(&self, users: &[&str], pair: Pair) -> Call {
        let batches = Arc::clone(&self.batches);
        let sets = users.iter().map(|user| set(user, "a", pair, HOUR)).collect();
        let call = tokio::spawn(async move { batches.set_sessions.call(sets).await.map(|(now, _)| now) });
        yield_now().await;
        call
    }

    /// How many calls were given up.
    fn given_up(&self) -> String {
        let name = "presence_calls_given_up_total{statement=\"set_sessions\"} ";
        let metrics = self.metrics.encode();
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    }

    fn let_through(&self, statements: usize) {
        self.store.gate.add_permits(statements);
    }

    /// Lets all tasks run until they wait. None of them begins a statement.
    async fn begins_nothing(&mut self) {
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(self.begun.try_recv(), Err(TryRecvError::Empty));
    }
}

#[tokio::test]
async fn a_call_on_an_idle_server_waits_for_nobody() {
    let mut bench = Bench::new(10, 1, 10);
    bench.let_through(1);
    let call = bench.set(&["u"], IN_A_CALL).await;
    assert_eq!(call.await.unwrap(), Ok(START));
    assert_eq!(bench.begun.recv().await.unwrap(), ["u"]);
}

#[tokio::test]
async fn calls_gather_while_a_statement_runs_and_the_clock_is_read_once_for_them() {
    let mut bench = Bench::new(3, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    let mut calls = Vec::new();
    for user in ["b", "c", "d", "e"] {
        calls.push(bench.set(&[user], IN_A_CALL).await);
    }
    bench.clock.advance(HOUR);
    bench.let_through(1);
    assert_eq!(first.await.unwrap(), Ok(START));
    assert_eq!(bench.begun.recv().await.unwrap(), ["b", "c", "d"], "three at most");
    bench.begins_nothing().await;
    assert!(!calls[0].is_finished(), "nobody is answered before the statement ended");
    bench.let_through(2);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(START + HOUR));
    }
    assert_eq!(bench.begun.recv().await.unwrap(), ["e"]);
}

#[tokio::test]
async fn as_many_statements_run_at_once_as_there_are_workers() {
    let mut bench = Bench::new(10, 2, 10);
    let mut calls = Vec::new();
    for user in ["a", "b", "c"] {
        calls.push(bench.set(&[user], IN_A_CALL).await);
        yield_now().await;
    }
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    assert_eq!(bench.begun.recv().await.unwrap(), ["b"]);
    bench.begins_nothing().await;
    bench.let_through(1);
    assert_eq!(bench.begun.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn a_caller_that_went_before_its_batch_is_skipped() {
    let mut bench = Bench::new(10, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    let gone = bench.set(&["b"], IN_A_CALL).await;
    let stays = bench.set(&["c"], IN_A_CALL).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    bench.let_through(2);
    assert_eq!((first.await.unwrap(), stays.await.unwrap()), (Ok(START), Ok(START)));
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    assert_eq!(bench.begun.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn a_caller_that_goes_later_does_not_stop_its_statement() {
    let mut bench = Bench::new(10, 1, 10);
    let gone = bench.set(&["a"], IN_A_CALL).await;
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    gone.abort();
    let next = bench.set(&["b"], IN_A_CALL).await;
    bench.let_through(2);
    assert_eq!(next.await.unwrap(), Ok(START));
    assert_eq!(bench.store.gate.available_permits(), 0, "both statements ran to their end");
}

#[tokio::test]
async fn bad_data_hurts_only_its_owner() {
    let mut bench = Bench::new(10, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    let good = bench.set(&["b", "c"], IN_A_CALL).await;
    let bad = bench.set(&["d", "e"], Pair::OFFLINE).await;
    let also_good = bench.set(&["f"], IN_A_CALL).await;
    bench.let_through(10);
    assert_eq!((first.await.unwrap(), good.await.unwrap()), (Ok(START), Ok(START)));
    assert!(matches!(bad.await.unwrap(), Err(BatchError::Store(StoreError::Data(_)))));
    assert_eq!(also_good.await.unwrap(), Ok(START));
    let statements: Vec<_> =
        std::iter::from_fn(|| bench.begun.try_recv().ok()).map(|users| users.concat()).collect();
    assert_eq!(statements, ["a", "bcdef", "bc", "de", "f"], "each caller by itself, whole");
}

#[tokio::test]
async fn a_conflict_is_tried_once_more_and_no_more() {
    let bench = Bench::new(10, 1, 10);
    bench.let_through(10);
    let conflict = || StoreError::Conflict("deadlock".into());
    bench.store.outcomes.lock().unwrap().extend([conflict()]);
    assert_eq!(bench.set(&["a"], IN_A_CALL).await.await.unwrap(), Ok(START));
    bench.store.outcomes.lock().unwrap().extend([conflict(), conflict()]);
    assert_eq!(bench.set(&["a"], IN_A_CALL).await.await.unwrap(), Err(conflict().into()));
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_whole_batch_at_once() {
    let mut bench = Bench::new(10, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    let second = bench.set(&["b"], IN_A_CALL).await;
    let third = bench.set(&["c"], IN_A_CALL).await;
    let away = || StoreError::Unavailable("away".into());
    bench.store.outcomes.lock().unwrap().extend([away(), away()]);
    bench.let_through(10);
    for call in [first, second, third] {
        assert_eq!(call.await.unwrap(), Err(away().into()));
    }
    bench.begun.close();
    assert_eq!(bench.begun.len(), 2);
}

#[tokio::test]
async fn each_traced_call_shows_the_statement_it_shared_and_that_it_failed() {
    let collector = Collector::start().await;
    let traces = Traces::export(&collector.url, 1.0, "fake").unwrap();
    let mut bench = Bench::new(10, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    let mut calls = JoinSet::new();
    for user in ["b", "c"] {
        let (batches, traces) = (Arc::clone(&bench.batches), traces.clone());
        calls.spawn(async move {
            let timer = RequestTimer::start(&Metrics::new(), &traces, Api::Grpc, &HeaderMap::new());
            let call = batches.set_sessions.call_one(set(user, "a", IN_A_CALL, HOUR));
            let away = StoreError::Unavailable("away".into());
            assert_eq!(timer.work(pin!(call)).await, Err(away.into()));
            timer.finish("UNAVAILABLE", 14);
        });
        yield_now().await;
    }
    first.abort();
    let away = || StoreError::Unavailable("away".into());
    bench.store.outcomes.lock().unwrap().extend([away(), away()]);
    bench.let_through(10);
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
async fn a_full_queue_refuses_and_has_room_again_later() {
    let mut bench = Bench::new(10, 1, 3);
    let first = bench.set(&["a"], IN_A_CALL).await;
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    let waits = bench.set(&["b", "c"], IN_A_CALL).await;
    let refused = bench.set(&["d", "e"], IN_A_CALL).await;
    assert_eq!(refused.await.unwrap(), Err(BatchError::QueueFull("set_sessions")));
    let fits = bench.set(&["f"], IN_A_CALL).await;
    bench.let_through(10);
    for call in [first, waits, fits] {
        assert_eq!(call.await.unwrap(), Ok(START));
    }
    assert_eq!(bench.set(&["g", "h", "i"], IN_A_CALL).await.await.unwrap(), Ok(START));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_three_seconds_the_queue_included() {
    let bench = Bench::new(10, 1, 10);
    let stopwatch = Stopwatch::start();
    let first = bench.set(&["a"], IN_A_CALL).await;
    let queued = bench.set(&["b"], IN_A_CALL).await;
    for call in [first, queued] {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, BatchError::Store(StoreError::Unavailable(_))), "{error:?}");
    }
    assert!(stopwatch.elapsed() < Duration::from_secs(3));
    assert_eq!(bench.given_up(), "2");
}

/// Done after its caller gave up it could undo what the caller did next.
#[tokio::test]
async fn nothing_begins_for_a_caller_that_may_give_up_before_it_is_done() {
    let mut bench = Bench::new(10, 1, 10);
    let first = bench.set(&["a"], IN_A_CALL).await;
    let waits = bench.set(&["b"], IN_A_CALL).await;
    pass_time(Duration::from_millis(1_600)).await;
    let fresh = bench.set(&["c"], IN_A_CALL).await;
    bench.let_through(2);
    assert_eq!((first.await.unwrap(), fresh.await.unwrap()), (Ok(START), Ok(START)));
    let error = waits.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("its turn did not come within 1.5s"), "{error}");
    assert_eq!(bench.given_up(), "1");
    assert_eq!(bench.begun.recv().await.unwrap(), ["a"]);
    assert_eq!(bench.begun.recv().await.unwrap(), ["c"]);
}

#[tokio::test]
async fn of_clears_in_one_batch_the_first_ends_the_session() {
    let bench = Bench::new(10, 1, 10);
    let clear = || {
        let batches = Arc::clone(&bench.batches);
        tokio::spawn(async move { batches.clear_sessions.call(vec![key("u", "a")]).await.unwrap().1 })
    };
    let other = clear();
    yield_now().await;
    yield_now().await;
    let (first, second) = (clear(), clear());
    yield_now().await;
    bench.let_through(10);
    assert_eq!(
        [other.await.unwrap(), first.await.unwrap(), second.await.unwrap()],
        [[true], [true], [false]]
    );
}

#[tokio::test]
async fn the_rare_methods_run_one_call_at_a_time() {
    let mut bench = Bench::new(100, 4, 100);
    for user in ["a", "b", "c"] {
        let batches = Arc::clone(&bench.batches);
        let update = UpdateUser::new(key(user, "x").user);
        tokio::spawn(async move { batches.update_user.call_one(update).await });
    }
    for user in ["a", "b", "c"] {
        assert_eq!(bench.begun.recv().await.unwrap(), [user]);
        bench.begins_nothing().await;
        bench.let_through(1);
    }
}
