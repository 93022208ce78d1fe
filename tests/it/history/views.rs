//! The times in presences: `PRESENCE_VIEW_FULL`, `$select` and `Prefer: include-extensions`.

use std::{collections::BTreeSet, future::pending, time::Duration};

use presenced::{
    app::Drain,
    clock::Clock,
    grpc::pb::{
        BatchGetPresencesRequest, GetPresenceRequest, Presence, PresenceView, WatchPresencesRequest,
        WatchPresencesResponse, watch_presences_response::Event,
    },
    store::Database,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Streaming;

use super::{
    MINUTE, Query, client, get, grpc, json_minutes, page, refusals::remove_history, set, start, start_with,
    text, times,
};
use crate::{
    graph::TestApi,
    support::{
        client::{Outcome::Done, words},
        database::Engine,
        on_every_engine,
        server::{self, START, Server, settings},
    },
    watch::PATIENCE,
};

on_every_engine![
    only_the_full_view_has_the_times,
    a_batch_in_the_full_view_has_the_order_of_the_basic_one,
    a_watcher_receives_the_times_in_the_full_view,
    only_a_request_for_extensions_has_them,
    a_preference_freezes_the_activity_and_the_number_of_hidden_sessions,
    the_times_survive_the_cleanup_and_a_restart,
    without_history_only_the_present_is_known,
];

async fn read(api: &TestApi, user: &str, view: PresenceView) -> Presence {
    let request = GetPresenceRequest { user_id: user.to_owned(), view: view.into() };
    grpc(api.server.addresses).get_presence(request).await.unwrap().into_inner().presence.unwrap()
}

async fn full(api: &TestApi, user: &str) -> Presence {
    read(api, user, PresenceView::Full).await
}

async fn only_the_full_view_has_the_times(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "u", "desk", "Busy/InACall", "PT5M").await;
    api.server.clock.advance(3 * MINUTE);
    assert_eq!(times(&full(&api, "u").await), ["0", "3", ""]);
    api.server.clock.advance(3 * MINUTE);
    assert_eq!(times(&full(&api, "u").await), ["5", "5", ""]);
    assert_eq!(times(&full(&api, "nobody").await), ["", "", ""]);
    remove_history(&api.server, 2).await;
    assert_eq!(times(&full(&api, "u").await), ["5", "5", "2"]);
    assert_eq!(times(&full(&api, "nobody").await), ["", "", "2"]);
    for view in [PresenceView::Unspecified, PresenceView::Basic] {
        let basic = read(&api, "u", view).await;
        assert_eq!(times(&basic), ["", "", ""]);
        let full = full(&api, "u").await;
        assert_eq!((words(&basic), basic.sequence_number), (words(&full), full.sequence_number));
    }
}

async fn a_batch_in_the_full_view_has_the_order_of_the_basic_one(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "b", "desk", "Busy/InACall", "PT1H").await;
    api.server.clock.advance(MINUTE);
    set(&api.server, "a", "desk", "Away/Away", "PT1H").await;
    api.server.clock.advance(MINUTE);
    let user_ids: Vec<_> = ["nobody", "b", "a", "b", "nobody"].map(ToOwned::to_owned).into();
    let get = async |view: PresenceView| {
        let request = BatchGetPresencesRequest { user_ids: user_ids.clone(), view: view.into() };
        grpc(api.server.addresses).batch_get_presences(request).await.unwrap().into_inner().presences
    };
    let (basic, full) = (get(PresenceView::Basic).await, get(PresenceView::Full).await);
    let all = |presences: &[Presence]| presences.iter().map(words).collect::<Vec<_>>();
    assert_eq!(all(&full), ["nobody Offline/Offline", "b Busy/InACall", "a Away/Away"]);
    assert_eq!(all(&full), all(&basic));
    assert_eq!(basic.iter().map(times).collect::<Vec<_>>(), [[""; 3]; 3]);
    assert_eq!(full.iter().map(times).collect::<Vec<_>>(), [["", "", ""], ["0", "2", ""], ["1", "", ""]]);
}

/// The next event of a stream that is no heartbeat: a presence with its times, or the marker.
async fn next(stream: &mut Streaming<WatchPresencesResponse>) -> String {
    loop {
        let response = timeout(PATIENCE, stream.message()).await.expect("an event in time").unwrap();
        match response.expect("an open stream").event.expect("an event") {
            Event::Presence(presence) => return format!("{} {:?}", words(&presence), times(&presence)),
            Event::SnapshotComplete(_) => return "complete".to_owned(),
            Event::Heartbeat(_) => {}
        }
    }
}

