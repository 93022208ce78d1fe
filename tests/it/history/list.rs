//! `ListPresenceHistory`: intervals, causes, spans, ranges and pages.

use presenced::grpc::pb::{BatchSetPresencesRequest, GetPresenceRequest, PresenceView, SetPresenceRequest};

use super::{MINUTE, Page, Query, client, get, grpc, page, set, start, text, times};
use serde_json::json;

use crate::{
    graph::TestApi,
    support::{
        client::{Outcome::Done, activity_number, availability_number},
        database::Engine,
        on_every_engine,
    },
};

on_every_engine![
    the_intervals_are_newest_first_without_gaps,
    a_cause_names_the_session_and_the_rule,
    the_spans_of_the_requested_parts_are_listed,
    a_range_has_only_what_was_shown_within,
    small_pages_are_equal_to_one_large_page,
    pages_stay_the_same_while_the_presence_changes,
    a_user_who_was_never_set_was_always_offline,
    many_hidden_changes_hide_neither_starts_nor_intervals,
];

/// Nine intervals of the user `u`. It is minute 90 then.
async fn history(engine: Engine) -> TestApi {
    let api = start(engine).await;
    let server = &api.server;
    set(server, "u", "desk", "Available/Available", "PT1H").await;
    server.clock.advance(MINUTE);
    set(server, "u", "phone", "Busy/InACall", "PT30M").await;
    server.clock.advance(69 * MINUTE);
    set(server, "u", "desk", "Available/Available", "PT15M").await;
    server.clock.advance(20 * MINUTE);
    api
}

const SHOWN: [&str; 9] = [
    "Offline/Offline 85..",
    "Away/Away 80..85",
    "Available/AvailableInactive 75..80",
    "Available/Available 70..75",
    "Offline/Offline 60..70",
    "Away/Away 31..60",
    "Busy/InACall 1..31",
    "Available/Available 0..1",
    "Offline/Offline ..0",
];

fn of(user: &str) -> Query<'_> {
    Query { user, ..Query::default() }
}

async fn the_intervals_are_newest_first_without_gaps(engine: Engine) {
    let api = history(engine).await;
    let all = page(&api, &of("u")).await;
    assert_eq!(all.shown, SHOWN);
    assert_eq!((all.token.as_str(), all.start.as_str()), ("", ""));

    // What is shown from the very instant of the read is the current interval.
    set(&api.server, "u", "desk", "Away/Away", "PT1H").await;
    let all = page(&api, &of("u")).await;
    assert_eq!(all.shown[..2], ["Away/Away 90..", "Offline/Offline 85..90"]);
    api.server.clock.advance(MINUTE);
    let all = page(&api, &of("u")).await;
    assert_eq!(all.shown[..2], ["Away/Away 90..", "Offline/Offline 85..90"]);
}

async fn a_cause_names_the_session_and_the_rule(engine: Engine) {
    let api = history(engine).await;
    let all = page(&api, &of("u")).await;
    assert_eq!(
        all.causes,
        [
            "The user had no live session.",
            "Session desk set Available/Available, which faded to Away/Away: it was the user's only live session.",
            "Session desk set Available/Available, which faded to Available/AvailableInactive: it was the user's \
             only live session.",
            "Session desk showed Available/Available: it was the user's only live session.",
            "The user had no live session.",
            "Session desk set Available/Available, which faded to Away/Away: it was the user's only live session.",
            "Session phone showed Busy/InACall: it had precedence over 1 other session (DoNotDisturb > Busy > \
             Available > AvailableInactive > Away).",
            "Session desk showed Available/Available: it was the user's only live session.",
            "The user had no live session.",
        ]
    );

    let client = client(&api.server);
    set(&api.server, "u", "desk", "Busy/InACall", "PT1H").await;
    api.server.clock.advance(MINUTE);
    set(&api.server, "u", "phone", "Busy/InAConferenceCall", "PT1H").await;
    api.server.clock.advance(MINUTE);
    assert_eq!(client.prefer("u", "Offline/OffWork", "PT1H").await, Done);
    api.server.clock.advance(MINUTE);
    assert_eq!(client.clear_preferred("u").await, Done);
    let all = page(&api, &of("u")).await;
    let causes: Vec<_> = all.shown.iter().zip(&all.causes).take(3).collect();
    assert_eq!(causes[0].0, "Busy/InAConferenceCall 93..");
    assert_eq!(causes[1].0, "Offline/OffWork 92..93");
    assert_eq!(causes[1].1, "The user preferred it, which overrode 2 live sessions.");
    assert_eq!(causes[2].0, "Busy/InAConferenceCall 91..92");
    let latest = "Session phone showed Busy/InAConferenceCall: it changed later than 1 other session with the same \
                  precedence (Busy).";
    assert_eq!((causes[0].1.as_str(), causes[2].1.as_str()), (latest, latest));
}

