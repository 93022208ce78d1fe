//! Refused streams, limits, heartbeats, and the ends of streams.

use std::{future::pending, time::Duration};

use presenced::{app::Drain, clock::Stopwatch};
use serde_json::json;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use presenced::grpc::pb::{WatchPresencesRequest, presence_service_client::PresenceServiceClient};

use super::{Watcher, client, connect, set_all};
use crate::{
    auth::Guarded,
    hold::Holder,
    support::{
        client::Outcome::Done, database::Engine, metrics::value, on_every_engine, server::Server, tokens,
        wait::eventually,
    },
};

on_every_engine![a_paused_reader_gets_the_newest_state_when_it_resumes];

fn reason(status: &Status) -> String {
    status.get_details_request_info().expect("the request's id");
    status.get_details_error_info().expect("a reason").reason
}

/// Returns long ids. 2,000 of them have 256 KB, more than a connection's window.
fn long_ids(number: usize) -> Vec<String> {
    (0..number).map(|user| format!("{user:0128}")).collect()
}

#[tokio::test]
async fn invalid_input_is_named() {
    let server = Server::start(Engine::Sqlite).await;
    let refused = async |users: &[&str]| {
        let status = Watcher::try_open(server.addresses, users).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        (reason(&status), fields.into_iter().map(|field| field.field).collect::<Vec<_>>())
    };
    assert_eq!(refused(&[]).await, ("ERROR_REASON_FIELD_REQUIRED".into(), vec!["user_ids".into()]));
    let (reason_of, fields) = refused(&["a", "a b", "c", "", "a/b"]).await;
    assert_eq!(reason_of, "ERROR_REASON_FIELD_INVALID");
    assert_eq!(fields, ["user_ids[1]", "user_ids[3]", "user_ids[4]"]);
    let many = vec!["a"; 10_001];
    assert_eq!(refused(&many).await, ("ERROR_REASON_TOO_MANY".into(), vec!["user_ids".into()]));

    let ids = long_ids(10_000);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut watcher = Watcher::open(server.addresses, &ids).await;
    assert_eq!(watcher.snapshot().await.len(), 10_000);
    let long = "x".repeat(1_536 * 1_024);
    let status = Watcher::try_open(server.addresses, &[&long]).await.err().unwrap();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE")
    );
    assert!(status.message().contains("1572864 bytes"), "{}", status.message());
    server.stop().await;
}

#[tokio::test]
async fn the_number_of_watched_users_is_limited() {
    let server = Server::start_with(Engine::Sqlite, &["--watch-users-max", "10000"]).await;
    let ids: Vec<String> = (0..6_000).map(|user| user.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let first = Watcher::open(server.addresses, &ids).await;
    let status = Watcher::try_open(server.addresses, &ids).await.err().unwrap();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "ERROR_REASON_TOO_MANY_WATCHED"),
        "the limit is the replica's, not the caller's"
    );
    assert!(status.get_details_retry_info().is_some());
    drop(first);
    let opened = async {
        while Watcher::try_open(server.addresses, &ids).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::PATIENCE, opened).await.expect("users can be watched again");
    server.stop().await;
}

#[tokio::test]
async fn one_tenant_cannot_take_all_watched_users() {
    let flags = ["--watch-users-max", "20000", "--tenant-watch-users-max", "10000"];
    let guarded = Guarded::start(Engine::Sqlite, &flags).await;
    let open = async |tenant: &str| {
        let claims = tokens::with(&json!({ "roles": ["Presence.Read.All"], "tid": tenant }));
        let bearer = format!("Bearer {}", guarded.signer.sign(&claims));
        let user_ids = (0..6_000).map(|user| user.to_string()).collect();
        let mut request = Request::new(WatchPresencesRequest { user_ids, ..Default::default() });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let mut client = PresenceServiceClient::new(connect(guarded.server.addresses).await);
        client.watch_presences(request).await
    };
    let other = "44444444-f5ab-4529-bffb-cfe50aa89f87";
    let first = open(tokens::TENANT).await.unwrap();
    let status = open(tokens::TENANT).await.err().unwrap();
    println!("the same tenant: {:?} {}", status.code(), status.message());
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "ERROR_REASON_TOO_MANY_WATCHED")
    );
    assert!(status.message().contains("--tenant-watch-users-max"), "{status}");
    let second = open(other).await.expect("another tenant has room");
    drop((first, second));
    guarded.server.stop().await;
}

#[test]
fn a_tenant_has_half_of_the_watched_users_if_there_are_several() {
    let all = |flags: &[&str]| {
        let streams = crate::support::server::settings("sqlite::memory:", flags).streams;
        [true, false].map(|has_tenants| streams.tenant_users_max(has_tenants))
    };
    assert_eq!(all(&["--watch-users-max", "50000"]), [25_000, 50_000]);
    let both = ["--watch-users-max", "50000", "--tenant-watch-users-max", "10000"];
    assert_eq!(all(&both), [10_000, 10_000]);
}

