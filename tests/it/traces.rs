//! Traces: the spans that a collector receives, and the service without a collector.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use presenced::{
    clock::Stopwatch,
    grpc::pb::{Activity, Availability, SetPresenceRequest, presence_service_client::PresenceServiceClient},
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tonic::{Request, transport::Channel};

use crate::support::{
    client::{Api, Client, Outcome},
    collector::{Collector, Sent},
    database::Engine,
    on_every_engine,
    process::{Process, unused_address},
    server::Server,
};

on_every_engine![a_trace_has_spans_of_the_request_its_queue_and_its_statement];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const USER: &str = "some-user";
const SESSION: &str = "some-session";
const TOKEN: &str = "Bearer some-token";

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// Sets the user's session in the trace of this header.
async fn set(server: &Server, api: Api, traceparent: &str) {
    match api {
        Api::Grpc => {
            let channel = Channel::from_shared(format!("http://{}", server.addresses.grpc)).unwrap();
            let mut client = PresenceServiceClient::new(channel.connect_lazy());
            let mut request = Request::new(SetPresenceRequest {
                user_id: USER.to_owned(),
                session_id: SESSION.to_owned(),
                availability: Availability::Busy.into(),
                activity: Activity::InACall.into(),
                expiration_duration: None,
                ..Default::default()
            });
            let metadata = request.metadata_mut();
            metadata.insert("traceparent", traceparent.parse().unwrap());
            metadata.insert("tracestate", "vendor=state".parse().unwrap());
            metadata.insert("authorization", TOKEN.parse().unwrap());
            client.set_presence(request).await.unwrap();
        }
        Api::Http => {
            let url = format!("{}/v1.0/users/{USER}/presence/setPresence", server.graph());
            let request = reqwest::Client::new().post(url).json(&body());
            let request = request.header("traceparent", traceparent).header("tracestate", "vendor=state");
            let response = request.header("authorization", TOKEN).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
}

fn body() -> Value {
    json!({ "sessionId": SESSION, "availability": "Busy", "activity": "InACall" })
}

fn attributes<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The only span with this name.
#[track_caller]
fn only<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

async fn a_trace_has_spans_of_the_request_its_queue_and_its_statement(engine: Engine) {
    for api in [Api::Grpc, Api::Http] {
        let collector = Collector::start().await;
        let server =
            Server::start_with(engine, &["--otlp-endpoint", &collector.url, "--otlp-sample-ratio", "0"])
                .await;
        set(&server, api, &sampled()).await;
        server.stop().await;

        let spans = collector.spans();
        assert_eq!(spans.len(), 3, "{spans:#?}");
        let mut request = only(&spans, "set_presence").clone();
        assert_eq!((request.kind, request.parent_id.as_str()), (SpanKind::Server, PARENT));
        assert!(!request.failed);
        assert_eq!(request.attributes.remove("presence.request_id").unwrap().len(), 36);
        let expected = match api {
            Api::Grpc => attributes([
                ("rpc.system", "grpc"),
                ("rpc.service", "presence.v1.PresenceService"),
                ("rpc.method", "SetPresence"),
                ("rpc.grpc.status_code", "0"),
            ]),
            Api::Http => attributes([
                ("http.request.method", "POST"),
                ("http.route", "/v1.0/users/{id}/presence/setPresence"),
                ("http.response.status_code", "200"),
            ]),
        };
        assert_eq!(request.attributes, expected);

        let queue = only(&spans, "set_sessions queue");
        assert_eq!(queue.kind, SpanKind::Internal);
        let statement = only(&spans, "set_sessions");
        assert_eq!(statement.kind, SpanKind::Client);
        let system = if engine == Engine::Postgres { "postgresql" } else { "sqlite" };
        let expected = [("db.system.name", system), ("db.operation.name", "set_sessions")];
        assert_eq!(statement.attributes, attributes(expected));
        for span in [queue, statement] {
            assert_eq!(span.parent_id, request.span_id);
            assert!(request.times.0 <= span.times.0 && span.times.1 <= request.times.1, "{spans:#?}");
        }
        assert!(queue.times.1 <= statement.times.0, "the wait precedes the statement");
        for span in &spans {
            assert_eq!((span.trace_id.as_str(), span.state.as_str()), (TRACE, "vendor=state"));
        }
        let text = collector.text();
        for secret in [USER, SESSION, "some-token", "InACall"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for known in ["service.name", "presenced", "service.version"] {
            assert!(text.contains(known), "{known} in {text}");
        }
    }
}

#[tokio::test]
async fn the_callers_traceparent_or_else_the_ratio_decides_what_is_sampled() {
    const OTHER: &str = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
    for (ratio, traceparent, roots) in
        [("1", format!("00-{TRACE}-{PARENT}-00"), 0), ("0", OTHER.to_owned(), 0), ("1", OTHER.to_owned(), 2)]
    {
        let collector = Collector::start().await;
        let flags = ["--otlp-endpoint", &collector.url, "--otlp-sample-ratio", ratio];
        let server = Server::start_with(Engine::Sqlite, &flags).await;
        for api in [Api::Grpc, Api::Http] {
            set(&server, api, &traceparent).await;
        }
        server.stop().await;
        let spans = collector.spans();
        let found: Vec<_> = spans.iter().filter(|span| span.name == "set_presence").collect();
        assert_eq!(found.len(), roots, "{ratio} {traceparent}: {spans:#?}");
        for root in found {
            assert!(root.parent_id.is_empty() && root.trace_id.to_uppercase() != OTHER[3..35], "{root:#?}");
        }
        assert_eq!(spans.len(), roots * 3, "{spans:#?}");
    }
}

#[tokio::test]
async fn the_items_of_a_batch_are_spans_below_the_batch() {
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.url, "--otlp-sample-ratio", "0"];
    let server = Server::start_with(Engine::Sqlite, &flags).await;
    let url = format!("{}/v1.0/$batch", server.graph());
    let get = |id: &str| json!({ "id": id, "method": "GET", "url": format!("/users/{USER}/presence") });
    let items = json!({ "requests": [get("1"), get("2")] });
    for traceparent in [sampled(), format!("00-{TRACE}-{PARENT}-00")] {
        let request = reqwest::Client::new().post(&url).json(&items).header("traceparent", traceparent);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    server.stop().await;
    let spans = collector.spans();
    let batch = only(&spans, "batch");
    let below =
        |parent: &Sent| spans.iter().filter(|span| span.parent_id == parent.span_id).collect::<Vec<_>>();
    let items = below(batch);
    assert_eq!(items.len(), 2, "{spans:#?}");
    for item in items {
        assert_eq!(item.name, "get_presence");
        let names: Vec<_> = below(item).iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["load queue", "load"]);
        let statement = below(item)[1];
        assert!(statement.attributes.get("db.operation.batch.size").is_none_or(|size| size == "2"));
    }
    assert!(spans.iter().all(|span| span.trace_id == TRACE));
}

#[tokio::test]
async fn an_error_of_the_caller_does_not_mark_the_span_as_failed() {
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.url, "--otlp-sample-ratio", "1"];
    let server = Server::start_with(Engine::Sqlite, &flags).await;
    for api in [Api::Grpc, Api::Http] {
        let client = Client::new(api, server.addresses.grpc, server.addresses.http);
        assert_eq!(client.clear(USER, SESSION).await, Outcome::NotFound);
    }
    let unknown = format!("{}/v1.0/users/{USER}/nothing", server.graph());
    assert_eq!(reqwest::get(unknown).await.unwrap().status(), 404);
    server.stop().await;
    let spans = collector.spans();
    let codes = ["rpc.grpc.status_code", "http.response.status_code"];
    let codes: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "clear_presence")
        .filter_map(|span| codes.iter().find_map(|code| span.attributes.get(*code)))
        .collect();
    assert_eq!(codes, ["5", "404"]);
    assert!(!only(&spans, "unknown").attributes.contains_key("http.route"));
    assert!(spans.iter().all(|span| !span.failed), "{spans:#?}");
    assert!(!collector.text().contains(USER));
}

