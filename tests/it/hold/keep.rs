//! Holding a session without a stream of messages: `KeepPresence`, and `holdPresence` over HTTP.

use presenced::{
    grpc::pb::{
        KeepPresenceRequest, keep_presence_response::Event, presence_service_client::PresenceServiceClient,
    },
    presence::Timestamp,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{GRACE, Holder, TICK, client, message, reason, shown, wait_until_not_held};
use crate::{
    graph::TestApi,
    support::{
        client::{Outcome::Done, activity_number, availability_number},
        database::Engine,
        events::EventStream,
        on_every_engine,
        server::{START, Server},
    },
    watch::connect,
};

on_every_engine![
    the_session_lives_as_long_as_the_response_is_read,
    the_end_of_the_response_never_clears_the_session,
    another_call_takes_the_session_at_once,
    over_http_the_events_have_the_expiry_and_the_error,
];

fn request() -> KeepPresenceRequest {
    KeepPresenceRequest {
        user_id: "u".to_owned(),
        session_id: "app".to_owned(),
        availability: availability_number("Busy"),
        activity: activity_number("InACall"),
        grace: None,
        message: "bank".to_owned(),
        ..Default::default()
    }
}

/// A response of `KeepPresence`.
struct Kept(tonic::Streaming<presenced::grpc::pb::KeepPresenceResponse>);

impl Kept {
    async fn open(server: &Server) -> Self {
        let mut client = PresenceServiceClient::new(connect(server.addresses).await);
        Self(client.keep_presence(request()).await.unwrap().into_inner())
    }

    /// Whether the next event is an extension, and the expiry.
    async fn next(&mut self) -> Result<(bool, Timestamp), Status> {
        let response = self.0.message().await?.expect("an open stream");
        let (is_extension, expire_time) = match response.event.expect("an event") {
            Event::SessionSet(set) => (false, set.expire_time),
            Event::SessionExtended(extended) => (true, extended.expire_time),
        };
        let time = expire_time.unwrap();
        let millis = time.seconds * 1_000 + i64::from(time.nanos / 1_000_000);
        Ok((is_extension, Timestamp::from_millis(millis)))
    }
}

async fn the_session_lives_as_long_as_the_response_is_read(engine: Engine) {
    let server = Server::start(engine).await;
    let mut kept = Kept::open(&server).await;
    let lives = GRACE / 2 + GRACE;
    assert_eq!(kept.next().await.unwrap(), (false, START + lives));
    for half in 1..=20 {
        server.clock.advance(GRACE / 2);
        assert_eq!(kept.next().await.unwrap(), (true, START + half * (GRACE / 2) + lives));
    }
    assert_eq!(shown(&server).await, "u Busy/InACall \"bank\"");
    server.stop().await;
}

async fn the_end_of_the_response_never_clears_the_session(engine: Engine) {
    let server = Server::start(engine).await;
    let mut kept = Kept::open(&server).await;
    kept.next().await.unwrap();
    drop(kept);
    wait_until_not_held(&server).await;
    server.clock.advance((GRACE / 2 + GRACE).saturating_sub(TICK));
    assert_eq!(shown(&server).await, "u Busy/InACall \"bank\"");
    server.clock.advance(TICK);
    assert_eq!(shown(&server).await, "u Offline/Offline");
    server.stop().await;
}

/// The clock does not move, so the streams hear of the loss before their next extension.
async fn another_call_takes_the_session_at_once(engine: Engine) {
    let server = Server::start(engine).await;
    let api = client(&server);
    for takeover in ["set", "same", "clear", "hold", "erase"] {
        let mut kept = Kept::open(&server).await;
        kept.next().await.unwrap();
        let mut newer = None;
        match takeover {
            "set" => assert_eq!(api.set("u", "app", "Away/Away", "PT1H").await, Done),
            // Watchers see no change.
            "same" => assert_eq!(api.set_text("u", "app", "Busy/InACall", "bank").await, Done),
            "clear" => assert_eq!(api.clear("u", "app").await, Done),
            "hold" => {
                let first = message("u", "app", "DoNotDisturb/Presenting");
                newer = Some(Holder::try_open(server.addresses, first, "").await.unwrap());
            }
            _ => {
                let user_id = "u".to_owned();
                let request = presenced::grpc::pb::ErasePresenceRequest { user_id };
                let mut client = PresenceServiceClient::new(connect(server.addresses).await);
                client.erase_presence(request).await.unwrap();
            }
        }
        let status = kept.next().await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "ERROR_REASON_SESSION_TAKEN"));
        let expected = match takeover {
            "set" => "u Away/Away",
            "same" => "u Busy/InACall \"bank\"",
            "hold" => "u DoNotDisturb/Presenting",
            _ => "u Offline/Offline",
        };
        assert_eq!(shown(&server).await, expected, "{takeover}");
        drop(newer);
    }
    server.stop().await;
}

async fn over_http_the_events_have_the_expiry_and_the_error(engine: Engine) {
    let api = TestApi { server: Server::start(engine).await, http: reqwest::Client::new() };
    let url = format!("{}/v1.0/users/u/presence/holdPresence", api.server.graph());
    let body = json!({
        "sessionId": "app", "availability": "Busy", "activity": "InACall", "grace": "PT15S",
        "observedDateTime": START.to_string(), "message": "bank",
    });
    let open = async |body: Value| api.http.post(&url).json(&body).send().await.unwrap();
    let mut events = EventStream::new(open(body.clone()).await);
    let expires = |at: Timestamp| json!({ "expiryDateTime": at.to_string() });
    let lives = GRACE / 2 + GRACE;
    assert_eq!(events.next().await, ("sessionSet".to_owned(), expires(START + lives)));
    api.server.clock.advance(GRACE / 2);
    assert_eq!(events.next().await, ("sessionExtended".to_owned(), expires(START + GRACE / 2 + lives)));
    assert_eq!(shown(&api.server).await, "u Busy/InACall \"bank\"");
    assert_eq!(client(&api.server).clear("u", "app").await, Done);
    let error = events.end().await;
    assert_eq!((&error["code"], &error["innerError"]["code"]), (&json!("NotFound"), &json!("SESSION_TAKEN")));
    assert!(error["message"].as_str().unwrap().contains("no longer holds the session"), "{error}");

    // The clear was observed later than this.
    let stale = open(body.clone()).await;
    assert_eq!(stale.status(), 412);
    let error: Value = stale.json().await.unwrap();
    assert_eq!(error["error"]["innerError"]["code"], "STALE_WRITE", "{error}");
    let mut invalid = body;
    invalid["grace"] = json!("PT4S");
    invalid["user"] = json!("u");
    invalid["message"] = json!("x".repeat(281));
    let refused = open(invalid).await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["presence-ignored"].to_str().unwrap()),
        (400, "user")
    );
    let text = refused.text().await.unwrap();
    assert!(text.contains("`grace` must be between PT5S and PT5M, got PT4S."), "{text}");
    let expected =
        "`message` must be a string of at most 280 Unicode characters without U+0000, got 281 characters.";
    assert!(text.contains(expected), "{text}");
    api.server.stop().await;
}
