//! Failures: the database is unreachable and returns, and the service is stopped.

use std::{future::pending, io::ErrorKind, net::SocketAddr, time::Duration};

use presenced::{
    admin::ask_readyz,
    app::{Addresses, App, Drain},
    clock::{Clock, Stopwatch},
    grpc::pb::{
        BatchSetPresencesRequest, SetPresenceRequest,
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        presence_service_client::PresenceServiceClient,
    },
    settings::Settings,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    process::Process,
    proxy::{Network, Proxy},
    server::{settings, start},
    wait::{eventually, pass_time},
};

/// The limit within which a caller learns that the database is unreachable.
const RESPONSE_LIMIT: Duration = Duration::from_secs(3);
/// The interval of the service's health checks.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

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
        Self::tuned(&[], |_| ()).await
    }

    /// Starts a service with these flags, and with settings that `tune` has changed.
    async fn tuned(flags: &[&str], tune: impl FnOnce(&mut Settings)) -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(&database.url).await;
        let mut settings = settings(&url, flags);
        tune(&mut settings);
        let app = start(&settings, Clock::new()).await;
        let client = |api| Client::new(api, app.addresses().grpc, app.addresses().http);
        let (grpc, graph) = (client(Api::Grpc), client(Api::Http));
        let bench = Self { app, proxy, grpc, graph, database };
        bench.serves_all_operations().await;
        bench
    }

    /// Both APIs can set, get and clear.
    async fn serves_all_operations(&self) {
        for client in [&self.grpc, &self.graph] {
            assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
            assert_eq!(client.get("u").await, Outcome::Presences(vec!["u Busy/InACall".to_owned()]));
            assert_eq!(client.clear("u", "app").await, Outcome::Done);
        }
    }

    /// Both APIs refuse every operation in time.
    async fn refuses_all_operations_in_time(&self) {
        let mut calls = JoinSet::new();
        for client in [&self.grpc, &self.graph] {
            // Several callers, so that some wait in the queue.
            for _ in 0..10 {
                let client = client.clone();
                calls.spawn(async move {
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < RESPONSE_LIMIT, "set: {:?}", stopwatch.elapsed());
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.get("u").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < RESPONSE_LIMIT, "get: {:?}", stopwatch.elapsed());
                    let stopwatch = Stopwatch::start();
                    assert_eq!(client.clear("u", "app").await, Outcome::Unavailable);
                    assert!(stopwatch.elapsed() < RESPONSE_LIMIT, "clear: {:?}", stopwatch.elapsed());
                });
            }
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }

    async fn grpc_health(&self) -> ServingStatus {
        let request = HealthCheckRequest { service: String::new() };
        HealthClient::new(self.channel().await).check(request).await.unwrap().into_inner().status()
    }

    async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.app.addresses().grpc);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// Waits until both readiness probes report this state.
    async fn becomes_ready(&self, ready: bool) {
        let admin = self.app.addresses().admin;
        let (status, serving) = if ready {
            (StatusCode::OK, ServingStatus::Serving)
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, ServingStatus::NotServing)
        };
        let probes_agree = async || readyz(admin).await.0 == ready && self.grpc_health().await == serving;
        eventually(&format!("both probes report {serving:?}"), probes_agree).await;
        let probe = async |path: &str| reqwest::get(format!("http://{admin}{path}")).await.unwrap().status();
        assert_eq!(probe("/readyz").await, status);
        assert_eq!(probe("/livez").await, StatusCode::OK, "liveness does not depend on the database");
    }

    async fn recovers(&self) {
        self.proxy.set(Network::Up);
        self.becomes_ready(true).await;
        self.serves_all_operations().await;
    }
}

/// Whether `/readyz` returns 200, and its text. It is cheap: no HTTP client is made.
async fn readyz(admin: SocketAddr) -> (bool, String) {
    ask_readyz(admin).await.unwrap()
}

fn unready(state: &str) -> (bool, String) {
    (false, state.to_owned())
}

/// Waits until `/readyz` reports this state.
async fn becomes_unready(admin: SocketAddr, state: &str) {
    eventually(&format!("/readyz reports {state:?}"), async || readyz(admin).await == unready(state)).await;
}

#[tokio::test]
async fn requests_fail_in_time_while_the_database_is_cut_off_and_then_recover() {
    let bench = Bench::new().await;
    bench.becomes_ready(true).await;
    for _ in 0..2 {
        bench.proxy.set(Network::Cut);
        bench.refuses_all_operations_in_time().await;
        bench.becomes_ready(false).await;
        bench.recovers().await;
    }
}

