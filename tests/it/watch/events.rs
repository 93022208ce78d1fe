//! The stream of the HTTP API: Server-Sent Events.

use std::{future::pending, time::Duration};

use presenced::app::Addresses;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{PATIENCE, client, metric};
use crate::{
    auth::Guarded,
    graph::Bench,
    support::{
        client::{Outcome::Done, json_words},
        database::Engine,
        on_every_engine,
        server::Server,
        tokens,
    },
};

on_every_engine![
    a_stream_of_events_begins_with_a_snapshot_and_goes_on_with_changes,
    a_stop_ends_a_stream_of_events_with_the_reason,
];

const PATH: &str = "/v1.0/communications/watchPresences";

/// A stream.
struct Events {
    answer: Response,
    /// What has come and was not taken.
    text: String,
}

impl Events {
    async fn open(addresses: Addresses, query: &str, headers: &[(&str, &str)]) -> Self {
        let answer = ask(addresses, Method::GET, &format!("{PATH}?{query}"), headers).await;
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-accel-buffering"), Some("no"));
        assert_eq!((header("content-encoding"), header("content-length")), (None, None));
        assert!(header("request-id").is_some());
        let mut events = Self { answer, text: String::new() };
        assert_eq!(events.block().await.unwrap(), "retry: 2000");
        events
    }

    /// What stands before the next empty line, unless the body has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Some(block.trim_end().to_owned());
            }
            let chunk = timeout(PATIENCE, self.answer.chunk()).await.expect("the stream says something");
            let Some(chunk) = chunk.expect("the body ends as it should") else {
                assert_eq!(self.text, "", "a whole event at last");
                return None;
            };
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    /// The name of the next event, and its data.
    async fn next(&mut self) -> (String, Value) {
        let block = self.block().await.expect("one more event");
        let (name, data) = block.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    }

    /// What a user is shown as.
    async fn presence(&mut self) -> String {
        let (name, data) = self.next().await;
        assert_eq!(name, "presence");
        assert_eq!(data.get("@odata.context"), None);
        json_words(&data)
    }

    async fn snapshot(&mut self, users: usize) -> Vec<String> {
        let mut presences = Vec::new();
        for _ in 0..users {
            presences.push(self.presence().await);
        }
        assert_eq!(self.next().await, ("snapshotComplete".to_owned(), json!({})));
        presences.sort();
        presences
    }

    /// Why the stream ends, which it then does.
    async fn end(mut self) -> Value {
        let (name, data) = self.next().await;
        assert_eq!(name, "error");
        assert_eq!(self.block().await, None);
        let own = self.answer.headers()["request-id"].to_str().unwrap();
        assert_eq!(data["error"]["innerError"]["request-id"], own);
        data["error"].clone()
    }
}

async fn ask(addresses: Addresses, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
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

async fn a_stream_of_events_begins_with_a_snapshot_and_goes_on_with_changes(engine: Engine) {
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
    // Who goes away follows nobody any more.
    drop(events);
    closed(server.addresses).await;
    server.stop().await;
}

async fn a_stop_ends_a_stream_of_events_with_the_reason(engine: Engine) {
    let server = Server::start(engine).await;
    let mut events = Events::open(server.addresses, "ids=a", &[("client-request-id", "mine")]).await;
    events.snapshot(1).await;
    let stop = tokio::spawn(server.app.stop(Duration::from_secs(10), pending()));
    let error = events.end().await;
    assert_eq!(error["code"], "serviceNotAvailable");
    assert!(error["message"].as_str().unwrap().contains("is stopping"), "{error}");
    assert_eq!(error["innerError"]["client-request-id"], "mine");
    assert_eq!(error["innerError"]["date"], "2026-11-22T02:50:00");
    assert!(stop.await.unwrap(), "drained");
}

#[tokio::test]
async fn a_quiet_stream_of_events_sends_heartbeats_until_it_is_too_old() {
    // It is quiet for longer than a client may take nothing of what is ready.
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
async fn ids_come_as_a_list_or_one_by_one() {
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
    let many: Vec<String> = (0..650).map(|user| Uuid::from_u128(user).to_string()).collect();
    let mut events = Events::open(server.addresses, &format!("ids={}", many.join(",")), &[]).await;
    assert_eq!(events.snapshot(650).await.len(), 650);
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_of_events_is_said_before_it_begins() {
    let bench = Bench::new().await;
    let refused = async |query: &str, targets: &[&str], text: &str| {
        let answer = bench.get(&format!("{PATH}{query}")).await;
        answer.is_refused(400, "InvalidArgument");
        assert_eq!(answer.targets(), targets, "{query}");
        assert!(answer.message().contains(text), "{}", answer.message());
    };
    refused("", &["ids"], "`ids` is required.").await;
    refused("?ids=", &["ids[0]"], "must be 1 to 128 visible ASCII characters").await;
    refused("?ids=a,,b,c+d", &["ids[1]", "ids[3]"], "without `/`, got an empty value").await;
    refused("?ids=a/b", &["ids[0]"], "got \"a/b\"").await;
    refused("?ids=a&$filter=x", &["$filter"], "use $select").await;
    refused(&format!("?ids={}a", "a,".repeat(650)), &["ids"], "must have at most 650 items, got 651").await;
    bench.send(Method::POST, PATH, &[], "").await.is_refused(405, "MethodNotAllowed");
    bench.server.stop().await;
}

#[tokio::test]
async fn a_head_request_opens_no_stream() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = ask(server.addresses, Method::HEAD, &format!("{PATH}?ids=a"), &[]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.text().await.unwrap(), "");
    closed(server.addresses).await;
    server.stop().await;
}

#[tokio::test]
async fn events_come_at_once_to_clients_that_can_unpack_and_on_beta() {
    let server = Server::start(Engine::Sqlite).await;
    let mut events = Events::open(server.addresses, "ids=a", &[("accept-encoding", "gzip")]).await;
    events.snapshot(1).await;
    assert_eq!(client(&server).set("a", "app", "Busy/InACall", "").await, Done);
    assert_eq!(events.presence().await, "a Busy/InACall");
    let path = "/beta/communications/microsoft.graph.watchPresences?ids=a";
    let mut answer = ask(server.addresses, Method::GET, path, &[]).await;
    assert_eq!(&answer.chunk().await.unwrap().unwrap()[..], b"retry: 2000\n\n");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_events_ends_when_the_token_expires() {
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
    let refused = ask(server.addresses, Method::GET, &path, &[("authorization", &bearer)]).await;
    assert_eq!(refused.status(), 401);
    guarded.server.stop().await;
}

#[tokio::test]
async fn a_batch_opens_no_stream() {
    let bench = Bench::new().await;
    let batch = async |url: &str| {
        let body = json!({ "requests": [{ "id": "1", "method": "GET", "url": url }] });
        bench.post("/v1.0/$batch", body.to_string()).await
    };
    for url in ["/communications/watchPresences?ids=a", "/beta/communications/watchPresences/?ids=a"] {
        let answer = batch(url).await;
        answer.is_refused(400, "InvalidArgument");
        assert_eq!(answer.targets(), ["requests[0].url"]);
        assert!(answer.message().contains("must not be a stream"), "{}", answer.message());
    }
    let answer = batch("/communications/microsoft.graph.watchPresences?ids=a").await;
    assert_eq!((answer.status, &answer.body["responses"][0]["status"]), (200, &json!(404)));
    bench.server.stop().await;
}