#[tokio::test]
async fn an_unavailable_or_hanging_collector_delays_nothing() {
    // The system accepts its connections, and no process reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [unused_address(), silent.local_addr().unwrap().to_string()] {
        let url = format!("http://{address}");
        let begun = Stopwatch::start();
        let flags = ["--otlp-endpoint", &url, "--otlp-sample-ratio", "1"];
        let mut process = Process::start("sqlite::memory:", &flags).await;
        let client = Client::new(Api::Grpc, process.grpc, process.http);
        // More spans than one batch holds, so that the exporter sends some at once.
        for _ in 0..400 {
            assert_eq!(client.set(USER, SESSION, "Busy/InACall", "").await, Outcome::Done);
        }
        let served = begun.elapsed();
        let stopping = Stopwatch::start();
        process.signal("TERM");
        let (code, log) = process.wait();
        let stopped = stopping.elapsed();
        assert_eq!(code, Some(0), "{log}");
        // The last spans, or those that were sent before, depending on the time.
        let logged = ["failed to export the last traces", "failed to export traces"]
            .iter()
            .any(|warning| log.contains(warning));
        assert!(log.contains("drained: ") && logged, "{log}");
        let warned = log.matches("further failures are logged at debug").count();
        assert!(warned <= 1, "{log}");
        // Generous for a busy machine: each wait for the collector would take 3 s.
        assert!(served < Duration::from_secs(20), "{served:?}");
        assert!(stopped < Duration::from_secs(5), "{stopped:?}");
    }
}

#[tokio::test]
async fn the_log_names_the_trace() {
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.url, "--log", "debug"];
    let mut process = Process::start("sqlite::memory:", &flags).await;
    let url = format!("http://{}/v1.0/users/{USER}/presence", process.http);
    let mut ids = Vec::new();
    for flag in ["01", "00"] {
        let traceparent = format!("00-{TRACE}-{PARENT}-{flag}");
        let response =
            reqwest::Client::new().get(&url).header("traceparent", traceparent).send().await.unwrap();
        ids.push(response.headers()["request-id"].to_str().unwrap().to_owned());
    }
    process.signal("TERM");
    // The collector must respond meanwhile.
    let (_, log) = spawn_blocking(move || process.wait()).await.unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line["trace_id"] == TRACE).collect();
    assert_eq!(requests.iter().map(|line| line["request_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    let spans = collector.spans();
    assert_eq!(only(&spans, "get_presence").attributes["presence.request_id"], ids[0]);
}
