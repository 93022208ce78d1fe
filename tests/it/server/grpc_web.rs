//! gRPC-Web at the HTTP API: frames in a body, the last of which has the trailers.

use std::{future::pending, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use presenced::{
    app::{Addresses, Drain},
    grpc::pb::{
        ClearPresenceRequest, ClearPresenceResponse, GetPresenceRequest, GetPresenceResponse,
        KeepPresenceRequest, KeepPresenceResponse, SetPresenceRequest, WatchPresencesRequest,
        WatchPresencesResponse, keep_presence_response, watch_presences_response::Event,
    },
};
use prost::Message;
use reqwest::{
    Client, Method, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    auth::Guarded,
    support::{
        client::{activity_number, availability_number, words},
        database::Engine,
        on_every_engine,
        server::Server,
        tokens,
    },
    watch::PATIENCE,
};

on_every_engine![a_page_sets_gets_and_watches_a_presence];

const ORIGIN: &str = "https://app.example.com";
const PROTO: &str = "application/grpc-web+proto";

fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

fn set_request(user: &str, pair: &str) -> SetPresenceRequest {
    let (availability, activity) = pair.split_once('/').unwrap();
    SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: availability_number(availability),
        activity: activity_number(activity),
        expiration_duration: None,
        ..Default::default()
    }
}

/// A response whose frames are read as they arrive.
struct Call {
    response: Response,
    bytes: Vec<u8>,
}

/// The content of a frame.
#[derive(Debug)]
enum Frame {
    Message(Vec<u8>),
    Trailers(HeaderMap),
}

async fn post(
    addresses: Addresses,
    method: &str,
    content_type: &str,
    body: Vec<u8>,
    headers: &[(&str, &str)],
) -> Response {
    let url = format!("http://{}/presence.v1.PresenceService/{method}", addresses.http);
    let mut request = Client::new().post(url).header("content-type", content_type).header("x-grpc-web", "1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.unwrap()
}

impl Call {
    async fn of(
        addresses: Addresses,
        method: &str,
        message: &impl Message,
        headers: &[(&str, &str)],
    ) -> Self {
        let response = post(addresses, method, PROTO, frame(message), headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], PROTO);
        Self { response, bytes: Vec::new() }
    }

    /// The next frame, unless the body has ended.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = first_frame(&self.bytes) {
                self.bytes.drain(..length);
                return Some(frame);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("a chunk in time");
            let Some(chunk) = chunk.expect("a complete body") else {
                assert!(self.bytes.is_empty(), "the body ends with a whole frame");
                return None;
            };
            self.bytes.extend(chunk);
        }
    }

    async fn message<T: Message + Default>(&mut self) -> T {
        match self.frame().await {
            Some(Frame::Message(bytes)) => T::decode(&*bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The status of the call, from the headers or the last frame.
    async fn end(mut self) -> Status {
        let headers = match self.frame().await {
            Some(Frame::Trailers(trailers)) => trailers,
            Some(Frame::Message(_)) => panic!("an unexpected message"),
            None => return Status::from_header_map(self.response.headers()).expect("a status"),
        };
        assert!(self.frame().await.is_none(), "the trailers are the last frame");
        Status::from_header_map(&headers).expect("a status")
    }

    /// The next event of a stream, as text.
    async fn event(&mut self) -> String {
        match self.message::<WatchPresencesResponse>().await.event.unwrap() {
            Event::Presence(presence) => words(&presence),
            Event::SnapshotComplete(_) => "snapshot complete".to_owned(),
            Event::Heartbeat(_) => "heartbeat".to_owned(),
        }
    }
}

/// The first frame and its length, if it is complete.
fn first_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (head, rest) = bytes.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    let content = rest.get(..length)?;
    let frame = match head[0] {
        0 => Frame::Message(content.to_vec()),
        0x80 => Frame::Trailers(headers(str::from_utf8(content).unwrap())),
        flag => panic!("{flag}"),
    };
    Some((frame, 5 + length))
}

fn headers(text: &str) -> HeaderMap {
    let lines = text.lines().map(|line| line.split_once(':').unwrap());
    lines
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap())
        })
        .collect()
}

