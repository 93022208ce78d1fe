//! The fuzz targets, one function each. No input may cause a panic or a fault of the
//! service.
//!
//! The project's tests run these functions on the corpora (`tests/it/fuzz.rs`).

use std::{
    fs,
    sync::{LazyLock, Mutex, PoisonError},
};

use axum::{body::Body, extract::Request, response::Response};
use clap::Parser;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use presenced::{
    auth::Authenticator,
    batch::{Batches, Limits},
    clock::Clock,
    graph, grpc,
    health::Health,
    notify::{ReceiverSettings, Receivers, ServiceKeys},
    presence::{parse_duration, parse_zoned_time},
    server::Hosts,
    service::{Holds, InputSettings, Service, Streams, Subscriptions},
    settings::{Cli, Settings},
    store::Database,
    telemetry::{Metrics, Traces},
    watch::Hub,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Both APIs without sockets, on SQLite.
struct Apis {
    runtime: Runtime,
    grpc: grpc::GrpcApi,
    graph: graph::HttpApi,
    /// Accepts tokens that [`KEY`] signed.
    authenticator: Authenticator,
}

static APIS: LazyLock<Mutex<Apis>> = LazyLock::new(|| Mutex::new(Apis::open()));

/// The example of RFC 8037 as PKCS #8, and its public half.
const KEY: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    \x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\
    \x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
const KEY_SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// `{"alg":"EdDSA","kid":"k"}`.
const HEADER: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ";

impl Apis {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (grpc, graph, authenticator) = runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let keys = folder.path().join("keys.json");
            fs::write(&keys, KEY_SET).expect("a file");
            let open = settings(&["presenced"]);
            let guarded = settings(&[
                "presenced",
                "--auth",
                "jwt",
                "--jwt-issuer",
                "i",
                "--jwt-audience",
                "a",
                "--jwks-file",
                keys.to_str().expect("a path"),
            ]);
            let (metrics, stop) = (Metrics::new(), CancellationToken::new());
            let authenticator = async |settings: &Settings| {
                let opened = Authenticator::open(&settings.auth, Clock::new(), &metrics).await;
                opened.expect("valid settings").0
            };
            let (open_authenticator, authenticator) =
                (authenticator(&open).await, authenticator(&guarded).await);

            let database = Database::connect("sqlite::memory:").await.expect("a database");
            database.migrate().await.expect("a schema");
            let limits = Limits { batch_max: 500, queue_max: 20_000, concurrent_statements: 1 };
            let store = database.open(Batches::connections(limits));
            let switch = database.invalidation_switch();
            // The database exists while this connection is open.
            std::mem::forget(database);
            let batches = Batches::start(&store, &Clock::new(), &metrics, limits);
            let streams = Streams {
                hub: Hub::new(10_000, 1, metrics.watch(), switch),
                holds: Holds::new(&open.streams, metrics.hold_streams()),
                metrics: metrics.streams(),
                settings: open.streams,
                stop: stop.clone(),
            };
            let input = InputSettings { user_ids: open.user_ids, session_min: open.session_min };
            let receivers = Receivers::new(&ReceiverSettings::default()).expect("a client");
            let subscriptions = Subscriptions::new(receivers, &open.subscriptions);
            let service =
                std::sync::Arc::new(Service::new(batches, None, Clock::new(), streams, input, subscriptions));
            let grpc = grpc::GrpcState {
                service: service.clone(),
                authenticator: open_authenticator.clone(),
                metrics: metrics.clone(),
                traces: Traces::off(),
                limits: open.limits,
                reflection: true,
            };
            let health = Health::new(metrics.clone());
            let grpc = grpc::GrpcApi::new(grpc, health.serving()).expect("routes");
            let graph = graph::HttpState {
                service,
                authenticator: open_authenticator,
                clock: Clock::new(),
                metrics,
                traces: Traces::off(),
                limits: open.limits,
                reject_unknown: false,
                encrypted: false,
                cors_origins: std::sync::Arc::default(),
                hosts: Hosts::of_http(&open),
                service_keys: ServiceKeys::default(),
                web: grpc::Web::new(grpc.clone(), open.grpc_addr),
            };
            (grpc, graph::HttpApi::new(graph, true).expect("routes"), authenticator)
        });
        Self { runtime, grpc, graph, authenticator }
    }

    /// Sends a request to the HTTP API; panics if the response is a fault of the service.
    fn send_http(&self, request: Request) {
        let sent = format!("{} {}", request.method(), request.uri());
        let response = self.runtime.block_on(async {
            let response = self.graph.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = response.into_parts();
            // A stream does not end.
            let stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|of| of == "text/event-stream");
            let body = if stream { Body::empty() } else { body };
            (parts.status, body.collect().await.expect("a body").to_bytes())
        });
        let text = String::from_utf8_lossy(&response.1);
        assert!(response.0.as_u16() < 500 && !text.contains("\"status\":5"), "{sent}: {} {text}", response.0);
    }

    /// Sends a request to the gRPC API; panics if the status is a fault of the service.
    fn send_grpc(&self, request: Request) {
        let path = request.uri().to_string();
        // A stream does not end; its errors come before it begins.
        let stream = path.ends_with("/WatchPresences");
        let code = self.runtime.block_on(async {
            let response: Response =
                self.grpc.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = response.into_parts();
            let code = |headers: &HeaderMap| headers.get("grpc-status").cloned();
            match code(&parts.headers) {
                Some(code) => Some(code),
                None if stream => Some(HeaderValue::from_static("0")),
                None => body.collect().await.expect("a body").trailers().and_then(code),
            }
        });
        // UNKNOWN, INTERNAL, UNAVAILABLE and DATA_LOSS.
        let faults = ["2", "13", "14", "15"].map(HeaderValue::from_static);
        assert!(code.as_ref().is_some_and(|code| !faults.contains(code)), "{path}: {code:?}");
    }
}

