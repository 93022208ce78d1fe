//! Invalid requests: the error names each field and what is allowed, in the terms of the API.

use presenced::grpc::pb::{
    BatchGetPresencesRequest, ExplainPresenceRequest, GetPresenceRequest, WatchPresencesRequest,
};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{MINUTE, Query, at, get, grpc, list, page, set, start, text};
use crate::{
    graph::{JsonResponse, TestApi},
    support::{
        database::Engine,
        on_every_engine,
        server::{START, Server},
    },
};

on_every_engine![an_instant_before_the_history_is_refused];

const NOW: &str = "2026-11-22T02:50:00.000Z";
const LATER: &str = "2026-11-22T02:51:00.000Z";

/// The invalid fields, each with its message.
fn fields(status: &Status) -> Vec<(String, String)> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    let first = &violations[0].description;
    assert!(status.message().contains(first.as_str()), "{status:?}");
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

fn json_fields(response: &JsonResponse) -> Vec<(String, String)> {
    assert_eq!(response.status, 400, "{}", response.body);
    assert_eq!(response.body["error"]["code"], "InvalidArgument");
    let details = response.body["error"]["details"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    details.map(|detail| (text(&detail["target"]), text(&detail["message"]))).collect()
}

fn expect(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(field, message)| ((*field).to_owned(), format!("`{field}` {message}"))).collect()
}

async fn refused(api: &TestApi, query: &Query<'_>) -> [Vec<(String, String)>; 2] {
    let status = list(api, query).await.unwrap_err();
    [fields(&status), json_fields(&get(api, &query.path()).await)]
}

async fn explain(api: &TestApi, minute: i64) -> [Vec<(String, String)>; 2] {
    let request = ExplainPresenceRequest { user_id: "u".to_owned(), at: Some(at(minute)) };
    let status = grpc(api.server.addresses).explain_presence(request).await.unwrap_err();
    let path = format!("/v1.0/users/u/presence/explain?at={}", text(minute));
    [fields(&status), json_fields(&get(api, &path).await)]
}

#[tokio::test]
async fn times_in_the_future_and_ranges_that_end_before_they_begin_are_refused() {
    let api = start(Engine::Sqlite).await;
    let future = format!("must not be later than now ({NOW}), got {LATER}.");
    assert_eq!(explain(&api, 1).await, [(); 2].map(|()| expect(&[("at", &future)])));
    let query = Query { user: "u", from: Some(1), to: Some(1), ..Query::default() };
    let both = expect(&[("from", &future), ("to", &future)]);
    assert_eq!(refused(&api, &query).await, [both.clone(), both]);

    api.server.clock.advance(MINUTE);
    let query = Query { user: "u", from: Some(1), to: Some(0), ..Query::default() };
    let backwards = format!("must not be before `from` ({LATER}), got {NOW}.");
    assert_eq!(refused(&api, &query).await, [(); 2].map(|()| expect(&[("to", &backwards)])));
    let now = Query { user: "u", from: Some(1), to: Some(1), ..Query::default() };
    assert_eq!(page(&api, &now).await.shown, [""; 0], "now is not in the future");
}

#[tokio::test]
async fn page_sizes_out_of_range_are_refused() {
    let api = start(Engine::Sqlite).await;
    for size in [-1, 1_001, i32::MIN, i32::MAX] {
        let problem = format!("must be a whole number between 1 and 1000, got {size}.");
        let [grpc, http] = refused(&api, &Query { user: "u", size, ..Query::default() }).await;
        assert_eq!(grpc, expect(&[("page_size", &problem)]));
        let quoted =
            problem.replace("got -1.", "got \"-1\".").replace("got -2147483648", "got \"-2147483648\"");
        assert_eq!(http, expect(&[("$top", &quoted)]));
    }
    for size in [0, 1, 1_000] {
        page(&api, &Query { user: "u", size, ..Query::default() }).await;
    }
    // In a query option 0 is no default.
    let response = get(&api, "/v1.0/users/u/presence/history?$top=0").await;
    assert_eq!(
        json_fields(&response),
        expect(&[("$top", "must be a whole number between 1 and 1000, got 0.")])
    );
    let response = get(&api, "/v1.0/users/u/presence/history?$top=ten").await;
    let problem = "must be a whole number between 1 and 1000, got \"ten\".";
    assert_eq!(json_fields(&response), expect(&[("$top", problem)]));
}

