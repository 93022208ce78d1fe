//! Sessions of seconds, which `--session-min` allows in the gRPC API.

use std::time::Duration;

use presenced::grpc::pb::{
    BatchSetPresencesRequest, HistoryPart, ListPresenceHistoryRequest, SetPresenceRequest,
    presence_service_client::PresenceServiceClient,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Watcher, client, connect, set_request, time::nothing_before};
use crate::support::{
    client::Outcome::{Done, Invalid, Presences},
    database::Engine,
    on_every_engine,
    server::Server,
};

on_every_engine![
    the_setting_allows_them_in_the_grpc_api_only,
    they_end_at_their_instants_and_never_fade,
    refreshes_every_five_seconds_change_nothing,
];

const SECOND: Duration = Duration::from_secs(1);

fn lives(duration: Duration) -> SetPresenceRequest {
    let duration = prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap(),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap(),
    };
    SetPresenceRequest { expiration_duration: Some(duration), ..set_request("a", "Busy/InACall") }
}

async fn the_setting_allows_them_in_the_grpc_api_only(engine: Engine) {
    let almost = (10 * SECOND).saturating_sub(Duration::from_millis(1));
    for (flags, allowed, refused, range) in [
        (&[][..], 300 * SECOND, 10 * SECOND, "between 300s and 14400s, got 10s."),
        (&["--session-min", "10s"], 10 * SECOND, almost, "between 10s and 14400s, got 9.999s."),
        (&["--session-min", "1m"], 60 * SECOND, 59 * SECOND, "between 60s and 14400s, got 59s."),
    ] {
        let server = Server::start_with(engine, flags).await;
        let mut grpc = PresenceServiceClient::new(connect(server.addresses).await);
        let status = grpc.set_presence(lives(refused)).await.unwrap_err();
        assert_eq!(status.message(), format!("`expiration_duration` must be {range}"));
        let requests = vec![lives(allowed), lives(refused)];
        let status = grpc.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap_err();
        assert_eq!(status.message(), format!("`requests[1].expiration_duration` must be {range}"));
        assert_eq!(client(&server).get("a").await, Presences(vec!["a Offline/Offline".to_owned()]));
        grpc.set_presence(lives(allowed)).await.unwrap();
        let requests = vec![lives(allowed)];
        grpc.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap();

        let body = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall",
                           "expirationDuration": "PT4M59S" });
        let url = format!("{}/v1.0/users/a/presence/setPresence", server.graph());
        let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let error: Value = response.json().await.unwrap();
        let message = "`expirationDuration` must be between PT5M and PT4H, got PT4M59S.";
        assert_eq!(error["error"]["message"], message);

        // Without a duration it is 5 minutes, as before.
        assert_eq!(client(&server).set("b", "app", "Away/Away", "").await, Done);
        server.clock.advance((300 * SECOND).saturating_sub(Duration::from_millis(1)));
        assert_eq!(client(&server).get("b").await, Presences(vec!["b Away/Away".to_owned()]));
        server.clock.advance(Duration::from_millis(1));
        assert_eq!(client(&server).get("b").await, Presences(vec!["b Offline/Offline".to_owned()]));
        server.stop().await;
    }
}

async fn they_end_at_their_instants_and_never_fade(engine: Engine) {
    let server = Server::start_with(engine, &["--session-min", "10s"]).await;
    let client = client(&server);
    let shown = ["a Offline/Offline", "b Offline/Offline", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "b", "fence"], &shown).await;
    assert_eq!(client.set("a", "app", "Available/Available", "PT10S").await, Done);
    assert_eq!(watcher.next().await, "a Available/Available");
    assert_eq!(client.set("b", "app", "Available/Available", "PT10.5S").await, Done);
    assert_eq!(watcher.next().await, "b Available/Available");
    // It ends before it could fade, and then another session decides.
    assert_eq!(client.set("a", "desk", "Away/Away", "PT1M").await, Done);
    nothing_before(&server, &client, &mut watcher, 10 * SECOND).await;
    assert_eq!(watcher.next().await, "a Away/Away");
    nothing_before(&server, &client, &mut watcher, 10 * SECOND + SECOND / 2).await;
    assert_eq!(watcher.next().await, "b Offline/Offline");
    nothing_before(&server, &client, &mut watcher, 60 * SECOND).await;
    assert_eq!(watcher.next().await, "a Offline/Offline");
    assert_eq!(
        client.set("a", "app", "Away/Away", "PT9S").await,
        Invalid(vec!["expiration_duration".into()])
    );
    server.stop().await;
}

/// Also beyond the times at which a longer session would fade.
async fn refreshes_every_five_seconds_change_nothing(engine: Engine) {
    const REFRESHES: u32 = 150;
    let server = Server::start_with(engine, &["--session-min", "10s"]).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Available/Available", "PT10S").await, Done);
    let shown = ["a Available/Available", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "fence"], &shown).await;
    for _ in 0..REFRESHES {
        server.clock.advance(5 * SECOND);
        assert_eq!(client.set("a", "app", "Available/Available", "PT10S").await, Done);
    }
    nothing_before(&server, &client, &mut watcher, (5 * REFRESHES + 10) * SECOND).await;
    assert_eq!(watcher.next().await, "a Offline/Offline");
    let request = ListPresenceHistoryRequest {
        user_id: "a".into(),
        parts: vec![HistoryPart::Session.into()],
        ..Default::default()
    };
    let mut grpc = PresenceServiceClient::new(connect(server.addresses).await);
    let intervals = grpc.list_presence_history(request).await.unwrap().into_inner().intervals;
    assert_eq!(intervals.len(), 3, "offline, online, and offline before: {intervals:#?}");
    assert_eq!(intervals[1].spans.len(), 1);
    server.stop().await;
}
