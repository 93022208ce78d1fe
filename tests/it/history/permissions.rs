//! What callers with each permission see of a history, and whose.

use presenced::grpc::pb::ExplainPresenceRequest;
use reqwest::Client;
use serde_json::{Value, json};
use tonic::{Code, Request};

use super::{MINUTE, Page, Query, grpc, json_span, span};
use crate::{
    auth::Guarded,
    support::{
        database::Engine,
        on_every_engine,
        tokens::{APP, USER, application, delegated, with},
    },
};

on_every_engine![authors_are_shown_to_the_user_and_to_administrators_only];

const OTHER: &str = "other@example.com";
const CONSOLE: &str = "33333333-f5ab-4529-bffb-cfe50aa89f87";

/// A service, and the requests of callers with these claims.
struct Guard {
    guarded: Guarded,
    http: Client,
}

impl Guard {
    fn token(&self, claims: &Value) -> String {
        format!("Bearer {}", self.guarded.signer.sign(claims))
    }

    async fn act(&self, claims: &Value, user: &str, action: &str, body: &Value) {
        let url = format!("{}/v1.0/users/{user}/presence/{action}", self.guarded.server.graph());
        let request = self.http.post(url).header("authorization", self.token(claims)).json(body);
        assert_eq!(request.send().await.unwrap().status(), 200, "{action}");
    }

    async fn get(&self, claims: &Value, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.guarded.server.graph());
        let request = self.http.get(url).header("authorization", self.token(claims));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn request<T>(&self, claims: &Value, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token(claims).parse().unwrap());
        request
    }

    /// The history with the spans of sessions, or the refusal: the codes of both APIs.
    async fn history(&self, claims: &Value, user: &str) -> Result<Page, (Code, u16)> {
        let query = Query { user, parts: &["session"], ..Query::default() };
        let mut grpc = grpc(self.guarded.server.addresses);
        let answer = grpc.list_presence_history(self.request(claims, query.message())).await;
        let (status, body) = self.get(claims, &query.path()).await;
        match answer {
            Ok(response) => {
                let page = Page::of_message(response.get_ref());
                assert_eq!((status, &Page::of_json(&body)), (200, &page), "{body}");
                Ok(page)
            }
            Err(refused) => Err((refused.code(), status)),
        }
    }

    /// The spans and the text of an explanation.
    async fn explain(&self, claims: &Value, user: &str) -> (Vec<String>, String) {
        let message = ExplainPresenceRequest { user_id: user.to_owned(), at: Some(super::at(0)) };
        let mut grpc = grpc(self.guarded.server.addresses);
        let response = grpc.explain_presence(self.request(claims, message)).await.unwrap().into_inner();
        let path = format!("/v1.0/users/{user}/presence/explain?at={}", super::text(0));
        let (_, body) = self.get(claims, &path).await;
        let spans: Vec<_> = response.spans.iter().map(span).collect();
        assert_eq!(body["spans"].as_array().unwrap().iter().map(json_span).collect::<Vec<_>>(), spans);
        assert_eq!(body["explanation"], response.explanation);
        (spans, response.explanation)
    }
}

