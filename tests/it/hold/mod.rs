//! Sessions that streams hold, on a real server.

mod ends;
mod faults;
mod keep;
mod limits;

use std::{future::pending, time::Duration};

use presenced::{
    app::{Addresses, Drain},
    grpc::pb::{
        HoldPresenceRequest, HoldPresenceResponse, hold_presence_response::Event,
        presence_service_client::PresenceServiceClient,
    },
    presence::Timestamp,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    auth::Guarded,
    support::{
        client::{Api, Client, Outcome, Outcome::Done, activity_number, availability_number},
        database::Engine,
        on_every_engine,
        server::{START, Server},
        tokens,
    },
    watch::{PATIENCE, Watcher, connect},
};

on_every_engine![
    a_session_lives_as_long_as_its_stream,
    a_clean_end_clears_the_session,
    a_broken_stream_does_nothing_and_the_session_expires,
    a_client_that_returns_within_the_grace_stays_online,
    the_state_can_be_changed_on_the_stream,
    a_text_lasts_until_the_next_message,
    a_held_session_does_not_fade,
    a_clear_takes_the_session_from_the_stream,
    an_old_stream_does_not_overwrite_the_session_of_a_newer_one,
];

pub const GRACE: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(1);

/// A response of a stream, with the expiry of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    Set(Timestamp),
    Extended(Timestamp),
}

/// A stream that holds a session. Dropping it breaks the stream.
pub struct Holder {
    /// Dropped first: if the client's side ended first, that would be a clean end.
    stream: Streaming<HoldPresenceResponse>,
    messages: mpsc::Sender<HoldPresenceRequest>,
}

impl Holder {
    /// Opens a stream on a connection of its own that holds the session `app` of `u`.
    pub async fn open(addresses: Addresses, pair: &str) -> Self {
        Self::try_open(addresses, message("u", "app", pair), "").await.unwrap()
    }

    async fn try_open(
        addresses: Addresses,
        first: HoldPresenceRequest,
        authorization: &str,
    ) -> Result<Self, Status> {
        let mut client = PresenceServiceClient::new(connect(addresses).await);
        let (messages, mut receiver) = mpsc::channel(16);
        messages.try_send(first).unwrap();
        let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut request = Request::new(stream);
        if !authorization.is_empty() {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        let stream = client.hold_presence(request).await?.into_inner();
        Ok(Self { stream, messages })
    }

    /// Sends a message with a text.
    async fn say(&self, pair: &str, text: &str) {
        let change = HoldPresenceRequest { message: text.to_owned(), ..message("", "", pair) };
        self.messages.send(change).await.unwrap();
    }

    async fn change(&self, pair: &str) {
        self.messages.send(message("", "", pair)).await.unwrap();
    }

    async fn try_next(&mut self) -> Result<Option<Response>, Status> {
        let response = timeout(PATIENCE, self.stream.message()).await.expect("a response in time")?;
        let at = |time: Option<prost_types::Timestamp>| {
            let time = time.unwrap();
            Timestamp::from_millis(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000))
        };
        Ok(response.map(|response| match response.event.expect("an event") {
            Event::SessionSet(set) => Response::Set(at(set.expire_time)),
            Event::SessionExtended(extended) => Response::Extended(at(extended.expire_time)),
        }))
    }

    pub async fn next(&mut self) -> Response {
        self.try_next().await.unwrap().expect("an open stream")
    }

    /// The status at the end of the stream; skips the responses before it.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    /// Ends the client's side, and waits for a clean end.
    async fn finish(self) {
        let Self { stream, messages } = self;
        drop(messages);
        let (unused, _) = mpsc::channel(1);
        let status = Self { stream, messages: unused }.end().await;
        assert_eq!(status.code(), Code::Ok, "{status}");
    }
}

fn message(user: &str, session: &str, pair: &str) -> HoldPresenceRequest {
    let (availability, activity) = pair.split_once('/').unwrap();
    HoldPresenceRequest {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        availability: availability_number(availability),
        activity: activity_number(activity),
        grace: None,
        ..Default::default()
    }
}

fn client(server: &Server) -> Client {
    Client::new(Api::Grpc, server.addresses.grpc, server.addresses.http)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("a reason").reason
}