async fn the_spans_of_the_requested_parts_are_listed(engine: Engine) {
    let api = history(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    assert_eq!(client.prefer("u", "Away/Away", "PT1H").await, Done);
    assert_eq!(client.say("u", "Hi", "").await, Done);
    assert_eq!(client.locate("u", "Office", true).await, Done);
    set(server, "u", "desk", "Busy/InACall", "PT1H").await;
    server.clock.advance(MINUTE);
    set(server, "u", "desk", "Busy/InACall", "PT1H").await;
    assert_eq!(client.clear_preferred("u").await, Done);
    assert_eq!(client.say("u", "", "").await, Done);
    assert_eq!(client.locate("u", "Remote", false).await, Done);
    server.clock.advance(MINUTE);
    assert_eq!(client.clear("u", "desk").await, Done);

    let without = page(&api, &of("u")).await;
    assert!(without.spans.iter().all(Vec::is_empty), "{without:?}");
    let sessions = page(&api, &Query { parts: &["session"], ..of("u") }).await;
    assert_eq!(without.shown, sessions.shown);
    assert_eq!(
        sessions.shown[..4],
        ["Offline/Offline 92..", "Busy/InACall 91..92", "Away/Away 90..91", "Offline/Offline 85..90"]
    );
    let none: [&str; 0] = [];
    assert_eq!(sessions.spans[0], none);
    let desk = "session desk Busy/InACall 90..92 @91 cleared";
    assert_eq!(sessions.spans[1], [desk]);
    assert_eq!(sessions.spans[2], [desk], "a span is listed in each interval that it overlaps");
    assert_eq!(sessions.spans[3], none);
    let last = "session desk Available/Available 70..85 @70 expired";
    assert_eq!(sessions.spans[4], [last]);
    let [phone, first] =
        ["session phone Busy/InACall 1..31 @1", "session desk Available/Available 0..60 @0 expired"];
    assert_eq!(sessions.spans[9], [phone, first], "newest first");

    let parts = &["preference", "message", "locations"];
    let others = page(&api, &Query { parts, ..of("u") }).await;
    let locations = ["locations office+- 90..91 @90 changed", "locations office+remote 91.. @91"];
    let message = "message \"Hi\" 90..91 @90 cleared";
    let preference = "preference Away/Away 90..91 @90 cleared";
    assert_eq!(others.spans[0], [locations[1]]);
    assert_eq!(others.spans[1], [locations[1]]);
    let mut in_minute_90 = others.spans[2].clone();
    in_minute_90.sort();
    assert_eq!(in_minute_90, [locations[0], message, preference]);
    assert_eq!(others.spans[3], none);
}

async fn a_range_has_only_what_was_shown_within(engine: Engine) {
    let api = history(engine).await;
    let shown =
        async |from: Option<i64>, to: Option<i64>| page(&api, &Query { from, to, ..of("u") }).await.shown;
    assert_eq!(shown(Some(40), None).await, SHOWN[..6], "the last one can start before the range");
    assert_eq!(shown(Some(60), None).await, SHOWN[..5]);
    assert_eq!(shown(Some(89), None).await, SHOWN[..1]);
    let cut = ["Busy/InACall 1..20", "Available/Available 0..1", "Offline/Offline ..0"];
    assert_eq!(shown(None, Some(20)).await, cut, "the first one ends at the end of the range");
    assert_eq!(shown(Some(1), Some(20)).await, cut[..1]);
    assert_eq!(shown(Some(0), Some(20)).await, cut[..2]);
    assert_eq!(shown(None, Some(31)).await[0], SHOWN[6], "not what was shown from the end of the range");
    assert_eq!(
        shown(None, Some(90)).await[0],
        "Offline/Offline 85..90",
        "a range with an end has no current interval"
    );
    assert_eq!(shown(Some(-30), Some(-20)).await, ["Offline/Offline ..-20"], "a range without anything");
    let none: [&str; 0] = [];
    assert_eq!(shown(Some(20), Some(20)).await, none, "an empty range");
}

/// Follows `next_page_token`, and `@odata.nextLink` as it is.
async fn pages(api: &TestApi, query: &Query<'_>) -> Vec<Page> {
    let mut pages = vec![page(api, query).await];
    let mut path = query.path();
    while let Some(last) = pages.last().filter(|page| !page.token.is_empty()) {
        let link = get(api, &path).await.body["@odata.nextLink"].as_str().unwrap().to_owned();
        path = link.strip_prefix(&api.server.graph()).expect("a link to the same server").to_owned();
        let next = page(api, &Query { token: last.token.clone(), ..query.clone() }).await;
        assert_eq!(next, Page::of_json(&get(api, &path).await.body), "{path}");
        pages.push(next);
        assert!(pages.len() < 20, "{pages:?}");
    }
    pages
}

async fn small_pages_are_equal_to_one_large_page(engine: Engine) {
    let api = history(engine).await;
    let parts = &["session"];
    for (from, to) in
        [(None, None), (Some(20), None), (None, Some(75)), (Some(5), Some(80)), (Some(31), Some(85))]
    {
        let query = Query { from, to, parts, ..of("u") };
        let whole = page(&api, &query).await;
        assert_eq!(whole.token, "", "{query:?}");
        for size in [1, 2, 3, 4, 8, 9] {
            let pages = pages(&api, &Query { size, ..query.clone() }).await;
            let shown: Vec<_> = pages.iter().flat_map(|page| page.shown.clone()).collect();
            assert_eq!(shown, whole.shown, "{query:?} in pages of {size}");
            let causes: Vec<_> = pages.iter().flat_map(|page| page.causes.clone()).collect();
            assert_eq!(causes, whole.causes, "{query:?} in pages of {size}");
            let spans: Vec<_> = pages.iter().flat_map(|page| page.spans.clone()).collect();
            assert_eq!(spans, whole.spans, "{query:?} in pages of {size}");
            let number = whole.shown.len().div_ceil(usize::try_from(size).unwrap());
            assert_eq!(pages.len(), number, "no page is empty: {query:?} in pages of {size}");
        }
    }
}

async fn pages_stay_the_same_while_the_presence_changes(engine: Engine) {
    let api = history(engine).await;
    let first = page(&api, &Query { size: 2, ..of("u") }).await;
    assert_eq!(first.shown, SHOWN[..2]);
    api.server.clock.advance(MINUTE);
    set(&api.server, "u", "desk", "Busy/InACall", "PT1H").await;
    let second = page(&api, &Query { size: 2, token: first.token, ..of("u") }).await;
    assert_eq!(second.shown, SHOWN[2..4]);
    let third = page(&api, &Query { size: 5, token: second.token, ..of("u") }).await;
    assert_eq!(
        (third.shown, third.token.as_str()),
        (SHOWN[4..].iter().map(ToString::to_string).collect(), "")
    );
}

async fn a_user_who_was_never_set_was_always_offline(engine: Engine) {
    let api = start(engine).await;
    api.server.clock.advance(30 * MINUTE);
    let nothing = page(&api, &of("nobody")).await;
    assert_eq!(nothing.shown, ["Offline/Offline .."]);
    assert_eq!(nothing.causes, ["The user had no live session."]);
    assert_eq!((nothing.token.as_str(), nothing.start.as_str()), ("", ""));
    let range = page(&api, &Query { from: Some(10), to: Some(20), ..of("nobody") }).await;
    assert_eq!(range.shown, ["Offline/Offline ..20"]);
}

/// More spans than the service reads at first, none of which changes what is shown.
async fn many_hidden_changes_hide_neither_starts_nor_intervals(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "u", "main", "Available/Available", "PT1H").await;
    api.server.clock.advance(MINUTE);
    set(&api.server, "u", "main", "Busy/InACall", "PT4H").await;
    let request = |pair: &str, session: u32| {
        let (availability, activity) = pair.split_once('/').unwrap();
        SetPresenceRequest {
            user_id: "u".to_owned(),
            session_id: format!("hidden-{session}"),
            availability: availability_number(availability),
            activity: activity_number(activity),
            expiration_duration: None,
            ..Default::default()
        }
    };
    for round in 0..70 {
        api.server.clock.advance(MINUTE);
        let pair = ["Away/Away", "Available/Available"][round % 2];
        let requests = (0..20).map(|session| request(pair, session)).collect();
        let batch = BatchSetPresencesRequest { requests };
        grpc(api.server.addresses).batch_set_presences(batch).await.unwrap();
    }
    let whole = page(&api, &of("u")).await;
    assert_eq!(whole.shown, ["Busy/InACall 1..", "Available/Available 0..1", "Offline/Offline ..0"]);
    assert_eq!((whole.token.as_str(), whole.start.as_str()), ("", ""), "nothing was removed");
    for size in [1, 2] {
        let pages = pages(&api, &Query { size, ..of("u") }).await;
        assert_eq!(pages.iter().flat_map(|page| page.shown.clone()).collect::<Vec<_>>(), whole.shown);
    }
    let late = page(&api, &Query { from: Some(70), ..of("u") }).await;
    assert_eq!(late.shown, whole.shown[..1]);

    let view = PresenceView::Full.into();
    let request = GetPresenceRequest { user_id: "u".to_owned(), view };
    let response = grpc(api.server.addresses).get_presence(request).await.unwrap().into_inner();
    let presence = response.presence.unwrap();
    assert_eq!(times(&presence), ["1", "71", ""]);
    let explained = get(&api, &format!("/v1.0/users/u/presence/explain?at={}", text(0))).await;
    assert_eq!(explained.body["presence"]["availability"], "Available", "{}", explained.body);
}