async fn a_page_sets_gets_and_watches_a_presence(engine: Engine) {
    let server = Server::start(engine).await;
    let addresses = server.addresses;
    let mut set = Call::of(addresses, "SetPresence", &set_request("a", "Busy/InACall"), &[]).await;
    set.message::<()>().await;
    assert_eq!(set.end().await.code(), Code::Ok);
    let request = GetPresenceRequest { user_id: "a".into(), ..Default::default() };
    let mut get = Call::of(addresses, "GetPresence", &request, &[("accept-encoding", "gzip")]).await;
    let presence = get.message::<GetPresenceResponse>().await.presence.unwrap();
    assert_eq!(words(&presence), "a Busy/InACall");
    assert_eq!(get.end().await.code(), Code::Ok);

    let request = WatchPresencesRequest { user_ids: vec!["a".into()], ..Default::default() };
    let mut stream = Call::of(addresses, "WatchPresences", &request, &[]).await;
    assert_eq!(stream.event().await, "a Busy/InACall");
    assert_eq!(stream.event().await, "snapshot complete");
    let set = Call::of(addresses, "SetPresence", &set_request("a", "Away/Away"), &[]).await;
    assert_eq!(stream.event().await, "a Away/Away");
    drop(set);

    let (session_id, availability) = ("tab".to_owned(), availability_number("Busy"));
    let request = KeepPresenceRequest {
        user_id: "a".into(),
        session_id,
        availability,
        activity: activity_number("InACall"),
        ..Default::default()
    };
    let mut kept = Call::of(addresses, "KeepPresence", &request, &[]).await;
    let opened = kept.message::<KeepPresenceResponse>().await.event.unwrap();
    assert!(matches!(opened, keep_presence_response::Event::SessionSet(_)), "{opened:?}");
    assert_eq!(stream.event().await, "a Busy/InACall");
    let request = ClearPresenceRequest { user_id: "a".into(), session_id: "tab".into(), observed_time: None };
    let mut clear = Call::of(addresses, "ClearPresence", &request, &[]).await;
    clear.message::<ClearPresenceResponse>().await;
    assert_eq!(clear.end().await.code(), Code::Ok);
    let taken = kept.end().await;
    assert_eq!(taken.get_details_error_info().unwrap().reason, "ERROR_REASON_SESSION_TAKEN");
    assert_eq!(taken.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert_eq!(stream.event().await, "a Away/Away");

    let stop = tokio::spawn(server.app.stop(Duration::from_secs(10), pending()));
    let status = stream.end().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_STOPPING");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    assert_eq!(stop.await.unwrap(), Drain::Complete);
}

#[tokio::test]
async fn a_page_may_send_frames_as_base64() {
    let server = Server::start(Engine::Sqlite).await;
    let text = "application/grpc-web-text";
    let body =
        BASE64.encode(frame(&GetPresenceRequest { user_id: "a".into(), ..Default::default() })).into_bytes();
    let response = post(server.addresses, "GetPresence", text, body, &[("accept", text)]).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with(text));
    let body = response.text().await.unwrap();
    // Each frame has its own padding.
    let (first, _) = body.split_at(body.find('=').map_or(body.len(), |end| (end / 4 + 1) * 4));
    let (frame, _) = first_frame(&BASE64.decode(first).unwrap()).unwrap();
    let Frame::Message(bytes) = frame else { panic!("{frame:?}") };
    let presence = GetPresenceResponse::decode(&*bytes).unwrap().presence.unwrap();
    assert_eq!(words(&presence), "a Offline/Offline");
    server.stop().await;
}