async fn shown(server: &Server) -> String {
    let outcome = client(server).get("u").await;
    let Outcome::Presences(shown) = outcome else { panic!("{outcome:?}") };
    shown[0].clone()
}

/// Moves the clock by this number of halves of the grace, each of which extends the session.
async fn advance(server: &Server, holder: &mut Holder, halves: u32) {
    for _ in 0..halves {
        server.clock.advance(GRACE / 2);
        let response = holder.next().await;
        assert!(matches!(response, Response::Extended(_)), "{response:?}");
    }
}

async fn a_session_lives_as_long_as_its_stream(engine: Engine) {
    let server = Server::start(engine).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    let lives = GRACE / 2 + GRACE;
    assert_eq!(holder.next().await, Response::Set(START + lives));
    server.clock.advance((GRACE / 2).saturating_sub(TICK));
    server.clock.advance(TICK);
    assert_eq!(holder.next().await, Response::Extended(START + GRACE / 2 + lives));
    advance(&server, &mut holder, 20).await;
    assert_eq!(shown(&server).await, "u Busy/InACall");
    holder.finish().await;
    server.stop().await;
}

async fn a_clean_end_clears_the_session(engine: Engine) {
    let server = Server::start(engine).await;
    let mut watcher = Watcher::of(server.addresses, &["u"], &["u Offline/Offline"]).await;
    let holder = Holder::open(server.addresses, "Busy/InACall").await;
    assert_eq!(watcher.next().await, "u Busy/InACall");
    holder.finish().await;
    assert_eq!(watcher.next().await, "u Offline/Offline");
    assert_eq!(shown(&server).await, "u Offline/Offline");
    server.stop().await;
}

async fn a_broken_stream_does_nothing_and_the_session_expires(engine: Engine) {
    let server = Server::start(engine).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    assert_eq!(holder.next().await, Response::Set(START + GRACE / 2 + GRACE));
    drop(holder);
    wait_until_not_held(&server).await;
    server.clock.advance((GRACE / 2 + GRACE).saturating_sub(TICK));
    assert_eq!(shown(&server).await, "u Busy/InACall");
    server.clock.advance(TICK);
    assert_eq!(shown(&server).await, "u Offline/Offline");
    server.stop().await;
}

/// Waits until the server reports that no stream holds a session.
async fn wait_until_not_held(server: &Server) {
    let not_held = async {
        while crate::watch::metric(server.addresses, "presence_hold_streams").await > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, not_held).await.expect("the stream has ended");
}

async fn a_client_that_returns_within_the_grace_stays_online(engine: Engine) {
    let server = Server::start(engine).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    holder.next().await;
    let mut watcher = Watcher::of(server.addresses, &["u"], &["u Busy/InACall"]).await;
    for _ in 0..10 {
        drop(holder);
        wait_until_not_held(&server).await;
        server.clock.advance(GRACE.saturating_sub(TICK));
        holder = Holder::open(server.addresses, "Busy/InACall").await;
        holder.next().await;
    }
    // The watcher's first event: the user was online throughout.
    holder.change("Away/Away").await;
    assert_eq!(watcher.next().await, "u Away/Away");
    server.stop().await;
}

async fn the_state_can_be_changed_on_the_stream(engine: Engine) {
    let server = Server::start(engine).await;
    let mut watcher = Watcher::of(server.addresses, &["u"], &["u Offline/Offline"]).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    holder.next().await;
    assert_eq!(watcher.next().await, "u Busy/InACall");
    for pair in ["DoNotDisturb/Presenting", "Available/Available", "Away/Away"] {
        holder.change(pair).await;
        assert_eq!(holder.next().await, Response::Set(START + GRACE / 2 + GRACE), "{pair}");
        assert_eq!(watcher.next().await, format!("u {pair}"));
    }
    advance(&server, &mut holder, 3).await;
    assert_eq!(shown(&server).await, "u Away/Away");
    server.stop().await;
}

