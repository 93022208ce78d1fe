//! Waiting for a presence.

use std::{future::pending, time::Duration};

use presenced::{
    app::{Addresses, Drain},
    clock::Stopwatch,
    grpc::pb::{Availability, WaitForPresenceRequest, presence_service_client::PresenceServiceClient},
};
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

use super::{client, connect, faults::Replicas, metric};
use crate::support::{
    client::{Outcome::Done, words},
    database::Engine,
    on_every_engine,
    proxy::Network,
    server::Server,
    wait::eventually,
};

on_every_engine![
    a_wait_returns_at_once_or_when_it_happens,
    a_wait_for_everyone_returns_the_first_user,
    a_wait_ends_at_its_duration_or_at_the_deadline_of_the_call,
];

const AVAILABLE: i32 = Availability::Available as i32;
const BUSY: i32 = Availability::Busy as i32;

fn request(users: &[&str], availabilities: &[i32]) -> WaitForPresenceRequest {
    WaitForPresenceRequest {
        user_ids: users.iter().map(ToString::to_string).collect(),
        availabilities: availabilities.to_vec(),
        wait_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..Default::default()
    }
}

fn everyone(availabilities: &[i32]) -> WaitForPresenceRequest {
    WaitForPresenceRequest { everyone: true, ..request(&[], availabilities) }
}

async fn wait(
    client: PresenceServiceClient<Channel>,
    request: WaitForPresenceRequest,
) -> Result<String, Status> {
    let mut client = client;
    Ok(words(&client.wait_for_presence(request).await?.into_inner().presence.unwrap()))
}

/// Begins a wait, and returns when the hub follows its users.
async fn begun(addresses: Addresses, request: WaitForPresenceRequest) -> JoinHandle<Result<String, Status>> {
    let streams = async || metric(addresses, "presence_watch_streams").await;
    let before = streams().await;
    let waiting = tokio::spawn(wait(PresenceServiceClient::new(connect(addresses).await), request));
    eventually("the call waits", async || streams().await > before).await;
    waiting
}

