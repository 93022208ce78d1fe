//! Bad days of those who watch: what they hear from breaks, and comes back.

use std::{future::pending, time::Duration};

use presenced::{app::App, clock::Clock};
use sqlx::{Connection, Executor, PgConnection};

use super::Watcher;
use crate::support::{
    client::{Api, Client, Outcome::Done},
    database::{Engine, TestDatabase},
    proxy::{Network, Proxy},
    server::{settings, start},
};

/// Two replicas on one database: one on which users are watched, behind a proxy,
/// and one on which they are set.
struct Replicas {
    watched: App,
    proxy: Proxy,
    set: App,
    client: Client,
    database: TestDatabase,
}

impl Replicas {
    async fn new() -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(&database.url).await;
        let mut watching = settings(&url, &[]);
        watching.streams.watch_heartbeat = Duration::from_millis(100);
        let watched = start(&watching, Clock::System).await;
        let set = start(&settings(&database.url, &[]), Clock::System).await;
        let client = Client::new(Api::Grpc, set.addresses().grpc, set.addresses().http);
        Self { watched, proxy, set, client, database }
    }

    async fn set(&self, pair: &str) {
        assert_eq!(self.client.set("a", "app", pair, "PT1H").await, Done);
    }

    async fn stop(self) {
        for app in [self.watched, self.set] {
            assert!(app.stop(Duration::from_secs(10), pending()).await, "drained");
        }
    }
}

#[tokio::test]
async fn a_stream_is_right_again_when_the_connection_that_listens_was_killed() {
    let replicas = Replicas::new().await;
    let mut watcher = Watcher::of(replicas.watched.addresses(), &["a"], &["a Offline/Offline"]).await;
    let mut admin = PgConnection::connect(&replicas.database.url).await.unwrap();
    for pair in ["Busy/InACall", "Away/Away"].into_iter().cycle().take(10) {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and query like 'LISTEN%'";
        admin.execute(kill).await.unwrap();
        replicas.set(pair).await;
        assert_eq!(watcher.news().await, format!("a {pair}"));
    }
    replicas.stop().await;
}

#[tokio::test]
async fn a_stream_outlives_a_database_that_is_cut_off_and_says_nothing_false() {
    outlives(Network::Cut).await;
}

#[tokio::test]
async fn a_stream_outlives_a_database_that_hangs_and_says_nothing_false() {
    outlives(Network::Hung).await;
}

async fn outlives(fault: Network) {
    let replicas = Replicas::new().await;
    replicas.set("Busy/InACall").await;
    let mut watcher = Watcher::of(replicas.watched.addresses(), &["a"], &["a Busy/InACall"]).await;
    for pair in ["Away/Away", "DoNotDisturb/Presenting"] {
        replicas.proxy.set(fault);
        replicas.set("Busy/InAConferenceCall").await;
        replicas.set(pair).await;
        // Longer than a read may take, and listening may be quiet.
        for _ in 0..80 {
            assert_eq!(watcher.next().await, "heartbeat");
        }
        replicas.proxy.set(Network::Up);
        let mut news = watcher.news().await;
        if news == "a Busy/InAConferenceCall" {
            // An invalidation that was held up on its way came first; it was true when it was read.
            news = watcher.news().await;
        }
        assert_eq!(news, format!("a {pair}"));
        // And it hears again.
        replicas.set("Busy/InACall").await;
        assert_eq!(watcher.news().await, "a Busy/InACall");
    }
    replicas.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_opened_while_the_database_is_away_begins_when_it_is_back() {
    let replicas = Replicas::new().await;
    replicas.set("Busy/InACall").await;
    replicas.proxy.set(Network::Cut);
    let mut watcher = Watcher::open(replicas.watched.addresses(), &["a"]).await;
    for _ in 0..10 {
        assert_eq!(watcher.next().await, "heartbeat");
    }
    replicas.proxy.set(Network::Up);
    assert_eq!(watcher.snapshot().await, ["a Busy/InACall"]);
    replicas.stop().await;
}