async fn a_text_lasts_until_the_next_message(engine: Engine) {
    let server = Server::start(engine).await;
    let mut watcher = Watcher::of(server.addresses, &["u"], &["u Offline/Offline"]).await;
    let first = HoldPresenceRequest { message: "bank".into(), ..message("u", "app", "Busy/InACall") };
    let mut holder = Holder::try_open(server.addresses, first, "").await.unwrap();
    holder.next().await;
    assert_eq!(watcher.next().await, "u Busy/InACall \"bank\"");
    advance(&server, &mut holder, 3).await;
    assert_eq!(shown(&server).await, "u Busy/InACall \"bank\"");
    for (pair, text) in [("Busy/InACall", "boss"), ("Away/Away", "boss"), ("Away/Away", "")] {
        holder.say(pair, text).await;
        assert!(matches!(holder.next().await, Response::Set(_)));
        let shown = if text.is_empty() { String::new() } else { format!(" {text:?}") };
        assert_eq!(watcher.next().await, format!("u {pair}{shown}"));
    }
    holder.say("Away/Away", "bye").await;
    holder.next().await;
    assert_eq!(watcher.next().await, "u Away/Away \"bye\"");
    holder.finish().await;
    assert_eq!(watcher.next().await, "u Offline/Offline");
    server.stop().await;
}

#[tokio::test]
async fn each_message_may_spell_the_ids_in_its_own_way() {
    let server = Server::start(Engine::Sqlite).await;
    let first = message("Ada@Example.com", "22553876F5AB4529BFFBCFE50AA89F87:tab", "Busy/InACall");
    let mut holder = Holder::try_open(server.addresses, first, "").await.unwrap();
    holder.next().await;
    let session = "{22553876-f5ab-4529-bffb-cfe50aa89f87}:tab";
    holder.messages.send(message("ADA@example.com", session, "Away/Away")).await.unwrap();
    assert!(matches!(holder.next().await, Response::Set(_)));
    let shown = client(&server).get("ada@example.com").await;
    assert_eq!(shown, Outcome::Presences(vec!["ada@example.com Away/Away".to_owned()]));
    holder.messages.send(message("", "22553876-f5ab-4529-bffb-cfe50aa89f87:TAB", "Away/Away")).await.unwrap();
    let status = holder.end().await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "ERROR_REASON_FIELD_INVALID")
    );
    server.stop().await;
}

async fn a_held_session_does_not_fade(engine: Engine) {
    let server = Server::start(engine).await;
    let mut holder = Holder::open(server.addresses, "Available/Available").await;
    holder.next().await;
    advance(&server, &mut holder, 100).await;
    assert_eq!(shown(&server).await, "u Available/Available");
    server.stop().await;
}

async fn a_clear_takes_the_session_from_the_stream(engine: Engine) {
    let server = Server::start(engine).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    holder.next().await;
    assert_eq!(client(&server).clear("u", "app").await, Done);
    server.clock.advance(GRACE / 2);
    let status = holder.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ERROR_REASON_SESSION_TAKEN"));
    assert_eq!(shown(&server).await, "u Offline/Offline");
    server.stop().await;
}

async fn an_old_stream_does_not_overwrite_the_session_of_a_newer_one(engine: Engine) {
    let server = Server::start(engine).await;
    let mut old = Holder::open(server.addresses, "Busy/InACall").await;
    old.next().await;
    let mut new = Holder::open(server.addresses, "Available/Available").await;
    new.next().await;
    server.clock.advance(GRACE / 2);
    assert!(matches!(new.next().await, Response::Extended(_)));
    let status = old.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ERROR_REASON_SESSION_TAKEN"));
    assert_eq!(shown(&server).await, "u Available/Available");
    advance(&server, &mut new, 3).await;
    server.stop().await;
}