async fn a_wait_returns_at_once_or_when_it_happens(engine: Engine) {
    let server = Server::start(engine).await;
    let (client, grpc) = (client(&server), PresenceServiceClient::new(connect(server.addresses).await));
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let shown = wait(grpc.clone(), request(&["b", "a", "a"], &[BUSY, AVAILABLE])).await.unwrap();
    assert_eq!(shown, "a Busy/InACall", "at once");
    let waiting = begun(server.addresses, request(&["a", "b"], &[AVAILABLE])).await;
    assert_eq!(client.set("a", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(client.set("b", "app", "Busy/InACall", "PT1H").await, Done);
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    assert_eq!(client.set("b", "app", "Available/Available", "PT1H").await, Done);
    assert_eq!(waiting.await.unwrap().unwrap(), "b Available/Available");
    // Every user is offline at first.
    let offline = Availability::Offline as i32;
    assert_eq!(wait(grpc, request(&["new"], &[offline])).await.unwrap(), "new Offline/Offline");
    eventually("nothing is watched", async || metric(server.addresses, "presence_watch_users").await == 0)
        .await;
    server.stop().await;
}

async fn a_wait_for_everyone_returns_the_first_user(engine: Engine) {
    let server = Server::start(engine).await;
    let (client, grpc) = (client(&server), PresenceServiceClient::new(connect(server.addresses).await));
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    assert_eq!(wait(grpc, everyone(&[BUSY])).await.unwrap(), "a Busy/InACall");
    let waiting = begun(server.addresses, everyone(&[AVAILABLE])).await;
    assert_eq!(client.set("b", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(client.set("new", "app", "Available/Available", "PT1H").await, Done);
    assert_eq!(waiting.await.unwrap().unwrap(), "new Available/Available");
    server.stop().await;
}

async fn a_wait_ends_at_its_duration_or_at_the_deadline_of_the_call(engine: Engine) {
    let server = Server::start(engine).await;
    let mut grpc = PresenceServiceClient::new(connect(server.addresses).await);
    let short = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let stopwatch = Stopwatch::start();
    let status =
        wait(grpc.clone(), WaitForPresenceRequest { wait_duration: short, ..request(&["a"], &[BUSY]) });
    let status = status.await.unwrap_err();
    assert!(stopwatch.elapsed() >= Duration::from_millis(200), "{:?}", stopwatch.elapsed());
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("within 200ms. Call again"), "{status}");
    let mut request = Request::new(request(&["a"], &[BUSY]));
    request.set_timeout(Duration::from_millis(200));
    let code = grpc.wait_for_presence(request).await.unwrap_err().code();
    // tonic's client gives up at the same time, with a code of its own.
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code), "{code:?}");
    let unwatched = async || metric(server.addresses, "presence_watch_streams").await == 0;
    eventually("the service waits no longer", unwatched).await;
    server.stop().await;
}

#[tokio::test]
async fn invalid_waits_are_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let grpc = PresenceServiceClient::new(connect(server.addresses).await);
    let refused = async |request: WaitForPresenceRequest| {
        let status = wait(grpc.clone(), request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        status
            .get_details_bad_request()
            .unwrap()
            .field_violations
            .into_iter()
            .map(|field| field.field)
            .collect()
    };
    let none: Vec<String> = refused(request(&[], &[])).await;
    assert_eq!(none, ["user_ids", "availabilities"]);
    let fields: Vec<String> = refused(request(&["a b"], &[0])).await;
    assert_eq!(fields, ["user_ids[0]", "availabilities"]);
    let fields: Vec<String> = refused(request(&["a"], &[99])).await;
    assert_eq!(fields, ["availabilities"]);
    let fields: Vec<String> = refused(request(&["a"], &[1; 7])).await;
    assert_eq!(fields, ["availabilities"]);
    let fields: Vec<String> = refused(request(&["a"; 651], &[BUSY])).await;
    assert_eq!(fields, ["user_ids"]);
    let both = WaitForPresenceRequest { everyone: true, ..request(&["a"], &[BUSY]) };
    let fields: Vec<String> = refused(both).await;
    assert_eq!(fields, ["everyone"]);
    for seconds in [-1, 0, 3_601] {
        let wait_duration = Some(prost_types::Duration { seconds, nanos: 0 });
        let fields: Vec<String> =
            refused(WaitForPresenceRequest { wait_duration, ..request(&["a"], &[BUSY]) }).await;
        assert_eq!(fields, ["wait_duration"], "{seconds}");
    }
    server.stop().await;
}

/// No timeout of a request ends the wait, and a stop does not wait for it.
#[tokio::test]
async fn a_long_wait_goes_on_until_the_service_stops() {
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.limits.body_timeout = Duration::from_millis(100);
        settings.limits.send_timeout = Duration::from_millis(100);
    })
    .await;
    let waiting = begun(server.addresses, request(&["a"], &[BUSY])).await;
    sleep(Duration::from_millis(1_500)).await;
    assert!(!waiting.is_finished());
    assert_eq!(server.app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    let status = waiting.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_STOPPING");
}

#[tokio::test]
async fn a_wait_outlasts_an_outage_of_the_database() {
    let replicas = Replicas::new().await;
    let addresses = replicas.watched.addresses();
    let one = begun(addresses, request(&["a"], &[BUSY])).await;
    replicas.proxy.set(Network::Cut);
    let during =
        [begun(addresses, request(&["a"], &[BUSY])).await, begun(addresses, everyone(&[BUSY])).await];
    replicas.set("Busy/InACall").await;
    sleep(Duration::from_millis(500)).await;
    replicas.proxy.set(Network::Up);
    for waiting in [one].into_iter().chain(during) {
        assert_eq!(waiting.await.unwrap().unwrap(), "a Busy/InACall");
    }
    replicas.stop().await;
}
