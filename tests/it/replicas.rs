//! Several replicas on one PostgreSQL.

use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    metrics, number,
    process::Process,
    wait::eventually,
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
                // On a machine busy with other tests a call may fail with 503; a client retries.
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
        "replicas: {tried} pairs of a set on one and a get on the other, {stale} stale ({unavailable} retries)"
    );
    assert_eq!((tried, stale), (pairs, 0));
    assert!(unavailable * 100 <= pairs, "{unavailable} responses of 503 while the database works");
}

#[tokio::test]
async fn the_replica_with_the_lease_removes_sessions_that_ended_before_the_retention_time() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let mut first = Process::start(&database.url, &[]).await;
    let client = Client::new(Api::Grpc, first.grpc, first.http);
    for user in ["ended", "live"] {
        assert_eq!(client.set(user, "app", "Busy/InACall", "").await, Outcome::Done);
    }
    assert_eq!(client.clear("ended", "app").await, Outcome::Done);
    first.kill();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let foreign = "insert into presence_leases values ('cleanup', '00000000-0000-0000-0000-000000000001', 0, 1) \
                   on conflict (name) do update set until = 1";
    connection.execute(foreign).await.unwrap();
    let expired = "insert into presence_subscriptions (tenant_id, subscription_id, request, signing_keys, created_at, \
                   expires_at, delivered_through, leased_until, generation) \
                   values (gen_random_uuid(), gen_random_uuid(), '{}', '[]', 0, 1, 0, 0, 0)";
    connection.execute(expired).await.unwrap();
    // A start takes longer than this retention time.
    let second = Process::start(&database.url, &["--retention", "1ms"]).await;
    let removed = async || metrics::value(second.admin, "presence_sessions_removed_total").await;
    eventually("the second replica removes a session", async || removed().await > 0.0).await;
    assert!((removed().await - 1.0).abs() < f64::EPSILON);
    eventually("the expired subscription is removed", async || {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from presence_subscriptions");
        count.fetch_one(&mut connection).await.unwrap() == 0
    })
    .await;
    let client = Client::new(Api::Grpc, second.grpc, second.http);
    assert_eq!(client.get("live").await, Outcome::Presences(vec!["live Busy/InACall".into()]));
}
