//! Bad days: the database goes away and comes back, the service is stopped.

use std::{net::SocketAddr, time::Duration};

use presenced::{
    app::{Addresses, App},
    clock::{Clock, ManualClock, Stopwatch},
    grpc::pb::{
        BatchSetPresencesRequest, SetPresenceRequest, presence_service_client::PresenceServiceClient,
    },
    settings::Settings,
};
use reqwest::StatusCode;
use serde_json::Value;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    process::Process,
    proxy::{Network, Proxy},
    server::{settings, start},
};

/// Within this a caller hears that the database is gone.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// Within this the service works again once the database does.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A service whose database is behind a proxy.
struct Bench {
    app: App,
    proxy: Proxy,
    grpc: Client,
    graph: Client,
    database: TestDatabase,
}

impl Bench {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(flags: &[&str]) -> Self {
        Self::tuned(flags, |_| ()).await
    }

    /// The same after `tune` has changed the settings.
    async fn tuned(flags: &[&str], tune: impl FnOnce(&mut Settings)) -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(&database.url).await;
        let mut settings = settings(&url, flags);
        tune(&mut settings);
        let app = start(&settings, Clock::System).await;
        let client = |api| Client::new(api, app.addresses().grpc, app.addresses().http);
        let (grpc, graph) = (client(Api::Grpc), client(Api::Http));
        let bench = Self { app, proxy, grpc, graph, database };
        bench.works().await;
        bench
    }

    /// All that a user can do works, and probes say so.
    async fn works(&self) {
        for client in [&self.grpc, &self.graph] {
            assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
            assert_eq!(client.get("u").await, Outcome::Presences(vec!["u Busy/InACall".to_owned()]));
            assert_eq!(client.clear("u", "app").await, Outcome::Done);
        }
    }

    /// All that a user can do is refused in time, by both APIs.
    async fn is_unavailable_in_time(&self) {
        let mut calls = JoinSet::new();
        for client in [&self.grpc, &self.graph] {
            // More than one, so that some wait in the queue behind others.
            for _ in 0..10 {
                let client = client.clone();
                calls.spawn(async move {
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < GONE_WITHIN, "set: {:?}", stopwatch.elapsed());
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.get("u").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < GONE_WITHIN, "get: {:?}", stopwatch.elapsed());
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.clear("u", "app").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < GONE_WITHIN, "clear: {:?}", stopwatch.elapsed());
                });
            }
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }

    async fn readyz(&self) -> StatusCode {
        readyz(self.app.addresses().admin).await.0
    }

    async fn grpc_health(&self) -> ServingStatus {
        let request = HealthCheckRequest { service: String::new() };
        HealthClient::new(self.channel().await).check(request).await.unwrap().into_inner().status()
    }

    async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.app.addresses().grpc);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// Probes come to say whether it is ready.
    async fn becomes_ready(&self, ready: bool) {
        let (status, serving) = if ready {
            (StatusCode::OK, ServingStatus::Serving)
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, ServingStatus::NotServing)
        };
        let agree = async {
            while self.readyz().await != status || self.grpc_health().await != serving {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(BACK_WITHIN, agree).await.expect("the probes follow");
        let live = reqwest::get(format!("http://{}/livez", self.app.addresses().admin)).await.unwrap();
        assert_eq!(live.status(), StatusCode::OK, "liveness never looks at the database");
    }

    async fn recovers(&self) {
        self.proxy.set(Network::Up);
        self.becomes_ready(true).await;
        self.works().await;
    }
}

/// The status and the word of `/readyz`.
async fn readyz(admin: SocketAddr) -> (StatusCode, String) {
    let answer = reqwest::get(format!("http://{admin}/readyz")).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_503_in_time_and_comes_back_by_itself() {
    let bench = Bench::new().await;
    bench.becomes_ready(true).await;
    for _ in 0..2 {
        bench.proxy.set(Network::Cut);
        bench.is_unavailable_in_time().await;
        bench.becomes_ready(false).await;
        bench.recovers().await;
    }
}

#[tokio::test]
async fn a_database_that_hangs_is_503_in_time_and_comes_back_by_itself() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    bench.is_unavailable_in_time().await;
    bench.becomes_ready(false).await;
    bench.recovers().await;
}

