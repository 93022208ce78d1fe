//! The truth, whatever breaks: random sets, clears and refreshes at two replicas,
//! while the clock moves and connections are cut at random. After each quiet
//! moment every watcher knows what a fresh read says, and none was ever told
//! anything older than what it had been told before.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use presenced::{
    app::{Addresses, App},
    clock::{Clock, ManualClock},
    grpc::pb::{
        BatchGetPresencesRequest, ClearPresenceRequest, Presence, WatchPresencesRequest,
        presence_service_client::PresenceServiceClient, watch_presences_response::Event,
    },
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{PATIENCE, connect, set_request};
use crate::support::{
    client::words,
    database::{Engine, TestDatabase},
    number,
    proxy::{Network, Proxy},
    server::{START, settings, start},
};

const USERS: usize = 20;
const WATCHERS: usize = 20;

/// What one watcher knows.
#[derive(Default)]
struct Known {
    /// What each user is shown as, with the number that says when it changed.
    users: HashMap<String, (String, String)>,
    /// Whether the snapshot of the stream that is open now has come.
    complete: bool,
}

#[derive(Clone)]
struct Watching {
    known: Arc<Mutex<Known>>,
    backwards: Arc<AtomicUsize>,
    reconnects: Arc<AtomicUsize>,
}

impl Watching {
    /// Watches for ever, one stream after the other. A `fickle` watcher drops its
    /// stream soon; another one keeps it, and must become right by it alone.
    async fn run(self, replicas: [Addresses; 2], users: Vec<String>, fickle: bool) {
        loop {
            let at = replicas[fastrand::usize(..2)];
            let lives = if fickle {
                Duration::from_millis(fastrand::u64(50..3_000))
            } else {
                Duration::from_hours(1)
            };
            // Whatever it ends with: another is opened.
            let _ = timeout(lives, self.follow(at, users.clone())).await;
            self.known.lock().unwrap().complete = false;
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn follow(&self, at: Addresses, user_ids: Vec<String>) -> Result<(), tonic::Status> {
        let mut client = PresenceServiceClient::new(connect(at).await);
        let mut stream = client.watch_presences(WatchPresencesRequest { user_ids }).await?.into_inner();
        while let Some(response) = stream.message().await? {
            let mut known = self.known.lock().unwrap();
            match response.event.unwrap() {
                Event::Presence(presence) => self.hear(&mut known, &presence),
                Event::SnapshotComplete(_) => known.complete = true,
                Event::Heartbeat(_) => {}
            }
        }
        Ok(())
    }

    fn hear(&self, known: &mut Known, presence: &Presence) {
        let news = (presence.sequence_number.clone(), words(presence));
        if let Some((before, _)) = known.users.insert(presence.user_id.clone(), news)
            && before > presence.sequence_number
        {
            self.backwards.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct World {
    apps: [App; 2],
    proxies: [Proxy; 2],
    clock: ManualClock,
    database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let clock = ManualClock::new(START);
        let replica = async || {
            let (proxy, url) = Proxy::to(&database.url).await;
            (start(&settings(&url, &["--lanes", "2"]), Clock::Manual(clock.clone())).await, proxy)
        };
        let ((a, proxy_a), (b, proxy_b)) = (replica().await, replica().await);
        Self { apps: [a, b], proxies: [proxy_a, proxy_b], clock, database }
    }

    fn addresses(&self) -> [Addresses; 2] {
        self.apps.each_ref().map(App::addresses)
    }

    /// One thing at random happens to one of the users; whether it was done does
    /// not matter.
    async fn write(clients: &mut [PresenceServiceClient<tonic::transport::Channel>; 2]) {
        const PAIRS: [&str; 4] =
            ["Available/Available", "Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"];
        let client = &mut clients[fastrand::usize(..2)];
        let user_id = format!("u{}", fastrand::usize(..USERS));
        let session_id = format!("app{}", fastrand::usize(..2));
        if fastrand::u8(..4) == 0 {
            let _ = client.clear_presence(ClearPresenceRequest { user_id, session_id }).await;
        } else {
            let mut request = set_request(&user_id, PAIRS[fastrand::usize(..4)]);
            request.session_id = session_id;
            let seconds = fastrand::i64(300..1_200);
            request.expiration_duration = Some(prost_types::Duration { seconds, nanos: 0 });
            let _ = client.set_presence(request).await;
        }
    }

    /// Breaks something for a moment.
    async fn cut(&self) {
        match fastrand::u8(..3) {
            0 => {
                let mut admin = PgConnection::connect(&self.database.url).await.unwrap();
                let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                            where datname = current_database() and query like 'LISTEN%'";
                admin.execute(kill).await.unwrap();
            }
            1 => {
                let mut admin = PgConnection::connect(&self.database.url).await.unwrap();
                let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                            where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5";
                admin.execute(kill).await.unwrap();
            }
            _ => {
                let proxy = &self.proxies[fastrand::usize(..2)];
                proxy.set(Network::Cut);
                sleep(Duration::from_millis(fastrand::u64(1..100))).await;
                proxy.set(Network::Up);
            }
        }
    }

    /// What a fresh read says, once one can be had.
    async fn read(&self, users: &[String]) -> HashMap<String, String> {
        let mut client = PresenceServiceClient::new(connect(self.addresses()[0]).await);
        loop {
            let request = BatchGetPresencesRequest { user_ids: users.to_vec() };
            if let Ok(answer) = client.batch_get_presences(request).await {
                let presences = answer.into_inner().presences;
                return presences
                    .iter()
                    .map(|presence| (presence.user_id.clone(), words(presence)))
                    .collect();
            }
        }
    }
}

#[tokio::test]
async fn after_each_quiet_moment_every_watcher_knows_the_truth() {
    let rounds = number("PRESENCE_TEST_TRUTH_ROUNDS", 10);
    let world = World::new().await;
    let users: Vec<String> = (0..USERS).map(|user| format!("u{user}")).collect();
    let (backwards, reconnects) = (Arc::default(), Arc::default());
    let mut watchers = JoinSet::new();
    let mut all = Vec::new();
    for watcher in 0..WATCHERS {
        let watching = Watching {
            known: Arc::default(),
            backwards: Arc::clone(&backwards),
            reconnects: Arc::clone(&reconnects),
        };
        all.push(Arc::clone(&watching.known));
        watchers.spawn(watching.run(world.addresses(), users.clone(), watcher % 2 == 0));
    }
    let mut cuts = 0;
    for round in 0..rounds {
        let mut clients = [
            PresenceServiceClient::new(connect(world.addresses()[0]).await),
            PresenceServiceClient::new(connect(world.addresses()[1]).await),
        ];
        for _ in 0..100 {
            World::write(&mut clients).await;
            if fastrand::u8(..10) == 0 {
                world.clock.advance(Duration::from_millis(fastrand::u64(1..120_000)));
            }
            if fastrand::u8(..20) == 0 {
                world.cut().await;
                cuts += 1;
            }
        }
        let truth = world.read(&users).await;
        let right = async {
            for known in &all {
                let agrees = || {
                    let known = known.lock().unwrap();
                    let same =
                        |user: &String| known.users.get(user).is_some_and(|(_, is)| *is == truth[user]);
                    known.complete && users.iter().all(same)
                };
                while !agrees() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(PATIENCE, right).await.unwrap_or_else(|_| panic!("round {round}: a watcher is wrong"));
    }
    let (backwards, reconnects) = (backwards.load(Ordering::Relaxed), reconnects.load(Ordering::Relaxed));
    println!(
        "truth: {rounds} rounds, {cuts} cuts of the database, {reconnects} of streams; {backwards} went back"
    );
    assert_eq!(backwards, 0);
    drop(watchers);
    for app in world.apps {
        assert!(app.stop(Duration::from_secs(10), pending()).await, "drained");
    }
}
