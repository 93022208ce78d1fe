//! Watching all users of a tenant, and long ids in a body.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use presenced::grpc::pb::{WatchPresencesRequest, presence_service_client::PresenceServiceClient};
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::{
    Watcher, client, connect,
    events::{Events, PATH, send},
    faults::Replicas,
    metric, set_all,
};
use crate::{
    auth::Guarded,
    graph::TestApi,
    support::{
        client::Outcome::Done, database::Engine, on_every_engine, proxy::Network, server::Server, tokens,
        wait::eventually,
    },
};

on_every_engine![
    the_snapshot_has_the_live_users_and_then_any_user_who_changes,
    an_event_stream_without_ids_watches_everybody,
    watchers_of_everybody_converge_while_users_come_and_go,
    ids_can_be_sent_in_a_body,
];

impl Watcher {
    async fn everyone(server: &Server) -> Self {
        Self::request(server, WatchPresencesRequest { everyone: true, ..Default::default() }).await.unwrap()
    }

    async fn request(server: &Server, request: WatchPresencesRequest) -> Result<Self, Status> {
        let mut client = PresenceServiceClient::new(connect(server.addresses).await);
        Ok(Self { stream: client.watch_presences(request).await?.into_inner() })
    }
}

async fn the_snapshot_has_the_live_users_and_then_any_user_who_changes(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    let mut empty = Watcher::everyone(&server).await;
    assert_eq!(empty.snapshot().await, [""; 0]);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    assert_eq!(client.set("b", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(client.clear("b", "app").await, Done);
    let mut watcher = Watcher::everyone(&server).await;
    assert_eq!(watcher.snapshot().await, ["a Busy/InACall"], "without users who are offline");
    assert_eq!(client.set("new", "app", "Available/Available", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "new Available/Available");
    assert_eq!(client.clear("a", "app").await, Done);
    assert_eq!(watcher.next().await, "a Offline/Offline");
    assert_eq!(client.say("silent", "Hi", "").await, Done);
    assert_eq!(watcher.next().await, "silent Offline/Offline \"Hi\"");
    server.stop().await;
}

async fn an_event_stream_without_ids_watches_everybody(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let mut events = Events::open(server.addresses, "", &[]).await;
    assert_eq!(events.snapshot(1).await, ["a Busy/InACall"]);
    assert_eq!(client.set("b", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(events.presence().await, "b Away/Away");
    server.stop().await;
}

/// Two streams, one of which is opened in between, have what a fresh stream has.
async fn watchers_of_everybody_converge_while_users_come_and_go(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    let known = |mut watcher: Watcher| {
        let known = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = Arc::clone(&known);
        let task = tokio::spawn(async move {
            while let Ok(event) = watcher.try_next().await {
                let Some((user, shown)) = event.split_once(' ').filter(|(user, _)| *user != "snapshot")
                else {
                    continue;
                };
                let mut known = shared.lock().unwrap();
                if shown == "Offline/Offline" {
                    known.remove(user)
                } else {
                    known.insert(user.to_owned(), shown.to_owned())
                };
            }
        });
        (known, task)
    };
    let (first, first_task) = known(Watcher::everyone(&server).await);
    let pairs = ["Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"];
    let mut second = None;
    for turn in 0..400 {
        if turn == 200 {
            second = Some(known(Watcher::everyone(&server).await));
        }
        let user = format!("user-{}", fastrand::usize(..40));
        if fastrand::u8(..3) == 0 {
            client.clear(&user, "app").await;
        } else {
            assert_eq!(client.set(&user, "app", pairs[fastrand::usize(..3)], "PT1H").await, Done);
        }
    }
    let fresh = Watcher::everyone(&server).await.snapshot().await;
    let fresh: BTreeMap<_, _> = fresh
        .iter()
        .map(|presence| presence.split_once(' ').unwrap())
        .map(|(user, shown)| (user.to_owned(), shown.to_owned()))
        .collect();
    assert!(fresh.len() > 5, "{fresh:?}");
    let (second, second_task) = second.unwrap();
    for known in [first, second] {
        eventually("the watcher has what a fresh one has", async || *known.lock().unwrap() == fresh).await;
    }
    first_task.abort();
    second_task.abort();
    server.stop().await;
}

async fn ids_can_be_sent_in_a_body(engine: Engine) {
    let server = Server::start(engine).await;
    let ids: Vec<_> = (0..650).map(|user| format!("{user:0>127}%")).collect();
    let client = reqwest::Client::new();
    let url = format!("http://{}{PATH}", server.addresses.http);
    let response = client.post(url).json(&json!({ "ids": ids })).send().await.unwrap();
    let mut events = Events::of(response).await;
    assert_eq!(events.snapshot(650).await.len(), 650);
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_ids_is_checked_as_in_other_operations() {
    let bench = TestApi::new().await;
    let refused = async |body: &str, target: &str, text: &str| {
        let response = bench.send(Method::POST, PATH, &[], body.to_owned()).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), [target], "{body}");
        assert!(response.message().contains(text), "{}", response.message());
    };
    refused("{}", "ids", "`ids` is required.").await;
    refused(r#"{"ids":[]}"#, "ids", "must have at least one id").await;
    let many = json!({ "ids": vec!["a"; 651] }).to_string();
    refused(&many, "ids", "must have at most 650 items, got 651").await;
    bench.send(Method::PUT, PATH, &[], "").await.is_refused(405, "MethodNotAllowed");
    bench.server.stop().await;
}

#[tokio::test]
async fn everyone_together_with_ids_is_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let request = WatchPresencesRequest { user_ids: vec!["a".into()], everyone: true, ..Default::default() };
    let status = Watcher::request(&server, request).await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "`everyone` must not be set together with `user_ids`.");
    server.stop().await;
}

#[tokio::test]
async fn everyone_needs_the_permission_to_read_all() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let open = async |claims: serde_json::Value| {
        let bearer = format!("Bearer {}", guarded.signer.sign(&claims));
        let mut request = Request::new(WatchPresencesRequest { everyone: true, ..Default::default() });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let mut client = PresenceServiceClient::new(connect(guarded.server.addresses).await);
        client.watch_presences(request).await.map(drop)
    };
    for refused in [tokens::delegated("Presence.Read"), tokens::application(&["Presence.Manage.All"])] {
        let status = open(refused).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert!(status.message().contains("Presence.Read.All"), "{status}");
    }
    for allowed in [tokens::delegated("Presence.Read.All"), tokens::application(&["Presence.Read.All"])] {
        open(allowed).await.unwrap();
    }
    let headers =
        [("authorization", format!("Bearer {}", guarded.signer.sign(&tokens::delegated("Presence.Read"))))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let response = send(guarded.server.addresses, Method::GET, PATH, &headers).await;
    assert_eq!(response.status(), 403);
    guarded.server.stop().await;
}

#[tokio::test]
async fn everybody_counts_against_the_limit_of_watched_users() {
    let server = Server::start_with(Engine::Sqlite, &["--watch-users-max", "10000"]).await;
    let ids: Vec<String> = (0..6_000).map(|user| user.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    set_all(server.addresses, &ids[..5_000], "Busy/InACall").await;
    let reason = |status: &Status| status.get_details_error_info().unwrap().reason;
    let mut first = Watcher::everyone(&server).await;
    assert_eq!(first.snapshot().await.len(), 5_000);
    let mut second = Watcher::everyone(&server).await;
    assert_eq!(second.snapshot().await.len(), 5_000);
    let everyone = WatchPresencesRequest { everyone: true, ..Default::default() };
    let status = Watcher::request(&server, everyone.clone()).await.err().unwrap();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "ERROR_REASON_TOO_MANY_WATCHED"));
    // One user more, and a stream that is open has too many.
    set_all(server.addresses, &ids[5_000..], "Busy/InACall").await;
    let status = first.end().await;
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "ERROR_REASON_TOO_MANY_WATCHED"));
    assert!(status.message().contains("--watch-users-max"), "{status}");
    drop((first, second));
    eventually("no user is watched", async || metric(server.addresses, "presence_watch_users").await == 0)
        .await;
    let mut third = Watcher::everyone(&server).await;
    assert_eq!(third.snapshot().await.len(), 6_000);
    server.stop().await;
}

#[tokio::test]
async fn a_user_who_appeared_during_an_outage_is_sent_after_it() {
    let replicas = Replicas::new().await;
    let mut client = PresenceServiceClient::new(connect(replicas.watched.addresses()).await);
    let request = || WatchPresencesRequest { everyone: true, ..Default::default() };
    let mut watcher = Watcher { stream: client.watch_presences(request()).await.unwrap().into_inner() };
    assert_eq!(watcher.snapshot().await, [""; 0]);
    replicas.proxy.set(Network::Cut);
    let mut late = Watcher { stream: client.watch_presences(request()).await.unwrap().into_inner() };
    replicas.set("Busy/InACall").await;
    for _ in 0..10 {
        assert_eq!(watcher.next().await, "heartbeat");
    }
    replicas.proxy.set(Network::Up);
    assert_eq!(watcher.next_change().await, "a Busy/InACall");
    assert_eq!(late.snapshot().await, ["a Busy/InACall"]);
    replicas.stop().await;
}
