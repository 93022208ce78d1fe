//! Convergence under faults: random sets, refreshes, clears and messages on two replicas, while
//! the clock steps and connections break at random. After each quiet moment every watcher has
//! the presences of a fresh read, and no watcher ever receives an older presence than before.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use presenced::{
    app::{Addresses, App, Drain},
    clock::{Clock, ManualClock},
    grpc::pb::{
        BatchGetPresencesRequest, ClearPresenceRequest, Presence, SetPresenceRequest,
        SetStatusMessageRequest, WatchPresencesRequest, presence_service_client::PresenceServiceClient,
        watch_presences_response::Event,
    },
};
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinSet, time::timeout};
use tonic::transport::Channel;

use super::{connect, set_request};
use crate::support::{
    client::words,
    database::{Engine, TestDatabase},
    number,
    proxy::{Network, Proxy},
    server::{START, settings, start},
    wait::holds_in_time,
};

/// The most users of one `BatchGetPresences`.
const READ_MAX: usize = 650;
const WATCHERS: usize = 20;
const WRITES: usize = 100;
const PAIRS: [&str; 4] = ["Available/Available", "Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"];

/// Violations, which must never happen.
const VIOLATIONS: [&str; 3] =
    ["violations: older number", "violations: older message", "violations: not converged"];

/// Counts events by name.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Counts {
    /// Adds to a count and returns the total.
    fn add(&self, what: &'static str, number: usize) -> usize {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(what).or_default();
        *count += number;
        *count
    }
}

/// The sequence number and the presence of a user.
type Shown = (String, String);

/// The presences that one watcher has received.
#[derive(Default)]
struct Known {
    users: HashMap<String, Shown>,
    /// Whether the current stream's snapshot is complete.
    complete: bool,
    /// The messages received since the last quiet moment, and the last one of each user
    /// before it.
    messages: Vec<(String, usize)>,
}

impl Known {
    fn agrees_with(&self, truth: &HashMap<String, Shown>) -> bool {
        let same = |(user, is): (&String, &Shown)| self.users.get(user).is_some_and(|known| known == is);
        self.complete && truth.iter().all(same)
    }

    /// Counts the messages that followed a later message of the same user. A message whose
    /// time of writing is unknown is ignored.
    fn older_messages(&mut self, unknown: &HashSet<usize>) -> usize {
        let mut latest: HashMap<String, usize> = HashMap::new();
        let mut older = 0;
        for (user, message) in self.messages.drain(..).filter(|(_, message)| !unknown.contains(message)) {
            let latest = latest.entry(user).or_default();
            older += usize::from(message < *latest);
            *latest = message.max(*latest);
        }
        self.messages = latest.into_iter().collect();
        older
    }
}

#[derive(Clone)]
struct Watching {
    known: Arc<Mutex<Known>>,
    counts: Counts,
}

impl Watching {
    /// Watches forever, one stream after the other. A `fickle` watcher soon drops its stream.
    /// Other watchers keep theirs, and must converge through it alone.
    async fn run(self, replicas: [Addresses; 2], users: Vec<String>, fickle: bool) {
        loop {
            let at = replicas[fastrand::usize(..2)];
            let lives = if fickle {
                Duration::from_millis(fastrand::u64(50..3_000))
            } else {
                Duration::from_hours(1)
            };
            // The next stream follows, whatever the result.
            let _ = timeout(lives, self.follow(at, users.clone())).await;
            self.known.lock().unwrap().complete = false;
            self.counts.add("cuts: stream", 1);
        }
    }

    async fn follow(&self, at: Addresses, user_ids: Vec<String>) -> Result<(), tonic::Status> {
        let mut client = PresenceServiceClient::new(connect(at).await);
        let mut stream = client
            .watch_presences(WatchPresencesRequest { user_ids, ..Default::default() })
            .await?
            .into_inner();
        while let Some(response) = stream.message().await? {
            let mut known = self.known.lock().unwrap();
            match response.event.unwrap() {
                Event::Presence(presence) => self.receive(&mut known, &presence),
                Event::SnapshotComplete(_) => known.complete = true,
                Event::Heartbeat(_) => {}
            }
        }
        Ok(())
    }