#[tokio::test]
async fn requests_fail_in_time_while_the_database_hangs_and_then_recover() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    bench.refuses_all_operations_in_time().await;
    bench.becomes_ready(false).await;
    bench.recovers().await;
}

#[tokio::test]
async fn an_unavailable_store_returns_a_retry_delay_and_no_internals() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Cut);
    let url = format!("http://{}/v1.0/users/u/presence", bench.app.addresses().http);
    let response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = response.json().await.unwrap();
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
        ..Default::default()
    };
    let status = client.set_presence(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_STORE_UNAVAILABLE");
}

#[tokio::test]
async fn a_grpc_timeout_that_passes_returns_deadline_exceeded() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Hung);
    // Not with tonic's client, which has a timer of its own that would fire first.
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
    let response = request.send().await.unwrap();
    let took = stopwatch.elapsed();
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_DEADLINE_EXCEEDED");
    assert!((Duration::from_millis(200)..Duration::from_secs(1)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_stop_waits_for_the_request_under_way_and_refuses_new_ones() {
    let bench = Bench::new().await;
    let Addresses { http: address, admin, .. } = bench.app.addresses();
    bench.proxy.set(Network::Holding("under-way"));
    let under_way = tokio::spawn({
        let client = bench.graph.clone();
        async move { client.set("under-way", "app", "Busy/InACall", "PT1H").await }
    });
    bench.proxy.holds(1).await;
    let stop = tokio::spawn(bench.app.stop(Duration::from_hours(1), pending()));
    becomes_unready(admin, "stopping").await;
    // The database works, so that a health check after the stop would report "ready".
    for _ in 0..3 {
        pass_time(HEALTH_INTERVAL).await;
        assert_eq!(readyz(admin).await, unready("stopping"));
    }
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!stop.is_finished() && !under_way.is_finished());
    bench.proxy.set(Network::Up);
    assert_eq!(under_way.await.unwrap(), Outcome::Done);
    assert_eq!(stop.await.unwrap(), Drain::Complete);
}

#[tokio::test]
async fn a_stop_ends_at_its_timeout_and_drops_the_request_under_way() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Holding("under-way"));
    let url = format!("http://{}/v1.0/users/under-way/presence/setPresence", bench.app.addresses().http);
    let session = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
    let under_way = tokio::spawn(reqwest::Client::new().post(url).json(&session).send());
    bench.proxy.holds(1).await;
    let stopwatch = Stopwatch::start();
    assert_eq!(bench.app.stop(Duration::from_millis(300), pending()).await, Drain::TimedOut);
    assert!(stopwatch.elapsed() < Duration::from_secs(3), "{:?}", stopwatch.elapsed());
    let error = under_way.await.unwrap().unwrap_err();
    assert!(error.is_request(), "the connection was closed without a response: {error:?}");
}

#[tokio::test]
async fn a_second_signal_ends_a_stop_at_once() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let (proxy, url) = Proxy::to(&database.url).await;
    let mut process = Process::start(&url, &[]).await;
    proxy.set(Network::Holding("under-way"));
    let client = Client::new(Api::Grpc, process.grpc, process.http);
    let under_way = tokio::spawn(async move { client.set("under-way", "app", "Busy/InACall", "PT1H").await });
    proxy.holds(1).await;
    let stopwatch = Stopwatch::start();
    process.signal("TERM");
    becomes_unready(process.admin, "stopping").await;
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
    bench.proxy.set(Network::Holding("queued"));
    let channel = bench.channel().await;
    let request = |user: usize| SetPresenceRequest {
        user_id: user.to_string(),
        session_id: "queued".into(),
        availability: 2,
        activity: 2,
        expiration_duration: None,
        ..Default::default()
    };
    let mut batches = JoinSet::new();
    let mut send_batch = || {
        let mut client = PresenceServiceClient::new(channel.clone());
        let batch = BatchSetPresencesRequest { requests: (0..1_000).map(request).collect() };
        batches.spawn(async move { client.batch_set_presences(batch).await });
    };
    // As many statements as may run at once.
    for statements in 1..=2 {
        send_batch();
        bench.proxy.holds(statements).await;
    }
    // One of the next two fills the queue. The other one is the first to get a response.
    send_batch();
    send_batch();
    let status = batches.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);

    let status = PresenceServiceClient::new(channel).set_presence(request(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "the queue is not the caller's");
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_QUEUE_FULL");
    let url = format!("http://{}/v1.0/users/u/presence/setPresence", bench.app.addresses().http);
    let body = json!({ "sessionId": "a", "availability": "Busy", "activity": "InACall" });
    let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "serviceNotAvailable");
    assert_eq!(body["error"]["innerError"]["code"], "QUEUE_FULL");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_500_for_its_user_only_and_is_not_shown() {
    let bench = Bench::new().await;
    let mut connection = PgConnection::connect(&bench.database.url).await.unwrap();
    let row = "insert into presence_sessions (tenant_id, user_id, session_id, availability, activity, opened_at, \
               started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller) values ('00000000-0000-0000-0000-000000000000', \
               'broken', 'not an id', 'Away', 'Away', 0, 0, 0, 0, 9000000000000, 0, false)";
    connection.execute(row).await.unwrap();
    let get = |user: &str| {
        reqwest::get(format!("http://{}/v1.0/users/{user}/presence", bench.app.addresses().http))
    };
    let (broken, intact) = tokio::join!(get("broken"), get("u"));
    assert_eq!(intact.unwrap().status(), StatusCode::OK);
    let broken = broken.unwrap();
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = broken.json().await.unwrap();
    assert_eq!(body["error"]["code"], "InternalServerError");
    assert!(!body.to_string().contains("not an id"), "{body}");
}

