//! The event stream of the HTTP API (Server-Sent Events).

use std::{future::pending, time::Duration};

use presenced::app::{Addresses, Drain};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{PATIENCE, client, metric};
use crate::{
    auth::Guarded,
    graph::TestApi,
    support::{
        client::{Outcome::Done, json_words},
        database::Engine,
        events::EventStream,
        on_every_engine,
        server::Server,
        tokens,
    },
};

on_every_engine![
    an_event_stream_sends_a_snapshot_and_then_changes,
    a_shutdown_ends_an_event_stream_with_the_reason,
];

pub(super) const PATH: &str = "/v1.0/communications/watchPresences";

/// An event stream of presences.
pub(super) struct Events(EventStream);

impl Events {
    pub(super) async fn open(addresses: Addresses, query: &str, headers: &[(&str, &str)]) -> Self {
        Self::of(send(addresses, Method::GET, &format!("{PATH}?{query}"), headers).await).await
    }

    pub(super) async fn of(response: Response) -> Self {
        let mut events = EventStream::new(response);
        assert_eq!(events.block().await.unwrap(), "retry: 2000");
        Self(events)
    }

    async fn next(&mut self) -> (String, Value) {
        self.0.next().await
    }

    async fn end(self) -> Value {
        self.0.end().await
    }

    /// Returns the presence in the next event.
    pub(super) async fn presence(&mut self) -> String {
        let (name, data) = self.next().await;
        assert_eq!(name, "presence");
        assert_eq!(data.get("@odata.context"), None);
        json_words(&data)
    }

    pub(super) async fn snapshot(&mut self, users: usize) -> Vec<String> {
        let mut presences = Vec::new();
        for _ in 0..users {
            presences.push(self.presence().await);
        }
        assert_eq!(self.next().await, ("snapshotComplete".to_owned(), json!({})));
        presences.sort();
        presences
    }
}

