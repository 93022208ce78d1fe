//! Faults during streams that hold sessions.

use std::{future::pending, process::Stdio, time::Duration};

use presenced::{
    app::{Addresses, Drain},
    clock::{Clock, Stopwatch},
    grpc::pb::HoldPresenceRequest,
};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Holder, Response, message};
use crate::{
    support::{
        database::{Engine, TestDatabase},
        process::Process,
        proxy::{Network, Proxy},
        server::{settings, start},
    },
    watch::Watcher,
};

/// The shortest grace, in seconds.
const GRACE_SECONDS: i64 = 5;
/// The longest time that a session with this grace outlives its stream.
const OUTLIVES: Duration = Duration::from_millis(7_500);
/// The tolerance for a busy machine.
const TOLERANCE: Duration = Duration::from_secs(4);

fn shortest(pair: &str) -> HoldPresenceRequest {
    let grace = Some(prost_types::Duration { seconds: GRACE_SECONDS, nanos: 0 });
    HoldPresenceRequest { grace, ..message("u", "app", pair) }
}

fn addresses(process: &Process) -> Addresses {
    Addresses { grpc: process.grpc, http: process.http, admin: process.admin }
}

/// Waits until the user is offline, which must happen after the grace and not much later.
async fn goes_offline(watcher: &mut Watcher, since: Stopwatch) {
    loop {
        let event = watcher.next().await;
        if event != "heartbeat" {
            assert_eq!(event, "u Offline/Offline");
            let after = since.elapsed();
            assert!(after >= Duration::from_secs(4) && after < OUTLIVES + TOLERANCE, "{after:?}");
            return println!("offline {after:?} after the stream broke");
        }
    }
}

/// The client is a process of its own, because a killed client closes nothing itself.
#[tokio::test]
async fn a_killed_clients_user_goes_offline_after_the_grace() {
    let service = Process::start("sqlite::memory:", &[]).await;
    let mut watcher = Watcher::of(addresses(&service), &["u"], &["u Offline/Offline"]).await;
    let mut client = Command::new("grpcurl")
        .args([
            "-plaintext",
            "-d",
            "@",
            &service.grpc.to_string(),
            "presence.v1.PresenceService/HoldPresence",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("grpcurl, which scripts/test installs");
    let first = r#"{"user_id": "u", "session_id": "app", "availability": "AVAILABILITY_BUSY",
        "activity": "ACTIVITY_IN_A_CALL", "grace": "5s"}"#;
    client.stdin.as_mut().unwrap().write_all(first.as_bytes()).await.unwrap();
    assert_eq!(watcher.next().await, "u Busy/InACall");
    client.kill().await.unwrap();
    goes_offline(&mut watcher, Stopwatch::start()).await;
}

#[tokio::test]
async fn after_a_killed_server_a_client_that_reopens_its_stream_stays_online_and_others_go_offline() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let mut killed = Process::start(&database.url, &[]).await;
    let other = Process::start(&database.url, &[]).await;
    let mut holder = Holder::try_open(addresses(&killed), shortest("Busy/InACall"), "").await.unwrap();
    holder.next().await;
    let mut watcher = Watcher::of(addresses(&other), &["u"], &["u Busy/InACall"]).await;
    killed.kill();
    let mut again = Holder::try_open(addresses(&other), shortest("Busy/InACall"), "").await.unwrap();
    again.next().await;
    for _ in 0..4 {
        assert!(matches!(again.next().await, Response::Extended(_)));
    }
    again.change("Away/Away").await;
    assert_eq!(watcher.next().await, "u Away/Away", "the watcher's first event");
    drop(again);
    goes_offline(&mut watcher, Stopwatch::start()).await;
}

/// The outage is longer than the session lives: the session expires, and is live again after it.
#[tokio::test]
async fn a_stream_outlives_an_unavailable_database() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let (proxy, url) = Proxy::to(&database.url).await;
    let held = start(&settings(&url, &[]), Clock::new()).await;
    let other = start(&settings(&database.url, &[]), Clock::new()).await;
    let mut holder = Holder::try_open(held.addresses(), shortest("Busy/InACall"), "").await.unwrap();
    holder.next().await;
    let mut watcher = Watcher::of(other.addresses(), &["u"], &["u Busy/InACall"]).await;
    proxy.set(Network::Cut);
    goes_offline(&mut watcher, Stopwatch::start()).await;
    proxy.set(Network::Up);
    assert_eq!(watcher.next().await, "u Busy/InACall");
    assert!(matches!(holder.next().await, Response::Extended(_)));
    holder.finish().await;
    assert_eq!(watcher.next().await, "u Offline/Offline");
    for app in [held, other] {
        assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}