#[tokio::test]
async fn an_unavailable_store_says_when_to_try_again_and_nothing_of_itself() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Cut);
    let url = format!("http://{}/v1.0/users/u/presence", bench.app.addresses().http);
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    let body: Value = answer.json().await.unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("The database is unavailable"), "{message}");
    for internal in ["postgres", "sql", "pool", "127.0.0.1", "load"] {
        assert!(!body.to_string().to_lowercase().contains(internal), "{body}");
    }

    let mut client = PresenceServiceClient::new(bench.channel().await);
    let request = SetPresenceRequest {
        user_id: "u".into(),
        session_id: "a".into(),
        availability: 2,
        activity: 2,
        expiration_duration: None,
    };
    let status = client.set_presence(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_STORE_UNAVAILABLE");
}

#[tokio::test]
async fn grpc_timeout_is_honoured_with_deadline_exceeded() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    // By hand: tonic's client keeps the time itself, and would answer first.
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let get_presence =
        format!("http://{}/presence.v1.PresenceService/GetPresence", bench.app.addresses().grpc);
    let request = http
        .post(get_presence)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "200m")
        .body(&b"\0\0\0\0\x03\x0a\x01u"[..]);
    let stopwatch = Stopwatch::start();
    let answer = request.send().await.unwrap();
    let took = stopwatch.elapsed();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_DEADLINE_EXCEEDED");
    assert!((Duration::from_millis(200)..Duration::from_secs(1)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_lets_nothing_new_in() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    let under_way = tokio::spawn({
        let client = bench.graph.clone();
        async move { client.set("u", "app", "Busy/InACall", "PT1H").await }
    });
    sleep(Duration::from_millis(50)).await;
    let Addresses { http: address, admin, .. } = bench.app.addresses();
    let stop = tokio::spawn(bench.app.stop(Duration::from_secs(10), std::future::pending()));
    sleep(Duration::from_millis(50)).await;
    let stopping = (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    assert_eq!(readyz(admin).await, stopping);
    // Longer than the health loop sleeps, for it must not turn the probes back,
    // and not as long as a statement may take.
    sleep(Duration::from_millis(1_050)).await;
    assert_eq!(readyz(admin).await, stopping);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    assert!(!stop.is_finished());
    bench.proxy.set(Network::Up);
    // Done, unless this machine was so busy that the statement ran out of time.
    let answer = under_way.await.unwrap();
    assert!(matches!(answer, Outcome::Done | Outcome::Unavailable), "{answer:?}");
    assert!(stop.await.unwrap(), "drained");
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_it_was_told() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    let url = format!("http://{}/v1.0/users/u/presence/setPresence", bench.app.addresses().http);
    let session = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
    let under_way = tokio::spawn(reqwest::Client::new().post(url).json(&session).send());
    sleep(Duration::from_millis(200)).await;
    let stopwatch = Stopwatch::start();
    assert!(!bench.app.stop(Duration::from_millis(300), std::future::pending()).await, "not drained");
    assert!(stopwatch.elapsed() < Duration::from_secs(3), "{:?}", stopwatch.elapsed());
    assert!(under_way.await.unwrap().is_err(), "its connection was dropped");
}

#[tokio::test]
async fn a_second_signal_ends_a_stop_at_once() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let (proxy, url) = Proxy::to(&database.url).await;
    let mut process = Process::start(&url, &[]).await;
    proxy.set(Network::Hung);
    let client = Client::new(Api::Grpc, process.grpc, process.http);
    let under_way = tokio::spawn(async move { client.set("u", "app", "Busy/InACall", "PT1H").await });
    sleep(Duration::from_millis(100)).await;
    let stopwatch = Stopwatch::start();
    process.signal("TERM");
    sleep(Duration::from_millis(100)).await;
    process.signal("INT");
    let (code, log) = process.wait();
    assert_eq!(code, Some(70), "{log}");
    assert!(log.contains("stopping at once") && log.contains("not drained"), "{log}");
    assert!(stopwatch.elapsed() < Duration::from_secs(2), "{:?}", stopwatch.elapsed());
    drop(under_way);
}

#[tokio::test]
async fn a_full_queue_is_429_with_a_retry_delay() {
    let bench = Bench::tuned(&["--workers", "1"], |settings| settings.queue_max = 1_000).await;
    bench.proxy.set(Network::Hung);
    let channel = bench.channel().await;
    let request = |user: usize| SetPresenceRequest {
        user_id: user.to_string(),
        session_id: "a".into(),
        availability: 2,
        activity: 2,
        expiration_duration: None,
    };
    // Two batches under way, and one that fills the queue.
    for _ in 0..3 {
        let mut client = PresenceServiceClient::new(channel.clone());
        let batch = BatchSetPresencesRequest { requests: (0..1_000).map(request).collect() };
        tokio::spawn(async move { client.batch_set_presences(batch).await });
        sleep(Duration::from_millis(100)).await;
    }
    let status = PresenceServiceClient::new(channel).set_presence(request(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_QUEUE_FULL");
    let url = format!("http://{}/v1.0/users/u/presence/setPresence", bench.app.addresses().http);
    let body = serde_json::json!({ "sessionId": "a", "availability": "Busy", "activity": "InACall" });
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "1");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "TooManyRequests");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_500_for_its_user_alone_and_says_nothing_of_it() {
    let bench = Bench::new().await;
    let mut connection = PgConnection::connect(&bench.database.url).await.unwrap();
    let row = "insert into presence_sessions values ('00000000-0000-0000-0000-000000000000', 'broken', 'not an id', \
               'Away', 'Away', now(), now(), now() + interval '1 hour')";
    connection.execute(row).await.unwrap();
    let get = |user: &str| {
        reqwest::get(format!("http://{}/v1.0/users/{user}/presence", bench.app.addresses().http))
    };
    let answers = tokio::join!(get("broken"), get("u"));
    assert_eq!(answers.1.unwrap().status(), StatusCode::OK);
    let broken = answers.0.unwrap();
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = broken.json().await.unwrap();
    assert_eq!(body["error"]["code"], "InternalServerError");
    assert!(!body.to_string().contains("not an id"), "{body}");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_not_ready() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let app = start(&settings(&database.url, &[]), Clock::System).await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let name = database.url.rsplit('/').next().unwrap();
    // As after a failover, once the connections are those to the standby.
    connection
        .execute(AssertSqlSafe(format!("alter database {name} set default_transaction_read_only = on")))
        .await
        .unwrap();
    let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                  where datname = current_database() and pid <> pg_backend_pid()";
    connection.execute(others).await.unwrap();
    let unavailable = (StatusCode::SERVICE_UNAVAILABLE, "store unavailable\n".to_owned());
    let says_so = async {
        while readyz(app.addresses().admin).await != unavailable {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(BACK_WITHIN, says_so).await.expect("it says so");
    // Its first connections were broken; those that follow take no writes.
    for _ in 0..5 {
        sleep(Duration::from_millis(500)).await;
        assert_eq!(readyz(app.addresses().admin).await, unavailable);
    }
    assert!(app.stop(Duration::from_secs(10), std::future::pending()).await);
}

#[tokio::test]
async fn a_clock_that_is_off_the_databases_is_not_ready() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let ahead = ManualClock::new(Clock::System.now() + Duration::from_mins(1));
    let app = start(&settings(&database.url, &[]), Clock::Manual(ahead)).await;
    let off = (StatusCode::SERVICE_UNAVAILABLE, "clock more than 2 s off the database's\n".to_owned());
    let says_so = async {
        while readyz(app.addresses().admin).await != off {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BACK_WITHIN, says_so).await.expect("it says so");
    let metrics = reqwest::get(format!("http://{}/metrics", app.addresses().admin)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let skew = metrics.lines().find_map(|line| line.strip_prefix("presence_clock_skew_seconds "));
    let skew: f64 = skew.expect("it is measured").parse().unwrap();
    assert!(skew > 2.0 && skew <= 60.0, "{skew}");
    assert!(app.stop(Duration::from_secs(10), std::future::pending()).await);
}

#[tokio::test]
async fn a_write_that_was_answered_as_failed_can_be_sent_again() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Cut);
    assert_eq!(bench.graph.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Unavailable);
    bench.proxy.set(Network::Up);
    for _ in 0..2 {
        assert_eq!(bench.graph.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    }
    assert_eq!(bench.graph.get("u").await, Outcome::Presences(vec!["u Busy/InACall".to_owned()]));
}