pub(super) async fn send(
    addresses: Addresses,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = Client::new().request(method, format!("http://{}{path}", addresses.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Waits until no stream is open.
async fn closed(addresses: Addresses) {
    let closed = async { while metric(addresses, "presence_watch_streams").await > 0 {} };
    timeout(PATIENCE, closed).await.expect("the stream is closed");
}

async fn an_event_stream_sends_a_snapshot_and_then_changes(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let mut events = Events::open(server.addresses, "ids=a,b,a", &[]).await;
    assert_eq!(events.snapshot(2).await, ["a Busy/InACall", "b Offline/Offline"]);
    assert_eq!(client.set("b", "app", "Available/Available", "PT1H").await, Done);
    assert_eq!(events.presence().await, "b Available/Available");
    assert_eq!(client.say("a", "One\nTwo", "").await, Done);
    assert_eq!(events.presence().await, "a Busy/InACall \"One\\nTwo\"");
    assert_eq!(client.clear("a", "app").await, Done);
    assert_eq!(events.presence().await, "a Offline/Offline \"One\\nTwo\"");
    // A client that disconnects stops watching.
    drop(events);
    closed(server.addresses).await;
    server.stop().await;
}

async fn a_shutdown_ends_an_event_stream_with_the_reason(engine: Engine) {
    let server = Server::start(engine).await;
    let mut events = Events::open(server.addresses, "ids=a", &[("client-request-id", "mine")]).await;
    events.snapshot(1).await;
    let stop = tokio::spawn(server.app.stop(Duration::from_secs(10), pending()));
    let error = events.end().await;
    assert_eq!(error["code"], "serviceNotAvailable");
    assert!(error["message"].as_str().unwrap().contains("is stopping"), "{error}");
    assert_eq!(error["innerError"]["client-request-id"], "mine");
    assert_eq!(error["innerError"]["date"], "2026-11-22T02:50:00");
    assert_eq!(stop.await.unwrap(), Drain::Complete);
}

#[tokio::test]
async fn a_quiet_event_stream_sends_heartbeats_until_its_maximum_age() {
    // The stream is quiet for longer than the send timeout.
    let server = Server::start_tuned(Engine::Sqlite, &[], |settings| {
        settings.streams.watch_heartbeat = Duration::from_millis(500);
        settings.limits.send_timeout = Duration::from_millis(100);
        settings.limits.body_timeout = Duration::from_millis(100);
    })
    .await;
    let mut events = Events::open(server.addresses, "ids=a", &[]).await;
    events.snapshot(1).await;
    for _ in 0..2 {
        assert_eq!(events.next().await, ("heartbeat".to_owned(), json!({})));
    }
    server.stop().await;

    let server = Server::start_with(Engine::Sqlite, &["--stream-max-age", "500ms"]).await;
    let mut events = Events::open(server.addresses, "ids=a", &[]).await;
    events.snapshot(1).await;
    let error = events.end().await;
    assert!(error["message"].as_str().unwrap().contains("Open a new stream"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn ids_can_be_a_list_or_repeated_parameters() {
    let server = Server::start(Engine::Sqlite).await;
    for (query, users) in [
        ("ids=a,b", &["a", "b"][..]),
        ("ids=a%2Cb", &["a", "b"]),
        ("ids=a&ids=b&other=c", &["a", "b"]),
        ("ids=a,b&ids=c", &["a,b", "c"]),
        ("ids=a%2Bb@example.com", &["a+b@example.com"]),
        ("ids=FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3", &["fa8bf3dc-eca7-46b7-bad1-db199b62afc3"]),
    ] {
        let mut events = Events::open(server.addresses, query, &[]).await;
        let expected: Vec<_> = users.iter().map(|user| format!("{user} Offline/Offline")).collect();
        assert_eq!(events.snapshot(users.len()).await, expected, "{query}");
    }
    let mut events = Events::open(server.addresses, "ids=a&$select=id,availability", &[]).await;
    let data = json!({ "id": "a", "availability": "Offline" });
    assert_eq!(events.next().await, ("presence".to_owned(), data));
    let many: Vec<String> = (1..=650).map(|user| Uuid::from_u128(user).to_string()).collect();
    let mut events = Events::open(server.addresses, &format!("ids={}", many.join(",")), &[]).await;
    assert_eq!(events.snapshot(650).await.len(), 650);
    server.stop().await;
}

#[tokio::test]
async fn an_invalid_request_is_refused_before_the_event_stream_begins() {
    let bench = TestApi::new().await;
    let refused = async |query: &str, targets: &[&str], text: &str| {
        let response = bench.get(&format!("{PATH}{query}")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), targets, "{query}");
        assert!(response.message().contains(text), "{}", response.message());
    };
    refused("?ids=", &["ids[0]"], "must be 1 to 128 visible ASCII characters").await;
    refused("?ids=a,,b,c+d", &["ids[1]", "ids[3]"], "without `/`, got an empty value").await;
    refused("?ids=a/b", &["ids[0]"], "got \"a/b\"").await;
    refused("?ids=a&$filter=x", &["$filter"], "not supported by this operation. Supported: ids, $select.")
        .await;
    refused(&format!("?ids={}a", "a,".repeat(650)), &["ids"], "must have at most 650 items, got 651").await;
    bench.server.stop().await;
}

#[tokio::test]
async fn a_head_request_opens_no_stream() {
    let server = Server::start(Engine::Sqlite).await;
    let response = send(server.addresses, Method::HEAD, &format!("{PATH}?ids=a"), &[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.text().await.unwrap(), "");
    closed(server.addresses).await;
    server.stop().await;
}

#[tokio::test]
async fn events_arrive_at_once_with_compression_and_on_beta() {
    let server = Server::start(Engine::Sqlite).await;
    let mut events = Events::open(server.addresses, "ids=a", &[("accept-encoding", "gzip")]).await;
    events.snapshot(1).await;
    assert_eq!(client(&server).set("a", "app", "Busy/InACall", "").await, Done);
    assert_eq!(events.presence().await, "a Busy/InACall");
    let path = "/beta/communications/microsoft.graph.watchPresences?ids=a";
    let mut response = send(server.addresses, Method::GET, path, &[]).await;
    assert_eq!(&response.chunk().await.unwrap().unwrap()[..], b"retry: 2000\n\n");
    server.stop().await;
}

#[tokio::test]
async fn an_event_stream_ends_when_the_token_expires() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let server = &guarded.server;
    let claims = tokens::with(&json!({ "roles": ["Presence.Read.All"] }));
    let bearer = format!("Bearer {}", guarded.signer.sign(&claims));
    let mut events = Events::open(server.addresses, "ids=a", &[("authorization", &bearer)]).await;
    events.snapshot(1).await;
    server.clock.advance(Duration::from_hours(2));
    let error = events.end().await;
    assert_eq!(error["code"], "InvalidAuthenticationToken");
    let path = format!("{PATH}?ids=a");
    let refused = send(server.addresses, Method::GET, &path, &[("authorization", &bearer)]).await;
    assert_eq!(refused.status(), 401);
    guarded.server.stop().await;
}

#[tokio::test]
async fn a_batch_opens_no_stream() {
    let bench = TestApi::new().await;
    let batch = async |url: &str| {
        let body = json!({ "requests": [{ "id": "1", "method": "GET", "url": url }] });
        bench.post("/v1.0/$batch", body.to_string()).await
    };
    for url in [
        "/communications/watchPresences?ids=a",
        "/beta/communications/watchPresences/?ids=a",
        "/communications/microsoft.graph.watchPresences?ids=a",
        "/users/u/presence/holdPresence",
        "/me/presence/HoldPresence",
    ] {
        let response = batch(url).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), ["requests[0].url"]);
        assert!(response.message().contains("must not be a stream"), "{}", response.message());
    }
    bench.server.stop().await;
}