#[tokio::test]
async fn every_path_of_a_presence_has_a_history_with_links_to_itself() {
    let api = history(Engine::Sqlite).await;
    for path in [
        "/v1.0/users/u/presence/history",
        "/beta/users('u')/presence/history",
        "/v1.0/communications/presences/u/history",
        "/v1.0/communications/presences('u')/history",
    ] {
        // Dates with an offset whose plus sign is not encoded are common.
        let to = text(90).replace('Z', "+00:00");
        let mut link = format!("{path}?to={to}&$top=4&parts=session");
        let mut shown = Vec::new();
        while !link.is_empty() {
            let response = api.get(&link).await;
            assert_eq!(response.status, 200, "{link}: {}", response.body);
            shown.extend(Page::of_json(&response.body).shown);
            let next = response.body["@odata.nextLink"].as_str().unwrap_or_default();
            link = next.strip_prefix(&api.server.graph()).unwrap_or_default().to_owned();
        }
        assert_eq!(shown[1..], SHOWN[1..], "{path}");
    }
}

#[tokio::test]
async fn a_batch_can_contain_all_but_an_export() {
    let api = history(Engine::Sqlite).await;
    let batch = async |items: &[(&str, &str)]| {
        let item = |(index, (method, url)): (usize, &(&str, &str))| json!({ "id": index.to_string(), "method": method, "url": url });
        let requests: Vec<_> = items.iter().enumerate().map(item).collect();
        api.post("/v1.0/$batch", json!({ "requests": requests }).to_string()).await
    };
    let reads = [("GET", "/users/u/presence/history?$top=2"), ("GET", "/users/u/presence/explain")];
    let response = batch(&reads).await;
    let [listed, explained] = [0, 1].map(|index| &response.body["responses"][index]);
    assert_eq!((&listed["status"], &explained["status"]), (&json!(200), &json!(200)), "{}", response.body);
    assert_eq!(Page::of_json(&listed["body"]).shown, SHOWN[..2]);
    assert_eq!(explained["body"]["rule"], "noLiveSession");
    // The link has the host of the batch.
    let link = listed["body"]["@odata.nextLink"].as_str().unwrap();
    let (_, path) = link.split_once("/v1.0/").unwrap();
    assert_eq!(Page::of_json(&api.get(&format!("/v1.0/{path}")).await.body).shown, SHOWN[2..4]);
    assert!(link.starts_with(&api.server.graph()), "{link}");

    for url in [
        "/users/u/presence/export",
        "/beta/users/u/presence/export/",
        "/me/presence/export",
        "/communications/presences/u/export",
    ] {
        let response = batch(&[("GET", url)]).await;
        assert_eq!((response.status, response.targets()), (400, vec!["requests[0].url"]), "{url}");
        assert!(response.message().contains("must not be an export"), "{}", response.message());
    }
    // A user may have that name.
    let response =
        batch(&[("GET", "/communications/presences/export"), ("POST", "/users/u/presence/erase")]).await;
    let [read, erased] = [0, 1].map(|index| response.body["responses"][index]["body"].clone());
    assert_eq!((&read["id"], &erased["removedRows"]), (&json!("export"), &json!(3)), "{}", response.body);
}