#[tokio::test]
async fn ended_streams_are_counted_by_reason() {
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.streams.stream_max_age = Duration::from_secs(2);
    })
    .await;
    let admin = server.addresses.admin;
    let ended = async |operation: &str, reason: &str| {
        let series = format!(r#"presence_streams_ended_total{{operation="{operation}",reason="{reason}"}}"#);
        value(admin, &series).await
    };
    let mut old = Watcher::open(server.addresses, &["a"]).await;
    drop(Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await);
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    assert_eq!(client(&server).clear("u", "app").await, Done);
    assert_eq!(reason(&holder.end().await), "ERROR_REASON_SESSION_TAKEN");
    assert_eq!(reason(&old.end().await), "ERROR_REASON_STREAM_TOO_OLD");
    for (operation, reason) in
        [("watch_presences", "client"), ("hold_presence", "taken"), ("watch_presences", "age")]
    {
        eventually("the end is counted", async || ended(operation, reason).await >= 1.0).await;
        println!("{operation} {reason}: {}", ended(operation, reason).await);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_at_once() {
    let server = Server::start(Engine::Sqlite).await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await);
    }
    let stopwatch = Stopwatch::start();
    let stop = tokio::spawn(server.app.stop(Duration::from_secs(10), pending()));
    for watcher in &mut watchers {
        let status = watcher.end().await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "ERROR_REASON_STOPPING"));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    }
    assert_eq!(stop.await.unwrap(), Drain::Complete);
    assert!(stopwatch.elapsed() < Duration::from_secs(5), "{:?}", stopwatch.elapsed());
}

#[tokio::test]
async fn a_paused_reader_does_not_delay_shutdown() {
    let server = Server::start(Engine::Sqlite).await;
    let ids = long_ids(2_000);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut watcher = Watcher::open(server.addresses, &ids).await;
    watcher.next().await;
    // The snapshot is longer than the client's window.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
}

#[tokio::test]
async fn a_stream_ends_when_the_token_expires() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let server = &guarded.server;
    let claims = tokens::with(&json!({ "roles": ["Presence.Read.All"], "exp": expiry() }));
    let bearer = format!("Bearer {}", guarded.signer.sign(&claims));
    let mut client = PresenceServiceClient::new(connect(server.addresses).await);
    let mut request =
        Request::new(WatchPresencesRequest { user_ids: vec!["a".into()], ..Default::default() });
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let stream = client.watch_presences(request).await.unwrap().into_inner();
    let mut watcher = Watcher { stream };
    assert_eq!(watcher.snapshot().await, ["a Offline/Offline"]);
    // With the leeway the token is valid for 11 minutes.
    server.clock.advance(Duration::from_millis(11 * 60_000 - 1));
    let writer = format!("Bearer {}", guarded.signer.sign(&tokens::application(&["Presence.ReadWrite.All"])));
    let mut set = Request::new(super::set_request("a", "Busy/InACall"));
    set.get_mut().session_id = tokens::APP.to_owned();
    set.metadata_mut().insert("authorization", writer.parse().unwrap());
    client.set_presence(set).await.unwrap();
    assert_eq!(watcher.next().await, "a Busy/InACall");
    server.clock.advance(Duration::from_millis(1));
    let status = watcher.end().await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unauthenticated, "ERROR_REASON_TOKEN_INVALID")
    );
    guarded.server.stop().await;
}

/// The time in 10 minutes.
fn expiry() -> i64 {
    crate::support::server::START.as_millis() / 1_000 + 600
}

#[tokio::test]
async fn a_stream_ends_at_its_maximum_age() {
    let server = Server::start_with(Engine::Sqlite, &["--stream-max-age", "300ms"]).await;
    let mut watcher = Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await;
    let status = watcher.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "ERROR_REASON_STREAM_TOO_OLD"));
    server.stop().await;
}

#[tokio::test]
async fn a_quiet_stream_sends_heartbeats_and_does_not_time_out() {
    // The stream is quiet for longer than the send timeout.
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.streams.watch_heartbeat = Duration::from_secs(1);
        settings.limits.send_timeout = Duration::from_millis(200);
        settings.limits.body_timeout = Duration::from_millis(200);
    })
    .await;
    let mut watcher = Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await;
    for _ in 0..2 {
        assert_eq!(watcher.next().await, "heartbeat");
    }
    assert_eq!(client(&server).set("a", "app", "Busy/InACall", "").await, Done);
    assert_eq!(watcher.next_change().await, "a Busy/InACall");
    server.stop().await;
}

async fn a_paused_reader_gets_the_newest_state_when_it_resumes(engine: Engine) {
    let server = Server::start(engine).await;
    let ids = long_ids(2_000);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut watcher = Watcher::open(server.addresses, &ids).await;
    // A second stream, which is read, shows when the hub has the changes.
    let mut reader = Watcher::open(server.addresses, &ids).await;
    assert_eq!(reader.snapshot().await.len(), ids.len());
    let pairs = ["Busy/InACall", "Away/Away", "Busy/InACall", "DoNotDisturb/Presenting"];
    for pair in pairs {
        set_all(server.addresses, &ids, pair).await;
        for _ in 0..ids.len() {
            assert!(reader.next().await.ends_with(pair));
        }
    }
    let metric = async |name: &str| super::metric(server.addresses, name).await;
    assert_eq!(metric("presence_watch_slow_readers").await, 1);
    assert!(metric("presence_watch_coalesced_total").await > 2_000);
    let mut events = 0;
    let mut newest = std::collections::HashMap::new();
    while newest.values().filter(|pair| *pair == pairs[3]).count() < ids.len() {
        let event = watcher.next().await;
        events += 1;
        if let Some((user, pair)) = event.split_once(' ').filter(|_| event != "snapshot complete") {
            newest.insert(user.to_owned(), pair.to_owned());
        }
    }
    assert!(events <= 2 * ids.len() + 1, "the buffered and the newest presences: {events}");
    assert_eq!(metric("presence_watch_slow_readers").await, 0);
    server.stop().await;
}