#[tokio::test]
async fn an_error_names_the_invalid_fields() {
    let server = Server::start(Engine::Sqlite).await;
    let fields = |status: &Status| {
        let fields = status.get_details_bad_request().unwrap().field_violations;
        fields.into_iter().map(|field| field.field).collect::<Vec<_>>()
    };
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let rejected = async |first| Holder::try_open(server.addresses, first, "").await.err().unwrap();
    let status = rejected(HoldPresenceRequest::default()).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status), ["user_id", "session_id", "availability", "activity"]);
    let text = HoldPresenceRequest { message: "x".repeat(281), ..message("u", "app", "Busy/InACall") };
    let status = rejected(text).await;
    assert_eq!(fields(&status), ["message"]);
    assert!(status.message().contains("at most 280 Unicode characters without U+0000, got 281 characters"));
    for grace in [seconds(4), seconds(301), seconds(-1)] {
        let status = rejected(HoldPresenceRequest { grace, ..message("u", "app", "Busy/InACall") }).await;
        assert_eq!(
            (fields(&status), reason(&status)),
            (vec!["grace".to_owned()], "ERROR_REASON_DURATION_OUT_OF_RANGE".to_owned())
        );
        assert!(status.message().contains("between 5s and 300s"), "{status}");
    }
    assert_eq!(shown(&server).await, "u Offline/Offline");

    // An invalid later message ends its stream, and the session stays.
    let later = [
        (message("v", "", "Away/Away"), "user_id"),
        (message("", "another", "Away/Away"), "session_id"),
        (message("", "", "Busy/Busy"), "availability"),
        (HoldPresenceRequest { grace: seconds(16), ..message("", "", "Away/Away") }, "grace"),
        (HoldPresenceRequest { message: "x".repeat(281), ..message("", "", "Away/Away") }, "message"),
        (HoldPresenceRequest { message: "a\0b".into(), ..message("", "", "Away/Away") }, "message"),
    ];
    for (message, field) in later {
        let holder = Holder::open(server.addresses, "Busy/InACall").await;
        holder.messages.send(message).await.unwrap();
        let mut holder = holder;
        assert_eq!(fields(&holder.end().await), [field]);
        assert_eq!(shown(&server).await, "u Busy/InACall");
    }
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    let same = HoldPresenceRequest { grace: seconds(15), ..message("u", "app", "Away/Away") };
    holder.messages.send(same).await.unwrap();
    assert!(matches!([holder.next().await, holder.next().await], [Response::Set(_), Response::Set(_)]));
    assert_eq!(shown(&server).await, "u Away/Away");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_without_a_message_is_rejected() {
    let server = Server::start(Engine::Sqlite).await;
    let mut client = PresenceServiceClient::new(connect(server.addresses).await);
    let status = client.hold_presence(futures_util::stream::empty()).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "ERROR_REASON_MESSAGE_MALFORMED")
    );
    server.stop().await;
}

#[tokio::test]
async fn it_requires_the_permission_to_write_and_ends_when_the_token_expires() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let server = &guarded.server;
    let bearer = |claims| format!("Bearer {}", guarded.signer.sign(&claims));
    let reader = bearer(tokens::application(&["Presence.Read.All"]));
    let writer = bearer(tokens::application(&["Presence.ReadWrite.All"]));
    let open = async |session: &str, authorization: &str| {
        Holder::try_open(server.addresses, message("u", session, "Busy/InACall"), authorization).await
    };
    let rejected = open(tokens::APP, &reader).await.err().unwrap();
    assert_eq!(reason(&rejected), "ERROR_REASON_PERMISSION_MISSING");
    assert_eq!(
        reason(&open("another", &writer).await.err().unwrap()),
        "ERROR_REASON_SESSION_ID_NOT_APPLICATION"
    );
    open(&format!("{{{}}}:tab", tokens::APP.to_uppercase()), &writer).await.unwrap();
    let mut holder = open(tokens::APP, &writer).await.unwrap();
    // With the leeway the token is valid for an hour and a minute.
    server.clock.advance(Duration::from_mins(61));
    let status = holder.end().await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unauthenticated, "ERROR_REASON_TOKEN_INVALID")
    );
    guarded.server.stop().await;
}

#[tokio::test]
async fn the_maximum_age_and_a_stop_end_the_stream_and_keep_the_session() {
    let server = Server::start_with(Engine::Sqlite, &["--stream-max-age", "300ms"]).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    let status = holder.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "ERROR_REASON_STREAM_TOO_OLD"));
    assert_eq!(shown(&server).await, "u Busy/InACall");
    server.stop().await;

    let server = Server::start(Engine::Sqlite).await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    holder.next().await;
    let stopwatch = presenced::clock::Stopwatch::start();
    let stop = tokio::spawn(server.app.stop(Duration::from_secs(10), pending()));
    let status = holder.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "ERROR_REASON_STOPPING"));
    assert_eq!(stop.await.unwrap(), Drain::Complete);
    assert!(stopwatch.elapsed() < Duration::from_secs(5), "{:?}", stopwatch.elapsed());
}