#[tokio::test]
async fn errors_have_their_full_details() {
    let server = Server::start(Engine::Sqlite).await;
    let addresses = server.addresses;
    let request = GetPresenceRequest { user_id: "a b".into(), ..Default::default() };
    let status = Call::of(addresses, "GetPresence", &request, &[]).await.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "user_id");
    let status = Call::of(addresses, "Nothing", &request, &[]).await.end().await;
    assert_eq!(status.code(), Code::Unimplemented);
    // The body is neither frames nor base64.
    for content_type in [PROTO, "application/grpc-web-text"] {
        let response = post(addresses, "GetPresence", content_type, b"!!!!nonsense".to_vec(), &[]).await;
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.code(), Code::InvalidArgument, "{content_type}: {status}");
    }
    let metrics = reqwest::get(format!("http://{}/metrics", addresses.admin)).await.unwrap();
    let counted = r#"operation="get_presence",api="grpc",code="INVALID_ARGUMENT""#;
    assert!(metrics.text().await.unwrap().contains(counted), "counted for the gRPC API");
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_not_grpc_web_are_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let message = || frame(&GetPresenceRequest { user_id: "a".into(), ..Default::default() });
    for (content_type, status) in
        [("application/grpc", 415), ("application/json", 404), ("application/grpc-web+json", 404)]
    {
        let response = post(server.addresses, "GetPresence", content_type, message(), &[]).await;
        assert_eq!(response.status(), status, "{content_type}");
    }
    let url = |path: &str| format!("{}/{path}", server.graph());
    let call = async |method: Method, path: &str, client: &Client| {
        let request = client.request(method, url(path)).header("content-type", PROTO);
        request.body(frame(&())).send().await.unwrap()
    };
    let client = Client::new();
    assert_eq!(call(Method::GET, "presence.v1.PresenceService/GetPresence", &client).await.status(), 404);
    assert_eq!(call(Method::POST, "grpc.reflection.v1.ServerReflection/X", &client).await.status(), 404);
    // Health is served, also over HTTP/2.
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [client, http2] {
        let health = call(Method::POST, "grpc.health.v1.Health/Check", &client).await;
        let body = health.bytes().await.unwrap();
        assert_eq!(&body[..6], [0, 0, 0, 0, 2, 8], "a message with a status");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_sends_its_token() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let addresses = guarded.server.addresses;
    let request = WatchPresencesRequest { user_ids: vec!["a".into()], ..Default::default() };
    let status = Call::of(addresses, "WatchPresences", &request, &[]).await.end().await;
    assert_eq!(status.code(), Code::Unauthenticated);
    let bearer = |claims| format!("Bearer {}", guarded.signer.sign(&claims));
    let weak = bearer(tokens::application(&[]));
    let call = Call::of(addresses, "WatchPresences", &request, &[("authorization", &weak)]).await;
    assert_eq!(call.end().await.code(), Code::PermissionDenied);
    let token = bearer(tokens::with(&json!({ "roles": ["Presence.Read.All"] })));
    let mut stream = Call::of(addresses, "WatchPresences", &request, &[("authorization", &token)]).await;
    assert_eq!(stream.event().await, "a Offline/Offline");
    assert_eq!(stream.event().await, "snapshot complete");
    guarded.server.clock.advance(Duration::from_hours(2));
    assert_eq!(stream.end().await.code(), Code::Unauthenticated);
    guarded.server.stop().await;
}

#[tokio::test]
async fn only_pages_of_named_origins_may_call() {
    let server = Server::start_with(Engine::Sqlite, &["--cors-origins", ORIGIN]).await;
    let url = format!("{}/presence.v1.PresenceService/GetPresence", server.graph());
    let asked = "authorization,content-type,grpc-timeout,x-grpc-web,x-user-agent";
    let preflight = Client::new().request(Method::OPTIONS, &url).header("origin", ORIGIN);
    let preflight = preflight.header("access-control-request-method", "POST");
    let allowed = preflight.header("access-control-request-headers", asked).send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], ORIGIN);
    assert_eq!(allowed.headers()["access-control-allow-headers"], asked);
    let request = GetPresenceRequest { user_id: "a".into(), ..Default::default() };
    let call = Call::of(server.addresses, "GetPresence", &request, &[("origin", ORIGIN)]).await;
    assert_eq!(call.response.headers()["access-control-allow-origin"], ORIGIN);
    let exposed = call.response.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    for header in
        ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-retry-pushback-ms", "request-id"]
    {
        assert!(exposed.split(',').any(|of| of == header), "{exposed}");
    }
    // Without authentication, a page of another origin cannot call.
    let evil = [("origin", "https://evil.example")];
    let refused = post(server.addresses, "GetPresence", PROTO, frame(&request), &evil).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers().get("access-control-allow-origin"), None);
    let own = [("origin", &*server.graph())];
    assert_eq!(post(server.addresses, "GetPresence", PROTO, frame(&request), &own).await.status(), 200);
    server.stop().await;
}