#[tokio::test]
async fn a_read_only_database_is_not_ready() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let app = start(&settings(&database.url, &[]), Clock::new()).await;
    let admin = app.addresses().admin;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let name = database.url.rsplit('/').next().unwrap();
    // As after a failover, when all new connections lead to the standby.
    connection
        .execute(AssertSqlSafe(format!("alter database {name} set default_transaction_read_only = on")))
        .await
        .unwrap();
    let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                  where datname = current_database() and pid <> pg_backend_pid()";
    connection.execute(others).await.unwrap();
    becomes_unready(admin, "store unavailable").await;
    // That was the check on the connection that ended. The next ones use new connections.
    for _ in 0..2 {
        next_health_check(&mut connection).await;
        assert_eq!(readyz(admin).await, unready("store unavailable"));
    }
    assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
}

#[tokio::test]
async fn a_database_that_loses_a_column_or_a_privilege_is_not_ready_until_it_has_it_again() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let role = database.url.rsplit('/').next().unwrap().replace("presence", "guest");
    let mut execute = async |sql: String| {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    drop(start(&settings(&database.url, &[]), Clock::new()).await);
    execute(format!("create role {role} login")).await;
    execute(format!("grant select, insert, update, delete on all tables in schema public to {role}")).await;
    let url = database.url.replace("presence@", &format!("{role}@"));
    let app = start(&settings(&url, &["--no-migrate"]), Clock::new()).await;
    let Addresses { grpc, http, admin } = app.addresses();
    let client = Client::new(Api::Http, grpc, http);
    let set = async || client.set("u", "app", "Busy/InACall", "").await;
    for (lose, restore) in [
        (
            format!("revoke update on presence_sessions from {role}"),
            format!("grant update on presence_sessions to {role}"),
        ),
        (
            "alter table presence_sessions rename column observed_at to lost".to_owned(),
            "alter table presence_sessions rename column lost to observed_at".to_owned(),
        ),
    ] {
        eventually("ready", async || readyz(admin).await.0).await;
        assert_eq!(set().await, Outcome::Done);
        execute(lose).await;
        assert_eq!(set().await, Outcome::Unavailable);
        becomes_unready(admin, "store unavailable").await;
        execute(restore).await;
        eventually("the set succeeds", async || set().await == Outcome::Done).await;
    }
    assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    execute(format!("drop owned by {role}; drop role {role}")).await;
}

/// Waits until the database ran another health check of the service.
async fn next_health_check(connection: &mut PgConnection) {
    const LATEST: &str = "select coalesce(max(query_start)::text, '') from pg_stat_activity \
                          where datname = current_database() and pid <> pg_backend_pid() \
                          and query like '%transaction_read_only%'";
    let mut latest =
        async || sqlx::query_scalar::<_, String>(LATEST).fetch_one(&mut *connection).await.unwrap();
    let before = latest().await;
    eventually("another health check", async || latest().await != before).await;
}

#[tokio::test]
async fn a_write_that_failed_can_be_sent_again() {
    let bench = Bench::new().await;
    bench.proxy.set(Network::Cut);
    assert_eq!(bench.graph.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Unavailable);
    bench.proxy.set(Network::Up);
    for _ in 0..2 {
        assert_eq!(bench.graph.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    }
    assert_eq!(bench.graph.get("u").await, Outcome::Presences(vec!["u Busy/InACall".to_owned()]));
}
