//! The service behind a pgbouncer in transaction mode.

use std::{future::pending, time::Duration};

use presenced::{
    app::{App, Drain},
    clock::Clock,
};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    support::{
        client::{Api, Client, Outcome},
        database::{Engine, TestDatabase},
        pgbouncer::{Pgbouncer, SERVERS_MAX},
        process::{Process, command},
        proxy::{Network, Proxy},
        server::{settings, start},
        wait::eventually,
    },
    watch::Watcher,
};

fn flags(database: &TestDatabase) -> [&str; 5] {
    ["--postgres-pgbouncer", "--database-direct-url", &database.url, "--workers", "4"]
}

fn client(api: Api, app: &App) -> Client {
    Client::new(api, app.addresses().grpc, app.addresses().http)
}

async fn ready(app: &App) -> bool {
    presenced::admin::healthcheck(app.addresses().admin).await.is_ok()
}

#[tokio::test]
async fn replicas_share_fewer_connections_to_the_database_than_they_open() {
    const USERS: usize = 12;
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    // Migrations bypass the pgbouncer.
    let settings = settings(&bouncer.url, &flags(&database));
    let replicas = [start(&settings, Clock::new()).await, start(&settings, Clock::new()).await];

    let mut users = JoinSet::new();
    for user in 0..USERS {
        let apis = if user % 2 == 0 { [Api::Grpc, Api::Http] } else { [Api::Http, Api::Grpc] };
        let clients = [client(apis[0], &replicas[0]), client(apis[1], &replicas[1])];
        users.spawn(alternates_between_replicas(format!("user-{user}"), clients));
    }
    let (mut clients, mut servers) = (0, 0);
    while !users.is_empty() {
        clients = clients.max(bouncer.count("clients").await);
        servers = servers.max(bouncer.count("servers").await);
        let _ = timeout(Duration::from_millis(20), async {
            while let Some(user) = users.join_next().await {
                user.unwrap();
            }
        })
        .await;
    }
    println!("pgbouncer: {clients} client connections share {servers} to the database");
    assert!((1..=SERVERS_MAX).contains(&servers) && clients > 3 * servers, "{clients} on {servers}");
    assert!(ready(&replicas[0]).await && ready(&replicas[1]).await);

    // None of the shared connections has a prepared statement left.
    let mut shared = PgConnection::connect_with(&bouncer.options()).await.unwrap();
    for _ in 0..10 {
        let left = shared.fetch_all("select name, statement from pg_prepared_statements").await.unwrap();
        assert!(left.iter().all(|row| row.get::<String, _>("name").is_empty()));
    }
    for replica in replicas {
        assert_eq!(replica.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}

/// Each replica sees the other's writes.
async fn alternates_between_replicas(user: String, clients: [Client; 2]) {
    for round in 0..20 {
        let (here, there) = (&clients[round % 2], &clients[(round + 1) % 2]);
        let shown = |pair: &str| Outcome::Presences(vec![format!("{user} {pair}")]);
        assert_eq!(here.set(&user, "app", "Busy/InACall", "").await, Outcome::Done);
        assert_eq!(there.get(&user).await, shown("Busy/InACall"));
        assert_eq!(there.prefer(&user, "Away/Away", "").await, Outcome::Done);
        assert_eq!(here.get(&user).await, shown("Away/Away"));
        assert_eq!(there.clear_preferred(&user).await, Outcome::Done);
        assert_eq!(here.batch_get(&[&user]).await, shown("Busy/InACall"));
        assert_eq!(there.clear(&user, "app").await, Outcome::Done);
        assert_eq!(here.clear(&user, "app").await, Outcome::NotFound);
        assert_eq!(there.get(&user).await, shown("Offline/Offline"));
    }
}

#[tokio::test]
async fn a_write_on_one_replica_reaches_a_watcher_of_another() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    let settings = settings(&bouncer.url, &flags(&database));
    let replicas = [start(&settings, Clock::new()).await, start(&settings, Clock::new()).await];
    let here = client(Api::Grpc, &replicas[0]);
    let mut watcher = Watcher::of(replicas[1].addresses(), &["a"], &["a Offline/Offline"]).await;
    for _ in 0..5 {
        assert_eq!(here.set("a", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
        assert_eq!(watcher.next().await, "a Busy/InACall");
        assert_eq!(here.clear("a", "app").await, Outcome::Done);
        assert_eq!(watcher.next().await, "a Offline/Offline");
    }
}

#[tokio::test]
async fn requests_fail_while_the_pgbouncer_is_unreachable_and_then_recover() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    let (proxy, url) = Proxy::to(&bouncer.url).await;
    let app = start(&settings(&url, &flags(&database)), Clock::new()).await;
    let client = client(Api::Http, &app);
    for network in [Network::Cut, Network::Hung] {
        assert_eq!(client.set("u", "app", "Busy/InACall", "").await, Outcome::Done);
        proxy.set(network);
        assert_eq!(client.get("u").await, Outcome::Unavailable);
        eventually("the service is not ready", async || !ready(&app).await).await;
        proxy.set(Network::Up);
        eventually("the service is ready again", async || ready(&app).await).await;
        assert_eq!(client.get("u").await, Outcome::Presences(vec!["u Busy/InACall".to_owned()]));
    }
}

#[tokio::test]
async fn migrations_bypass_the_pgbouncer() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    let migrated =
        command().args(["migrate", "--database-url", &bouncer.url]).args(&flags(&database)[..3]).status();
    assert!(migrated.unwrap().success());
    let process = Process::start(&bouncer.url, &[&flags(&database)[..], &["--no-migrate"]].concat()).await;
    let client = Client::new(Api::Grpc, process.grpc, process.http);
    assert_eq!(client.set("u", "app", "Busy/InACall", "").await, Outcome::Done);
}