#[tokio::test]
async fn a_token_is_valid_for_an_equal_query_only() {
    let api = start(Engine::Sqlite).await;
    for user in ["u", "v"] {
        set(&api.server, user, "desk", "Available/Available", "PT5M").await;
    }
    api.server.clock.advance(10 * MINUTE);
    let query = Query { user: "u", size: 1, ..Query::default() };
    let token = page(&api, &query).await.token;
    assert_ne!(token, "");
    let next = Query { token: token.clone(), size: 2, ..query.clone() };
    assert_eq!(
        page(&api, &next).await.shown,
        ["Available/Available 0..5", "Offline/Offline ..0"],
        "another size"
    );
    let shifted = token.replacen(|letter: char| letter.is_ascii_hexdigit(), "7", 1);
    let changed = |token: &str| Query { token: token.to_owned(), ..query.clone() };
    for wrong in [
        Query { user: "v", ..changed(&token) },
        Query { from: Some(0), ..changed(&token) },
        Query { to: Some(10), ..changed(&token) },
        Query { parts: &["session"], ..changed(&token) },
        changed("garbage"),
        changed("-"),
        changed("é\u{1F600}-\"'"),
        changed(&token.to_uppercase()),
        changed(&format!("{token}0")),
        changed(&format!("+{token}")),
        changed(&shifted),
    ] {
        if wrong.token == token
            && wrong.user == "u"
            && wrong.parts.is_empty()
            && wrong.from.is_none()
            && wrong.to.is_none()
        {
            continue;
        }
        let [grpc, http] = refused(&api, &wrong).await;
        let problem = "must be the `next_page_token` of a response to an equal request; leave it out for the first page.";
        assert_eq!(grpc, expect(&[("page_token", problem)]), "{wrong:?}");
        let problem = "must be from the `@odata.nextLink` of a response to an equal request; leave it out for the first page.";
        assert_eq!(http, expect(&[("$skiptoken", problem)]), "{wrong:?}");
    }
}

#[tokio::test]
async fn unknown_parts_are_refused() {
    let api = start(Engine::Sqlite).await;
    for number in [0, 99, -1] {
        let mut message = Query { user: "u", ..Query::default() }.message();
        message.parts = vec![1, number];
        let status = grpc(api.server.addresses).list_presence_history(message).await.unwrap_err();
        let problem = format!(
            "must have values among HISTORY_PART_SESSION, HISTORY_PART_PREFERENCE, HISTORY_PART_MESSAGE, \
             HISTORY_PART_LOCATIONS, got {number}."
        );
        assert_eq!(fields(&status), expect(&[("parts", &problem)]));
    }
    let parts = "must be names among session, preference, message, locations, separated by commas, got ";
    for (option, received) in
        [("session,calendar", "calendar"), ("sessions", "sessions"), ("session;message", "session;message")]
    {
        let response = get(&api, &format!("/v1.0/users/u/presence/history?parts={option}")).await;
        assert_eq!(json_fields(&response), expect(&[("parts", &format!("{parts}\"{received}\"."))]));
    }
    // An empty option is a missing one, as for the others.
    for options in [
        "parts=",
        "parts=session,",
        "from=&to=&$top=&$skiptoken=",
        "parts=session,%20message",
        "parts=Session",
    ] {
        let response = get(&api, &format!("/v1.0/users/u/presence/history?{options}")).await;
        assert_eq!(response.status, 200, "{options}: {}", response.body);
    }
    let response = get(&api, "/v1.0/users/u/presence/history?$filter=x").await;
    let supported = "is not supported by this operation. Supported: from, to, parts, $top, $skiptoken";
    assert!(response.message().contains(supported), "{}", response.body);
}

#[tokio::test]
async fn unreadable_times_are_refused() {
    let api = start(Engine::Sqlite).await;
    let rule = "must be a date and time with an offset, such as 2026-11-22T17:30:00Z, got ";
    for unreadable in ["yesterday", "2026-11-22", "2026-11-22T02:50:00", "2026-13-22T02:50:00Z", "1795315800"]
    {
        let response = get(&api, &format!("/v1.0/users/u/presence/explain?at={unreadable}")).await;
        assert_eq!(json_fields(&response), expect(&[("at", &format!("{rule}\"{unreadable}\"."))]));
        let path = format!("/v1.0/users/u/presence/history?from={unreadable}&to={unreadable}");
        let problem = format!("{rule}\"{unreadable}\".");
        assert_eq!(json_fields(&get(&api, &path).await), expect(&[("from", &problem), ("to", &problem)]));
    }
    for readable in
        ["2026-11-22T03:50:00%2B01:00", "2026-11-22T03:50:00+01:00", "2026-11-21T18:50:00.000-08:00"]
    {
        let response = get(&api, &format!("/v1.0/users/u/presence/explain?at={readable}")).await;
        assert_eq!(response.body["readDateTime"], "2026-11-22T02:50:00.0000000Z", "{}", response.body);
    }
    for (seconds, nanos) in [(i64::MIN, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000)] {
        let unreadable = Some(prost_types::Timestamp { seconds, nanos });
        let request = ExplainPresenceRequest { user_id: "u".to_owned(), at: unreadable };
        let status = grpc(api.server.addresses).explain_presence(request).await.unwrap_err();
        let problem =
            format!("must be a Timestamp before year 10000, got {seconds} seconds and {nanos} nanos.");
        assert_eq!(fields(&status), expect(&[("at", &problem)]));
    }
}