async fn a_watcher_receives_the_times_in_the_full_view(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "u", "desk", "Available/Available", "PT1H").await;
    api.server.clock.advance(MINUTE);
    let watch = async |view: PresenceView| {
        let user_ids = vec!["u".to_owned(), "v".to_owned(), "u".to_owned()];
        let request = WatchPresencesRequest { user_ids, view: view.into(), ..Default::default() };
        let mut stream = grpc(api.server.addresses).watch_presences(request).await.unwrap().into_inner();
        let mut snapshot = vec![next(&mut stream).await, next(&mut stream).await];
        snapshot.sort();
        assert_eq!(next(&mut stream).await, "complete");
        (stream, snapshot)
    };
    let (mut full, snapshot) = watch(PresenceView::Full).await;
    assert_eq!(snapshot, [r#"u Available/Available ["0", "1", ""]"#, r#"v Offline/Offline ["", "", ""]"#]);
    let (mut basic, snapshot) = watch(PresenceView::Unspecified).await;
    assert_eq!(snapshot, [r#"u Available/Available ["", "", ""]"#, r#"v Offline/Offline ["", "", ""]"#]);
    set(&api.server, "v", "desk", "Busy/InACall", "PT1H").await;
    assert_eq!(next(&mut full).await, r#"v Busy/InACall ["1", "1", ""]"#);
    assert_eq!(next(&mut basic).await, r#"v Busy/InACall ["", "", ""]"#);
    // A change that time alone causes.
    api.server.clock.advance(4 * MINUTE);
    assert_eq!(next(&mut full).await, r#"u Available/AvailableInactive ["5", "5", ""]"#);
    assert_eq!(next(&mut basic).await, r#"u Available/AvailableInactive ["", "", ""]"#);
}

const PRESENCE: [&str; 7] = [
    "activity",
    "availability",
    "id",
    "outOfOfficeSettings",
    "sequenceNumber",
    "statusMessage",
    "workLocation",
];

fn names(presence: &Value) -> BTreeSet<&str> {
    let names = presence.as_object().unwrap().keys().map(String::as_str);
    names.filter(|name| !name.starts_with('@')).collect()
}

/// The presence of `u` from every operation that returns presences.
async fn everywhere(api: &TestApi, options: &str, headers: &[(&str, &str)]) -> Vec<Value> {
    let many = json!({ "ids": ["u"] }).to_string();
    let posted = [&[("content-type", "application/json")], headers].concat();
    let path = format!("/v1.0/communications/getPresencesByUserId?{options}");
    let by_id = api.send(Method::POST, &path, &posted, many).await;
    let mut presences = vec![by_id.body["value"][0].clone()];
    for path in ["/v1.0/users/u/presence", "/v1.0/communications/presences/u"] {
        presences.push(api.send(Method::GET, &format!("{path}?{options}"), headers, "").await.body);
    }
    let path = format!("/v1.0/communications/presences?{options}");
    presences.push(api.send(Method::GET, &path, headers, "").await.body["value"][0].clone());
    let path = format!("{}/v1.0/communications/watchPresences?ids=u&{options}", api.server.graph());
    let mut request = api.http.get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send().await.unwrap();
    let mut text = String::new();
    while !text.contains("snapshotComplete") {
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("an event in time").unwrap();
        text.push_str(str::from_utf8(&chunk.expect("an open stream")).unwrap());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    presences.push(serde_json::from_str(data).unwrap());
    presences
}

async fn only_a_request_for_extensions_has_them(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "u", "desk", "Available/Available", "PT1H").await;
    api.server.clock.advance(7 * MINUTE);
    remove_history(&api.server, -5).await;
    for headers in [&[][..], &[("prefer", "return=minimal")], &[("prefer", "exclude-extensions")]] {
        for options in ["", "$select=*"] {
            for presence in everywhere(&api, options, headers).await {
                assert_eq!(names(&presence), BTreeSet::from(PRESENCE), "{options}");
            }
        }
    }
    let shown = |presence: &Value| {
        ["lastChangeDateTime", "lastActiveDateTime", "historyStartDateTime"]
            .map(|name| json_minutes(&presence[name]))
    };
    let all =
        PRESENCE.into_iter().chain(["historyStartDateTime", "lastActiveDateTime", "lastChangeDateTime"]);
    let all: BTreeSet<_> = all.collect();
    for prefer in [
        "include-extensions",
        "return=minimal, Include-Extensions",
        "odata.track-changes; include-extensions",
    ] {
        for presence in everywhere(&api, "", &[("prefer", prefer)]).await {
            assert_eq!(names(&presence), all, "{prefer}");
            assert_eq!(shown(&presence), ["5", "5", "-5"], "{prefer}");
        }
    }
    for presence in everywhere(&api, "$select=lastChangeDateTime", &[]).await {
        assert_eq!(names(&presence), BTreeSet::from(["lastChangeDateTime"]));
        assert_eq!(shown(&presence)[0], "5");
    }
    for presence in everywhere(&api, "$select=id,lastActiveDateTime,availability", &[]).await {
        assert_eq!(names(&presence), BTreeSet::from(["availability", "id", "lastActiveDateTime"]));
        assert_eq!(shown(&presence)[1], "5");
    }
    // An explicit selection is complete.
    for presence in everywhere(&api, "$select=id", &[("prefer", "include-extensions")]).await {
        assert_eq!(names(&presence), BTreeSet::from(["id"]));
    }
}

async fn a_preference_freezes_the_activity_and_the_number_of_hidden_sessions(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    set(server, "u", "desk", "Available/Available", "PT4H").await;
    server.clock.advance(MINUTE);
    assert_eq!(client.prefer("u", "Offline/OffWork", "PT8H").await, Done);
    server.clock.advance(MINUTE);
    let hidden = full(&api, "u").await;
    assert_eq!(
        (words(&hidden).as_str(), times(&hidden)),
        ("u Offline/OffWork", ["1", "1", ""].map(Into::into))
    );
    for (pair, minutes) in [
        ("Busy/InACall", 1),
        ("Available/Available", 6),
        ("Available/Available", 20),
        ("DoNotDisturb/Presenting", 1),
        ("Away/Away", 1),
    ] {
        set(server, "u", "desk", pair, "PT4H").await;
        server.clock.advance(minutes * MINUTE);
        assert_eq!(full(&api, "u").await, hidden, "{pair}");
    }
    assert_eq!(client.clear_preferred("u").await, Done);
    let shown = full(&api, "u").await;
    assert_eq!((words(&shown).as_str(), times(&shown)), ("u Away/Away", ["31", "1", ""].map(Into::into)));
    assert!(shown.sequence_number > hidden.sequence_number);
}

async fn the_times_survive_the_cleanup_and_a_restart(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    set(server, "u", "desk", "Busy/InACall", "PT10M").await;
    set(server, "v", "desk", "Available/Available", "PT1H").await;
    assert_eq!(client.prefer("w", "Away/Away", "PT5M").await, Done);
    set(server, "w", "desk", "Busy/InACall", "PT10M").await;
    server.clock.advance(3 * 60 * MINUTE);
    let mut before = Vec::new();
    for user in ["u", "v", "w"] {
        before.push(full(&api, user).await);
    }
    assert_eq!(
        before.iter().map(times).collect::<Vec<_>>(),
        [["10", "10", ""], ["60", "5", ""], ["10", "10", ""]]
    );

    let store = Database::connect(&server.database.url).await.unwrap().open(2);
    let now = START + 180 * MINUTE;
    let sessions = store.scan_sessions(now, None, 100).await.unwrap();
    assert_eq!(store.remove_sessions(now, &sessions).await.unwrap(), 3);
    let users = store.scan_users(now, None, 100).await.unwrap();
    assert_eq!(store.remove_users(&users).await.unwrap(), 1);
    drop(store);
    let same = async |api: &TestApi| {
        for presence in &before {
            let after = full(api, &presence.user_id).await;
            assert_eq!((words(&after), times(&after)), (words(presence), times(presence)));
        }
    };
    same(&api).await;

    let TestApi { server: Server { clock, app, database, .. }, http } = api;
    assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    let app = server::start(&settings(&database.url, &[]), Clock::Manual(clock.clone())).await;
    let api = TestApi { server: Server { clock, addresses: app.addresses(), app, database }, http };
    same(&api).await;
}

async fn without_history_only_the_present_is_known(engine: Engine) {
    let api = start_with(engine, &["--history", "0s"]).await;
    set(&api.server, "u", "desk", "Busy/InACall", "PT1H").await;
    api.server.clock.advance(10 * MINUTE);
    set(&api.server, "u", "phone", "Away/Away", "PT1H").await;
    // The start of the history is ahead of the last write.
    for now in ["10", "11"] {
        assert_eq!(times(&full(&api, "u").await), ["", now, now]);
        let all = page(&api, &Query { user: "u", ..Query::default() }).await;
        assert_eq!((all.shown, all.start.as_str()), (vec!["Busy/InACall ..".to_owned()], now));
        let path = "/v1.0/users/u/presence/explain";
        let explained = get(&api, path).await.body;
        assert_eq!(explained["presence"]["availability"], "Busy");
        assert!(explained["explanation"].as_str().unwrap().contains("since before"), "{explained}");
        let refused = get(&api, &format!("{path}?at={}", text(9))).await;
        assert_eq!(refused.status, 400);
        let start = text(now.parse().unwrap()).replace('Z', ".000Z");
        let problem = format!("must not be before the start of the history ({start})");
        assert!(refused.message().contains(&problem), "{}", refused.body);
        let present = get(&api, &format!("{path}?at={}", text(now.parse().unwrap()))).await;
        assert_eq!(present.body["presence"]["availability"], "Busy", "{}", present.body);
        api.server.clock.advance(MINUTE);
    }
}