    fn receive(&self, known: &mut Known, presence: &Presence) {
        self.counts.add("presences received", 1);
        let user = &presence.user_id;
        if let Some(message) = &presence.status_message {
            known.messages.push((user.clone(), message.content.parse().unwrap()));
        }
        let received = (presence.sequence_number.clone(), words(presence));
        if let Some((before, _)) = known.users.insert(user.clone(), received)
            && before > presence.sequence_number
        {
            self.counts.add(VIOLATIONS[0], 1);
        }
    }
}

fn users() -> usize {
    number("PRESENCE_TEST_TRUTH_USERS", 20)
}

/// Writes one after the other, on a random replica.
struct Writer {
    clients: [PresenceServiceClient<Channel>; 2],
    counts: Counts,
    /// The last set of each session.
    set: HashMap<(String, String), SetPresenceRequest>,
    /// Messages are numbers that count up.
    messages: usize,
    /// Messages whose response was lost, so that their time of writing is unknown.
    unknown: HashSet<usize>,
}

impl Writer {
    async fn new(addresses: [Addresses; 2], counts: Counts) -> Self {
        let clients = [connect(addresses[0]).await, connect(addresses[1]).await];
        let clients = clients.map(PresenceServiceClient::new);
        Self { clients, counts, set: HashMap::new(), messages: 0, unknown: HashSet::new() }
    }

    /// Makes a random write for a random user. It may fail.
    async fn write(&mut self) {
        let user_id = format!("u{}", fastrand::usize(..users()));
        let session_id = format!("app{}", fastrand::usize(..2));
        let key = (user_id.clone(), session_id.clone());
        let client = &mut self.clients[fastrand::usize(..2)];
        let (what, done) = match fastrand::u8(..8) {
            0 | 1 => (
                "writes: clear",
                client
                    .clear_presence(ClearPresenceRequest { user_id, session_id, observed_time: None })
                    .await
                    .is_ok(),
            ),
            2 => {
                self.messages += 1;
                let content = self.messages.to_string();
                let request = SetStatusMessageRequest { user_id, content, expire_time: None };
                let done = client.set_status_message(request).await.is_ok();
                if !done {
                    self.unknown.insert(self.messages);
                }
                ("writes: message", done)
            }
            kind => {
                let before = if kind < 5 { self.set.get(&key).cloned() } else { None };
                let what = if before.is_some() { "writes: refresh" } else { "writes: set" };
                let request = before.unwrap_or_else(|| {
                    let mut request = set_request(&user_id, PAIRS[fastrand::usize(..4)]);
                    let seconds = fastrand::i64(300..1_200);
                    request.expiration_duration = Some(prost_types::Duration { seconds, nanos: 0 });
                    SetPresenceRequest { session_id, ..request }
                });
                self.set.insert(key, request.clone());
                (what, client.set_presence(request).await.is_ok())
            }
        };
        self.counts.add(what, 1);
        self.counts.add("writes that failed", usize::from(!done));
    }
}

