//! Watching while the database or its connections fail and recover.

use std::{future::pending, time::Duration};

use presenced::{
    app::{App, Drain},
    clock::Clock,
};
use sqlx::{Connection, Executor, PgConnection};

use super::Watcher;
use crate::support::{
    client::{Api, Client, Outcome::Done},
    database::{Engine, TestDatabase},
    proxy::{Network, Proxy},
    server::{settings, start},
};

/// Two replicas on one database. Users are watched on the one behind a proxy, and set on the
/// other.
pub(super) struct Replicas {
    pub(super) watched: App,
    pub(super) proxy: Proxy,
    set: App,
    client: Client,
    database: TestDatabase,
}

impl Replicas {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(&database.url).await;
        let mut watching = settings(&url, &[]);
        watching.streams.watch_heartbeat = Duration::from_millis(100);
        let watched = start(&watching, Clock::new()).await;
        let set = start(&settings(&database.url, &[]), Clock::new()).await;
        let client = Client::new(Api::Grpc, set.addresses().grpc, set.addresses().http);
        Self { watched, proxy, set, client, database }
    }

    pub(super) async fn set(&self, pair: &str) {
        assert_eq!(self.client.set("a", "app", pair, "PT1H").await, Done);
    }

    pub(super) async fn stop(self) {
        for app in [self.watched, self.set] {
            assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
        }
    }
}

#[tokio::test]
async fn a_stream_recovers_after_the_listening_connection_was_killed() {
    let replicas = Replicas::new().await;
    let mut watcher = Watcher::of(replicas.watched.addresses(), &["a"], &["a Offline/Offline"]).await;
    let mut admin = PgConnection::connect(&replicas.database.url).await.unwrap();
    for pair in ["Busy/InACall", "Away/Away"].into_iter().cycle().take(10) {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and query like 'LISTEN%'";
        admin.execute(kill).await.unwrap();
        replicas.set(pair).await;
        assert_eq!(watcher.next_change().await, format!("a {pair}"));
    }
    replicas.stop().await;
}

#[tokio::test]
async fn a_stream_survives_a_disconnected_database_and_sends_nothing_wrong() {
    survives(Network::Cut).await;
}

#[tokio::test]
async fn a_stream_survives_a_hanging_database_and_sends_nothing_wrong() {
    survives(Network::Hung).await;
}

async fn survives(fault: Network) {
    let replicas = Replicas::new().await;
    replicas.set("Busy/InACall").await;
    let mut watcher = Watcher::of(replicas.watched.addresses(), &["a"], &["a Busy/InACall"]).await;
    for pair in ["Away/Away", "DoNotDisturb/Presenting"] {
        replicas.proxy.set(fault);
        replicas.set("Busy/InAConferenceCall").await;
        replicas.set(pair).await;
        // This is longer than a read's timeout and the test interval of the listener.
        for _ in 0..80 {
            assert_eq!(watcher.next().await, "heartbeat");
        }
        replicas.proxy.set(Network::Up);
        let mut change = watcher.next_change().await;
        if change == "a Busy/InAConferenceCall" {
            // A delayed invalidation arrived first. The presence was current when it was read.
            change = watcher.next_change().await;
        }
        assert_eq!(change, format!("a {pair}"));
        // The stream follows later changes.
        replicas.set("Busy/InACall").await;
        assert_eq!(watcher.next_change().await, "a Busy/InACall");
    }
    replicas.stop().await;
}

#[tokio::test]
async fn a_stream_opened_during_an_outage_begins_after_it() {
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