#[tokio::test]
async fn one_error_names_all_invalid_fields() {
    let api = start(Engine::Sqlite).await;
    let query =
        Query { user: "a b", from: Some(1), to: Some(2), size: 1_001, token: "x".to_owned(), parts: &[] };
    let [grpc, http] = refused(&api, &query)
        .await
        .map(|fields| fields.into_iter().map(|(field, _)| field).collect::<Vec<_>>());
    assert_eq!(grpc, ["user_id", "from", "to", "page_size"]);
    assert_eq!(http, ["id", "from", "to", "$top"]);
}

#[tokio::test]
async fn an_unknown_view_is_refused() {
    let api = start(Engine::Sqlite).await;
    let mut grpc = grpc(api.server.addresses);
    let expected = expect(&[("view", "must be PRESENCE_VIEW_BASIC or PRESENCE_VIEW_FULL, got 99.")]);
    let (user_id, view) = ("u".to_owned(), 99);
    let status = grpc.get_presence(GetPresenceRequest { user_id: user_id.clone(), view }).await.unwrap_err();
    assert_eq!(fields(&status), expected);
    let user_ids = vec![user_id];
    let many = BatchGetPresencesRequest { user_ids: user_ids.clone(), view };
    assert_eq!(fields(&grpc.batch_get_presences(many).await.unwrap_err()), expected);
    let status = grpc
        .watch_presences(WatchPresencesRequest { user_ids, view, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(fields(&status), expected);
}

/// Moves the start of the history, as the cleanup does.
pub(super) async fn remove_history(server: &Server, minutes: i64) {
    // The service's own first cleanup may have stored a start already.
    let sql = "insert into presence_leases (name, owner, taken_at, until) values ('history', $1, $2, $2)
        on conflict (name) do update set until = excluded.until";
    let (url, until) = (&server.database.url, START.as_millis() + minutes * 60_000);
    let owner = uuid::Uuid::nil();
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        sqlx::query(sql).bind(owner.to_string()).bind(until).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query(sql).bind(owner).bind(until).execute(&mut connection).await.unwrap();
    }
}

async fn an_instant_before_the_history_is_refused(engine: Engine) {
    let api = start(engine).await;
    set(&api.server, "u", "desk", "Available/Available", "PT1H").await;
    api.server.clock.advance(20 * MINUTE);
    remove_history(&api.server, 7).await;
    let problem = "must not be before the start of the history (2026-11-22T02:57:00.000Z), got \
                   2026-11-22T02:56:00.000Z.";
    assert_eq!(explain(&api, 6).await, [(); 2].map(|()| expect(&[("at", problem)])));
    let first = get(&api, &format!("/v1.0/users/u/presence/explain?at={}", text(7))).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let shown = format!("It was shown from before the history until {}.", "2026-11-22T03:00:00.000Z");
    assert!(first.body["explanation"].as_str().unwrap().ends_with(&shown), "{}", first.body);
    assert_eq!(first.body["presence"]["historyStartDateTime"], "2026-11-22T02:57:00.0000000Z");

    // A range may begin before the history, which says where it starts.
    let all = page(&api, &Query { user: "u", ..Query::default() }).await;
    assert_eq!(all.shown, ["Away/Away 10..", "Available/AvailableInactive ..10"]);
    assert_eq!(all.start, "7");
    let ranges = [(Some(0), None), (None, Some(15)), (Some(7), Some(8)), (Some(3), Some(7)), (None, Some(5))];
    let shown = async |(from, to)| {
        let page = page(&api, &Query { user: "u", from, to, ..Query::default() }).await;
        assert_eq!(page.start, "7", "{from:?} {to:?}");
        page.shown
    };
    assert_eq!(shown(ranges[0]).await, all.shown);
    assert_eq!(shown(ranges[1]).await, ["Away/Away 10..15", "Available/AvailableInactive ..10"]);
    assert_eq!(shown(ranges[2]).await, ["Available/AvailableInactive ..8"]);
    assert_eq!(shown(ranges[3]).await, [""; 0], "nothing is known of the time before the history");
    assert_eq!(shown(ranges[4]).await, [""; 0]);
}