async fn authors_are_shown_to_the_user_and_to_administrators_only(engine: Engine) {
    let guard = Guard { guarded: Guarded::start(engine, &[]).await, http: Client::new() };
    let set = json!({ "sessionId": APP, "availability": "Busy", "activity": "InACall", "expirationDuration": "PT1H" });
    let user = delegated("Presence.ReadWrite");
    let console = with(&json!({ "azp": CONSOLE, "oid": OTHER, "scp": "Presence.Manage.All" }));
    guard.act(&user, USER, "setPresence", &set).await;
    guard.guarded.server.clock.advance(MINUTE);
    guard.act(&console, USER, "clearPresence", &json!({ "sessionId": APP })).await;

    let shown = ["Offline/Offline 1..", "Busy/InACall 0..1", "Offline/Offline ..0"];
    let value = format!("session {APP} Busy/InACall 0..1 @0 cleared");
    let whole = format!("{value} by {APP} for {USER} ended by {CONSOLE} ended for {OTHER}");
    let reduced = format!("{value} by {APP} ended by {CONSOLE}");
    for (claims, sees_users) in [
        (application(&["Presence.Read.All"]), false),
        (application(&["Presence.ReadWrite.All"]), false),
        (application(&["Presence.Manage.All"]), true),
        (application(&["Presence.Read.All", "Presence.Manage.All"]), true),
        (delegated("Presence.Read"), true),
        (delegated("Presence.Read.All"), true),
        (delegated("Presence.Manage.All"), true),
        (console, true),
    ] {
        let span = if sees_users { &whole } else { &reduced };
        let page = guard.history(&claims, USER).await.unwrap();
        assert_eq!(page.shown, shown);
        assert_eq!(page.spans[1], [span.as_str()], "{claims}");
        let author = format!("set by application {APP}");
        let expected = if sees_users { format!("{author} for user {USER}:") } else { format!("{author}:") };
        assert!(page.causes[1].contains(&expected), "{claims}: {}", page.causes[1]);
        let (spans, text) = guard.explain(&claims, USER).await;
        assert_eq!(spans, [span.as_str()], "{claims}");
        assert!(text.contains(&expected), "{claims}: {text}");
        assert_eq!(text.contains(USER), sees_users, "{claims}: {text}");
    }

    // A user without Manage.All has access to the own history only.
    for scopes in ["Presence.Read", "Presence.Read.All"] {
        let refused = guard.history(&delegated(scopes), OTHER).await;
        assert_eq!(refused, Err((Code::PermissionDenied, 401)), "{scopes}");
    }
    for claims in [delegated("Presence.ReadWrite"), application(&[]), application(&["Presence.Read"])] {
        let refused = guard.history(&claims, USER).await;
        assert_eq!(refused, Err((Code::PermissionDenied, 403)), "{claims}");
    }
    assert!(guard.history(&delegated("Presence.Manage.All"), OTHER).await.is_ok());
}

#[tokio::test]
async fn me_has_a_history_that_its_user_can_follow_and_an_administrator_can_erase() {
    let guard = Guard { guarded: Guarded::start(Engine::Sqlite, &[]).await, http: Client::new() };
    let set = json!({ "sessionId": APP, "availability": "Available", "activity": "Available" });
    guard.act(&delegated("Presence.ReadWrite"), USER, "setPresence", &set).await;
    guard.guarded.server.clock.advance(10 * MINUTE);
    let user = delegated("Presence.Read");
    let (root, mut path) = (guard.guarded.server.graph(), "/v1.0/me/presence/history?$top=1".to_owned());
    let mut shown = Vec::new();
    while !path.is_empty() {
        let (status, body) = guard.get(&user, &path).await;
        assert_eq!(status, 200, "{path}: {body}");
        shown.extend(Page::of_json(&body).shown);
        let link = body["@odata.nextLink"].as_str().unwrap_or_default();
        path = link.strip_prefix(&root).unwrap_or_default().to_owned();
        assert!(path.is_empty() || path.starts_with("/v1.0/me/presence/history?"), "{path}");
    }
    assert_eq!(shown, ["Offline/Offline 5..", "Available/Available 0..5", "Offline/Offline ..0"]);
    let (status, explained) = guard.get(&user, "/v1.0/me/presence/explain").await;
    assert_eq!((status, &explained["presence"]["id"]), (200, &json!(USER)));

    let url = format!("{root}/v1.0/me/presence/erase");
    let erase = async |claims: Value| {
        let request = guard.http.post(&url).header("authorization", guard.token(&claims));
        request.send().await.unwrap().status()
    };
    assert_eq!(erase(delegated("Presence.ReadWrite Presence.Read.All")).await, 403);
    assert_eq!(erase(delegated("Presence.Manage.All")).await, 200);
    let (_, body) = guard.get(&user, "/v1.0/me/presence/history").await;
    assert_eq!(Page::of_json(&body).shown, ["Offline/Offline .."]);
}