fn settings(arguments: &[&str]) -> Settings {
    Cli::try_parse_from(arguments).expect("settings").settings
}

fn with_apis(run: impl FnOnce(&Apis)) {
    run(&APIS.lock().unwrap_or_else(PoisonError::into_inner));
}

fn http_request(method: Method, path: &str, body: &[u8]) -> Option<Request> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    request.body(Body::from(body.to_vec())).ok()
}

/// Fuzzes JSON bodies: the first byte selects the action and whether the body is gzip.
pub fn json(data: &[u8]) {
    const ACTIONS: [&str; 12] = [
        "/v1.0/users/a/presence/setPresence",
        "/v1.0/users/a/presence/clearPresence",
        "/v1.0/users/a/presence/setUserPreferredPresence",
        "/v1.0/users/a/presence/clearUserPreferredPresence",
        "/v1.0/users/a/presence/setStatusMessage",
        "/beta/users/a/presence/setManualLocation",
        "/beta/users/a/presence/setAutomaticLocation",
        "/beta/users/a/presence/clearLocation",
        "/v1.0/communications/getPresencesByUserId",
        "/v1.0/communications/presences/a/setPresence",
        "/beta/communications/presences/a/clearPresence",
        "/beta/users/a/presence/clearAutomaticLocation",
    ];
    let Some((first, body)) = data.split_first() else { return };
    let path = ACTIONS[usize::from(first & 0x7f) % ACTIONS.len()];
    let Some(mut request) = http_request(Method::POST, path, body) else { return };
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if first & 0x80 != 0 {
        request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    with_apis(|apis| apis.send_http(request));
}

/// Fuzzes paths and query strings: the first byte selects the method.
pub fn paths(data: &[u8]) {
    const METHODS: [Method; 6] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let Some((first, path)) = data.split_first() else { return };
    let Ok(path) = str::from_utf8(path) else { return };
    let method = METHODS[usize::from(*first) % METHODS.len()].clone();
    let Some(request) = http_request(method, path, b"") else { return };
    with_apis(|apis| apis.send_http(request));
}

/// Fuzzes batches of requests.
pub fn batch(data: &[u8]) {
    let Some(request) = http_request(Method::POST, "/v1.0/$batch", data) else { return };
    with_apis(|apis| apis.send_http(request));
}

/// Fuzzes gRPC messages: the first byte selects the method and whether the rest is a frame
/// or a message.
pub fn protobuf(data: &[u8]) {
    const METHODS: [&str; 18] = [
        "presence.v1.PresenceService/SetPresence",
        "presence.v1.PresenceService/ClearPresence",
        "presence.v1.PresenceService/GetPresence",
        "presence.v1.PresenceService/BatchGetPresences",
        "presence.v1.PresenceService/BatchSetPresences",
        "presence.v1.PresenceService/SetUserPreferredPresence",
        "presence.v1.PresenceService/ClearUserPreferredPresence",
        "presence.v1.PresenceService/SetStatusMessage",
        "presence.v1.PresenceService/SetManualLocation",
        "presence.v1.PresenceService/SetAutomaticLocation",
        "presence.v1.PresenceService/ClearAutomaticLocation",
        "presence.v1.PresenceService/ClearLocation",
        "presence.v1.PresenceService/ExplainPresence",
        "presence.v1.PresenceService/Nothing",
        "grpc.health.v1.Health/Check",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "presence.v1.PresenceService/HoldPresence",
        "presence.v1.PresenceService/WatchPresences",
    ];
    let Some((first, message)) = data.split_first() else { return };
    let path = format!("/{}", METHODS[usize::from(first & 0x7f) % METHODS.len()]);
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    let framed = [&[0], &length[..], message].concat();
    let body = if first & 0x80 != 0 { message } else { &framed };
    let Some(mut request) = http_request(Method::POST, &path, body) else { return };
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    with_apis(|apis| apis.send_grpc(request));
}

/// Fuzzes durations, and times with a zone after a line break.
pub fn durations(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // A number of seconds has a lower maximum than one of hours; 30 years are enough.
    if let Ok(duration) = parse_duration(text)
        && duration.as_secs() < 1_000_000_000
    {
        // The duration in seconds parses to the same duration.
        let again = parse_duration(&format!("PT{}S", duration.as_secs()));
        assert_eq!(again.map(|again| again.as_secs()), Ok(duration.as_secs()), "{text:?}");
    }
    if let Some((time, zone)) = text.split_once('\n') {
        let _ = parse_zoned_time(time, Some(zone));
        let _ = parse_zoned_time(time, None);
    }
}

/// Fuzzes tokens: arbitrary ones, or arbitrary claims with a valid signature.
pub fn tokens(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let forged = first & 1 == 0;
    let token = if forged {
        String::from_utf8_lossy(rest).into_owned()
    } else {
        let message = format!("{HEADER}.{}", base64(rest));
        let signature = sign(message.as_bytes(), &EncodingKey::from_ed_der(KEY), Algorithm::EdDSA);
        format!("{message}.{}", signature.expect("a signature"))
    };
    let Ok(value) = HeaderValue::try_from(format!("Bearer {token}")) else { return };
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    with_apis(|apis| {
        let result = apis.runtime.block_on(apis.authenticator.authenticate(&headers));
        assert!(!forged || result.is_err(), "accepted: {token}");
    });
}

/// Base64 for URLs without padding, as in RFC 4648.
fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        }
    }
    text
}
