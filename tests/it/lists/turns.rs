//! What lists and counts with availabilities read, and that other calls have their turn. The store is
//! fake, and has as many users as a test needs, who are shown as Offline.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use presenced::{
    batch::{Batches, Limits},
    clock::{Clock, ManualClock, Stopwatch},
    notify::{ReceiverSettings, Receivers},
    presence::{Availability, EXPIRATION_MIN, UserIdForm},
    service::{
        Caller, Count, Error, Holds, Input, InputSettings, Kind, ListPresences, Page, ReadFrom, Reason,
        Service, Streams, Subscriptions, View,
    },
    store::{Database, Store},
    telemetry::Metrics,
    watch::Hub,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::{pause, resume, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::FakeStore,
    support::{
        database::{Engine, TestDatabase},
        server::{START, settings},
    },
};

struct Fixture {
    service: Arc<Service>,
    stop: CancellationToken,
    /// The users that each statement reads; a list reads none.
    started: mpsc::Receiver<Vec<String>>,
}

impl Fixture {
    /// A service whose statements take some time. Time is paused.
    async fn new(listed: usize, takes: Duration) -> Self {
        let (sender, started) = mpsc::channel(100_000);
        let gate = Semaphore::new(1_000_000);
        let store = FakeStore { gate, takes, errors: Mutex::default(), started: sender, listed };
        let store: Arc<dyn Store> = Arc::new(store);
        let database = TestDatabase::new(Engine::Sqlite).await;
        let settings = settings(&database.url, &[]);
        let switch = Database::connect(&database.url).await.unwrap().invalidation_switch();
        pause();
        let (metrics, clock, stop) =
            (Metrics::new(), Clock::Manual(ManualClock::new(START)), CancellationToken::new());
        let limits = Limits { batch_max: 500, queue_max: 20_000, concurrent_statements: 1 };
        let batches = Batches::start(&store, &clock, &metrics, limits);
        let streams = Streams {
            hub: Hub::new(1, 1, metrics.watch(), switch),
            holds: Holds::new(&settings.streams, metrics.hold_streams()),
            metrics: metrics.streams(),
            settings: settings.streams,
            stop: stop.clone(),
        };
        let input = InputSettings { user_ids: UserIdForm::Any, session_min: EXPIRATION_MIN };
        let receivers = Receivers::new(&ReceiverSettings::default()).unwrap();
        let subscriptions = Subscriptions::new(receivers, &settings.subscriptions);
        let service = Service::new(batches, None, clock, streams, input, subscriptions);
        Self { service: Arc::new(service), stop, started }
    }

    async fn list(&self, page_size: u32) -> Page {
        let request = ListPresences {
            availabilities: Input::Value(vec![Input::Value(Availability::Busy)]),
            page_size: Input::Value(page_size),
            ..ListPresences::default()
        };
        self.service.list_presences(&Caller::ANONYMOUS, ReadFrom::Primary, request).await.unwrap()
    }

    fn count(&self) -> JoinHandle<Result<Count, Error>> {
        let service = Arc::clone(&self.service);
        tokio::spawn(async move {
            let busy = Input::Value(vec![Input::Value(Availability::Busy)]);
            service.count_presences(&Caller::ANONYMOUS, ReadFrom::Primary, busy).await
        })
    }

    /// The number of users that each statement read since the last call. A list reads 0.
    fn read(&mut self) -> Vec<usize> {
        std::iter::from_fn(|| self.started.try_recv().ok()).map(|users| users.len()).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        resume();
    }
}

#[tokio::test]
async fn a_page_reads_at_most_ten_users_for_each_presence_that_fits_on_it() {
    let mut fixture = Fixture::new(100_000, Duration::ZERO).await;
    for (size, expected) in
        [(1, &[10][..]), (2, &[20]), (25, &[250]), (60, &[250, 250, 100]), (650, &[250; 26])]
    {
        let page = fixture.list(size).await;
        assert!(page.presences.is_empty() && page.next.is_some(), "others follow an empty page");
        let lists = std::iter::repeat_n(0, expected.len());
        let all: Vec<_> = lists.zip(expected.iter().copied()).flat_map(|(list, load)| [list, load]).collect();
        assert_eq!(fixture.read(), all, "{size}");
    }
}

#[tokio::test]
async fn a_page_begins_no_further_read_after_a_second() {
    let mut fixture = Fixture::new(100_000, Duration::from_millis(150)).await;
    let stopwatch = Stopwatch::start();
    assert!(fixture.list(650).await.next.is_some());
    assert!(stopwatch.elapsed() < Duration::from_millis(1_300), "{:?}", stopwatch.elapsed());
    assert_eq!(fixture.read(), [0, 250].repeat(4));
}

#[tokio::test]
async fn the_last_page_has_no_token() {
    for listed in [0, 9, 10] {
        let fixture = Fixture::new(listed, Duration::ZERO).await;
        assert_eq!(fixture.list(1).await.next, None, "{listed}");
    }
    assert!(Fixture::new(11, Duration::ZERO).await.list(1).await.next.is_some());
}

#[tokio::test]
async fn a_count_reads_every_user_once() {
    for listed in [0, 1, 249, 250, 251, 1_000] {
        let mut fixture = Fixture::new(listed, Duration::ZERO).await;
        let count = fixture.count().await.unwrap().unwrap();
        assert_eq!(count, Count { count: 0, users_read: listed.try_into().unwrap() });
        let read = fixture.read();
        assert_eq!(read.iter().sum::<usize>(), listed);
        assert!(read.iter().all(|users| *users <= 250), "{read:?}");
    }
}

#[tokio::test]
async fn a_count_that_takes_more_than_20_s_fails() {
    let mut fixture = Fixture::new(10_000_000, Duration::from_millis(100)).await;
    let stopwatch = Stopwatch::start();
    let error = fixture.count().await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::DeadlineExceeded, Reason::DeadlineExceeded));
    assert!(error.to_string().contains("within 20s"), "{error}");
    assert_eq!(stopwatch.elapsed().as_secs(), 20);
    fixture.read();
    sleep(Duration::from_secs(10)).await;
    assert!(fixture.read().len() <= 1, "it reads no further");
}

#[tokio::test]
async fn a_count_ends_when_the_service_stops() {
    let fixture = Fixture::new(10_000_000, Duration::from_millis(100)).await;
    let count = fixture.count();
    sleep(Duration::from_secs(1)).await;
    fixture.stop.cancel();
    let error = count.await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Unavailable, Reason::Stopping));
}

#[tokio::test]
async fn reads_and_lists_have_their_turn_among_many_counts() {
    const STATEMENT: Duration = Duration::from_millis(10);
    let fixture = Fixture::new(10_000_000, STATEMENT).await;
    let mut counts: JoinSet<_> = (0..200).map(|_| fixture.count()).collect();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        let stopwatch = Stopwatch::start();
        let (user, view) = (Input::Value("u".to_owned()), Input::Value(View::Basic));
        fixture.service.get_presence(&Caller::ANONYMOUS, ReadFrom::Primary, user, view).await.unwrap();
        // The statement that runs, at most one more large one, and its own.
        assert!(stopwatch.elapsed() <= 3 * STATEMENT, "{:?}", stopwatch.elapsed());
        let stopwatch = Stopwatch::start();
        fixture.list(1).await;
        // Those of the counts that have their turn, and its own.
        assert!(stopwatch.elapsed() <= 10 * STATEMENT, "{:?}", stopwatch.elapsed());
    }
    counts.abort_all();
}