struct World {
    apps: [App; 2],
    proxies: [Arc<Proxy>; 2],
    /// Tasks that repair a broken network.
    broken: JoinSet<()>,
    clock: ManualClock,
    admin: PgConnection,
    counts: Counts,
    _database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let clock = ManualClock::new(START);
        let replica = async || {
            let (proxy, url) = Proxy::to(&database.url).await;
            let app = start(&settings(&url, &["--workers", "2"]), Clock::Manual(clock.clone())).await;
            (app, Arc::new(proxy))
        };
        let ((a, proxy_a), (b, proxy_b)) = (replica().await, replica().await);
        let admin = PgConnection::connect(&database.url).await.unwrap();
        Self {
            apps: [a, b],
            proxies: [proxy_a, proxy_b],
            broken: JoinSet::new(),
            clock,
            admin,
            counts: Counts::default(),
            _database: database,
        }
    }

    fn addresses(&self) -> [Addresses; 2] {
        self.apps.each_ref().map(App::addresses)
    }

    /// Puts the clock of both replicas forward: a little, or past all that is due.
    fn step(&self) {
        let most = Duration::from_mins(20);
        let long = fastrand::u8(..5) == 0;
        let step = if long { most } else { Duration::from_millis(fastrand::u64(1..120_000)) };
        self.clock.advance(step);
        self.counts.add(if long { "clock: step of 20 min" } else { "clock: step up to 2 min" }, 1);
    }

    /// Breaks something: connections for good, or for a moment, in which writes go
    /// on, the way of one replica to its database.
    async fn cut(&mut self) {
        let (what, network) = match fastrand::u8(..4) {
            0 => return self.kill("cuts: listening connection", "query like 'LISTEN%'").await,
            1 => return self.kill("cuts: any connection", "random() < 0.5").await,
            2 => ("cuts: network down", Network::Cut),
            _ => ("cuts: network hangs", Network::Hung),
        };
        self.counts.add(what, 1);
        let proxy = Arc::clone(&self.proxies[fastrand::usize(..2)]);
        self.broken.spawn(async move {
            proxy.set(network);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..100))).await;
            proxy.set(Network::Up);
        });
    }

    async fn kill(&mut self, what: &'static str, which: &str) {
        let kill = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and {which}"
        );
        let killed: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(kill)).fetch_one(&mut self.admin).await.unwrap();
        self.counts.add(what, usize::try_from(killed).unwrap());
    }

    /// Reads users on a replica, with retries until a read succeeds.
    async fn read(&self, replica: usize, users: &[String]) -> HashMap<String, Shown> {
        let mut presences = HashMap::new();
        for part in users.chunks(READ_MAX) {
            presences.extend(self.read_part(replica, part).await);
        }
        presences
    }

    async fn read_part(&self, replica: usize, users: &[String]) -> HashMap<String, Shown> {
        let mut client = PresenceServiceClient::new(connect(self.addresses()[replica]).await);
        loop {
            let request = BatchGetPresencesRequest { user_ids: users.to_vec(), ..Default::default() };
            if let Ok(response) = client.batch_get_presences(request).await {
                let presences = response.into_inner().presences;
                return presences
                    .iter()
                    .map(|presence| {
                        (presence.user_id.clone(), (presence.sequence_number.clone(), words(presence)))
                    })
                    .collect();
            }
        }
    }

    /// Waits until the networks are repaired, then checks that every watcher soon has the
    /// presences of a fresh read.
    async fn compare(&mut self, users: &[String], watchers: &[Arc<Mutex<Known>>]) {
        while self.broken.join_next().await.is_some() {}
        let truth = self.read(0, users).await;
        assert_eq!(truth, self.read(1, users).await, "the replicas agree");
        for known in watchers {
            if !holds_in_time(async || known.lock().unwrap().agrees_with(&truth)).await {
                self.counts.add(VIOLATIONS[2], 1);
            }
            self.counts.add("comparisons of a watcher", 1);
        }
    }
}

#[tokio::test]
async fn every_watcher_converges_to_a_fresh_read() {
    let rounds = number("PRESENCE_TEST_TRUTH_ROUNDS", 10);
    let mut world = World::new().await;
    let counts = world.counts.clone();
    let users: Vec<String> = (0..users()).map(|user| format!("u{user}")).collect();
    let (mut watching, mut watchers) = (JoinSet::new(), Vec::new());
    for watcher in 0..WATCHERS {
        let one = Watching { known: Arc::default(), counts: counts.clone() };
        watchers.push(Arc::clone(&one.known));
        watching.spawn(one.run(world.addresses(), users.clone(), watcher % 2 == 0));
    }
    let mut writer = Writer::new(world.addresses(), counts.clone()).await;
    for _ in 0..rounds {
        for _ in 0..WRITES {
            writer.write().await;
            match fastrand::u8(..20) {
                0 | 1 => world.cut().await,
                2 | 3 => world.step(),
                _ => {}
            }
        }
        world.compare(&users, &watchers).await;
        for known in &watchers {
            let older = known.lock().unwrap().older_messages(&writer.unknown);
            counts.add(VIOLATIONS[1], older);
        }
    }
    let violations = VIOLATIONS.map(|violation| counts.add(violation, 0));
    println!("{rounds} rounds");
    for (what, number) in counts.0.lock().unwrap().iter() {
        println!("{number:>9} {what}");
    }
    assert_eq!(violations, [0; 3]);
    drop(watching);
    for app in world.apps {
        assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}
