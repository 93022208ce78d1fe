//! Several replicas on one PostgreSQL.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    number,
    process::Process,
};

#[tokio::test]
async fn replicas_that_start_at_once_migrate_an_empty_database_once() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        let url = database.url.clone();
        starts.spawn(async move { Process::start(&url, &[]).await });
    }
    let replicas = starts.join_all().await;
    for replica in &replicas {
        let client = Client::new(Api::Http, replica.grpc, replica.http);
        assert_eq!(client.set("u", "app", "Busy/InACall", "").await, Outcome::Done);
    }
}

#[tokio::test]
async fn a_set_that_one_replica_acknowledged_is_read_from_the_other_at_once() {
    const USERS: usize = 8;
    let pairs = number("PRESENCE_TEST_REPLICA_PAIRS", 10_000);
    let database = TestDatabase::new(Engine::Postgres).await;
    let replicas = [Process::start(&database.url, &[]).await, Process::start(&database.url, &[]).await];
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let clients = [0, 1].map(|replica: usize| {
            let (grpc, http) = (replicas[replica].grpc, replicas[replica].http);
            Client::new(if user % 2 == 0 { Api::Grpc } else { Api::Http }, grpc, http)
        });
        let share = pairs / USERS + usize::from(user < pairs % USERS);
        users.spawn(async move {
            let user = format!("user-{user}");
            let mut stale = 0;
            let mut unavailable = 0;
            for round in 0..share {
                let [writer, reader] = if round % 2 == 0 { [0, 1] } else { [1, 0] };
                let pair = ["Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"][round % 3];
                // A machine busy with other tests may answer 503; a client asks again.
                while clients[writer].set(&user, "app", pair, "").await != Outcome::Done {
                    unavailable += 1;
                }
                let mut read = clients[reader].get(&user).await;
                while read == Outcome::Unavailable {
                    unavailable += 1;
                    read = clients[reader].get(&user).await;
                }
                stale += usize::from(read != Outcome::Presences(vec![format!("{user} {pair}")]));
            }
            [share, stale, unavailable]
        });
    }
    let results = users.join_all().await;
    let [tried, stale, unavailable] =
        [0, 1, 2].map(|of| results.iter().map(|result| result[of]).sum::<usize>());
    println!(
        "replicas: {tried} pairs of a set on one and a get on the other, {stale} stale ({unavailable} asked again)"
    );
    assert_eq!((tried, stale), (pairs, 0));
    assert!(unavailable * 100 <= pairs, "{unavailable} answers of 503 with the database there");
}

#[tokio::test]
async fn a_session_that_ended_long_ago_is_removed_by_any_replica() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let first = Process::start(&database.url, &[]).await;
    let client = Client::new(Api::Grpc, first.grpc, first.http);
    for user in ["gone", "here"] {
        assert_eq!(client.set(user, "app", "Busy/InACall", "").await, Outcome::Done);
    }
    assert_eq!(client.clear("gone", "app").await, Outcome::Done);
    sleep(Duration::from_millis(10)).await;
    // It cleans up when it starts.
    let second = Process::start(&database.url, &["--retention", "1ms"]).await;
    let metrics = format!("http://{}/metrics", second.admin);
    let mut text = String::new();
    for _ in 0..100 {
        text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        if !text.contains("presence_sessions_removed_total 0") {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(text.contains("presence_sessions_removed_total 1\n"), "{text}");
    assert_eq!(client.get("here").await, Outcome::Presences(vec!["here Busy/InACall".into()]));
}
