//! `ErasePresence` and `ExportPresence`.

use std::{collections::BTreeMap, fs};

use presenced::grpc::pb::{ErasePresenceRequest, ExportPresenceRequest};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::{MINUTE, client, grpc, page, set, start};
use crate::{
    auth::Guarded,
    graph::TestApi,
    hold::{GRACE, Holder},
    support::{
        client::Outcome::{Done, Presences},
        database::{Engine, TestDatabase},
        on_every_engine,
        tokens::{APP, OTHER_TENANT, TENANT, with},
    },
    watch::Watcher,
};

on_every_engine![
    an_erased_user_is_in_no_table_and_no_file,
    an_erased_user_is_not_the_author_of_others,
    erasing_ends_a_hold_and_tells_watchers,
    erasing_an_unknown_user_succeeds,
    an_export_has_a_line_for_each_row,
];

const ERASED: &str = "erased.zq7w3k@example.com";
const TABLES: [&str; 6] = [
    "presence_sessions",
    "presence_users",
    "presence_history",
    "presence_leases",
    "presence_subscriptions",
    "presence_signing_keys",
];

async fn erase(api: &TestApi, user: &str) -> i64 {
    let request = ErasePresenceRequest { user_id: user.to_owned() };
    grpc(api.server.addresses).erase_presence(request).await.unwrap().into_inner().removed_rows
}

/// The lines of an export, through both APIs.
async fn export(api: &TestApi, user: &str) -> Vec<Value> {
    let request = ExportPresenceRequest { user_id: user.to_owned() };
    let mut stream = grpc(api.server.addresses).export_presence(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        lines.push(response.line);
    }
    let path = format!("{}/v1.0/users/{user}/presence/export", api.server.graph());
    let response = api.http.get(path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    assert!(text.is_empty() || text.ends_with('\n'), "each line ends with a line feed");
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of lines of each table.
fn count(lines: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line["table"].as_str().unwrap()).or_default() += 1;
    }
    counts
}

/// The places that contain this text: rows of any table, or files of the database.
async fn places(database: &TestDatabase, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(file) = database.url.strip_prefix("sqlite://") {
        for suffix in ["", "-wal", "-shm"] {
            let path = format!("{file}{suffix}");
            let bytes = fs::read(&path).unwrap();
            let number = bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
            if number > 0 {
                found.push(format!("{number} times in the file {suffix:?}"));
            }
        }
        return found;
    }
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for table in TABLES {
        let sql = format!("select row_to_json(t)::text from {table} t where row_to_json(t)::text like $1");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(format!("%{text}%"))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        found.extend(rows);
    }
    found
}

async fn an_erased_user_is_in_no_table_and_no_file(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    // The rows of others lie between those of the user, so pages are split and merged.
    let mut random = fastrand::Rng::with_seed(7);
    let mut numbers: Vec<u32> = (0..600).collect();
    random.shuffle(&mut numbers);
    for (round, number) in numbers.iter().enumerate() {
        let pair = ["Busy/InACall", "Away/Away", "Available/Available"][round % 3];
        set(server, ERASED, &format!("session-{}", number % 40), pair, "PT1H").await;
        let neighbour = format!("erased.{number:03}@example.com");
        set(server, &neighbour, &format!("session-{}", number % 3), pair, "PT1H").await;
        if round % 10 == 0 {
            assert_eq!(client.say(ERASED, &format!("Message {number}"), "").await, Done);
            assert_eq!(client.prefer(ERASED, ["Away/Away", "Busy/Busy"][round / 10 % 2], "PT1H").await, Done);
            assert_eq!(client.locate(ERASED, &format!("Office@{ERASED}-{number}"), true).await, Done);
            server.clock.advance(MINUTE);
        }
    }
    assert!(!places(&server.database, ERASED).await.is_empty(), "the search can find something");
    let exported = export(&api, ERASED).await;
    assert!(exported.len() > 300, "{}", exported.len());
    let others = export(&api, "erased.077@example.com").await;

    assert_eq!(erase(&api, ERASED).await, i64::try_from(exported.len()).unwrap());
    let none: [String; 0] = [];
    assert_eq!(places(&server.database, ERASED).await, none);
    assert_eq!(places(&server.database, "Message 1").await, none);
    assert_eq!(export(&api, ERASED).await, [] as [Value; 0]);
    assert_eq!(client.get(ERASED).await, Presences(vec![format!("{ERASED} Offline/Offline")]));
    let shown = page(&api, &super::Query { user: ERASED, ..Default::default() }).await.shown;
    assert_eq!(shown, ["Offline/Offline .."]);
    assert_eq!(export(&api, "erased.077@example.com").await, others, "others keep everything");
}

/// The claims of an application that acts for a user.
fn acting_for(tenant: &str, user: &str) -> Value {
    with(
        &json!({ "tid": tenant, "oid": user, "scp": "Presence.ReadWrite Presence.Read.All Presence.Manage.All" }),
    )
}

async fn an_erased_user_is_not_the_author_of_others(engine: Engine) {
    let guarded = Guarded::start(engine, &[]).await;
    let server = &guarded.server;
    let http = reqwest::Client::new();
    let post = async |claims: &Value, user: &str, action: &str, body: Value| {
        let url = format!("{}/v1.0/users/{user}/presence/{action}", server.graph());
        let request = http.post(url).bearer_auth(guarded.signer.sign(claims)).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{action}");
        response.text().await.unwrap()
    };
    let [erased, other] = [ERASED, "other@example.com"].map(|user| acting_for(TENANT, user));
    let elsewhere = acting_for(OTHER_TENANT, ERASED);
    let busy = json!({ "sessionId": APP, "availability": "Busy", "activity": "InACall", "expirationDuration": "PT1H" });
    let away =
        json!({ "sessionId": APP, "availability": "Away", "activity": "Away", "expirationDuration": "PT1H" });
    let say = |text: &str| json!({ "statusMessage": { "message": { "content": text } } });
    for (claims, user) in [(&erased, ERASED), (&other, "other@example.com"), (&elsewhere, ERASED)] {
        post(claims, user, "setPresence", busy.clone()).await;
        server.clock.advance(MINUTE);
        post(claims, user, "setPresence", away.clone()).await;
        post(claims, user, "setStatusMessage", say("One")).await;
        post(claims, user, "setManualLocation", json!({ "workLocationType": "office" })).await;
        let prefer = json!({ "availability": "Busy", "activity": "Busy" });
        post(claims, user, "setUserPreferredPresence", prefer).await;
        post(claims, user, "setUserPreferredPresence", json!({ "availability": "Away", "activity": "Away" }))
            .await;
    }
    // As an administrator the user clears what the other one set.
    server.clock.advance(MINUTE);
    post(&erased, "other@example.com", "clearPresence", json!({ "sessionId": APP })).await;
    post(&erased, "other@example.com", "clearUserPreferredPresence", Value::Null).await;
    post(&erased, "other@example.com", "setStatusMessage", say("")).await;
    let history = async |claims: &Value, user: &str| {
        let parts = "session,preference,message,locations";
        let url = format!("{}/v1.0/users/{user}/presence/history?parts={parts}", server.graph());
        let request = http.get(url).bearer_auth(guarded.signer.sign(claims));
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let before = history(&other, "other@example.com").await.to_string();
    assert!(before.contains(&format!("\"endedByUser\":\"{ERASED}\"")), "{before}");
    let kept = history(&elsewhere, ERASED).await;

    post(&other, ERASED, "erase", Value::Null).await;
    let after = history(&other, "other@example.com").await.to_string();
    assert_eq!(
        after,
        before.replace(&format!(",\"endedByUser\":\"{ERASED}\""), ""),
        "only the name is removed"
    );
    assert_eq!(history(&elsewhere, ERASED).await, kept, "the other tenant keeps everything");
    assert!(kept.to_string().contains(&format!("\"setByUser\":\"{ERASED}\"")), "{kept}");
    if engine == Engine::Postgres {
        let found = places(&server.database, ERASED).await;
        assert!(found.iter().all(|row| row.contains(OTHER_TENANT)), "{found:#?}");
    }
    post(&elsewhere, ERASED, "erase", Value::Null).await;
    let none: [String; 0] = [];
    assert_eq!(places(&server.database, ERASED).await, none);
}

async fn erasing_ends_a_hold_and_tells_watchers(engine: Engine) {
    let api = start(engine).await;
    let server = &api.server;
    set(server, "v", "desk", "Busy/InACall", "PT1H").await;
    let mut holder = Holder::open(server.addresses, "Busy/InACall").await;
    holder.next().await;
    let mut watcher = Watcher::of(server.addresses, &["u", "v"], &["u Busy/InACall", "v Busy/InACall"]).await;
    assert!(erase(&api, "u").await > 0);
    assert_eq!(watcher.next().await, "u Offline/Offline");
    server.clock.advance(GRACE / 2);
    let status = holder.end().await;
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_SESSION_TAKEN");
    assert_eq!(export(&api, "u").await, [] as [Value; 0], "the hold leaves no row");
    assert_eq!(client(server).get("v").await, Presences(vec!["v Busy/InACall".to_owned()]));
    // The user can come back.
    set(server, "u", "app", "Away/Away", "PT1H").await;
    assert_eq!(watcher.next().await, "u Away/Away");
}

async fn erasing_an_unknown_user_succeeds(engine: Engine) {
    let api = start(engine).await;
    assert_eq!(erase(&api, "nobody").await, 0);
    let erased = api.post("/v1.0/users/nobody/presence/erase", "").await;
    assert_eq!((erased.status, &erased.body), (200, &json!({ "removedRows": 0 })));
    set(&api.server, "u", "desk", "Busy/InACall", "PT1H").await;
    let erased = api.post("/v1.0/communications/presences/u/erase", "").await;
    assert_eq!((erased.status, &erased.body), (200, &json!({ "removedRows": 1 })));
    let invalid = Request::new(ErasePresenceRequest { user_id: "a b".to_owned() });
    let status = grpc(api.server.addresses).erase_presence(invalid).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let invalid = Request::new(ExportPresenceRequest::default());
    let status = grpc(api.server.addresses).export_presence(invalid).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

async fn an_export_has_a_line_for_each_row(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    assert_eq!(export(&api, "u").await, [] as [Value; 0]);
    set(server, "u", "desk", "Busy/InACall", "PT1H").await;
    set(server, "u", "phone", "Away/Away", "PT1H").await;
    set(server, "v", "phone", "Away/Away", "PT1H").await;
    assert_eq!(client.say("u", "Say \"hi\"\n\u{2028}", "").await, Done);
    server.clock.advance(MINUTE);
    set(server, "u", "desk", "Away/Away", "PT1H").await;
    let lines = export(&api, "u").await;
    let expected = [("presence_history", 1), ("presence_sessions", 2), ("presence_users", 1)];
    assert_eq!(count(&lines), BTreeMap::from(expected));
    assert!(lines.iter().all(|line| line["user_id"] == "u"), "{lines:#?}");
    let of = |table: &str| lines.iter().filter(|line| line["table"] == table).cloned().collect::<Vec<_>>();
    assert_eq!(of("presence_users")[0]["status_content"], "Say \"hi\"\n\u{2028}");
    let desk = of("presence_sessions").into_iter().find(|line| line["session_id"] == "desk").unwrap();
    assert_eq!((&desk["availability"], &desk["set_by_user"]), (&json!("Away"), &Value::Null));
    assert_eq!(desk["set_at"], crate::support::server::START.as_millis() + 60_000);

    assert_eq!(erase(&api, "u").await, 4);
    assert_eq!(export(&api, "u").await, [] as [Value; 0]);
    assert_eq!(count(&export(&api, "v").await), BTreeMap::from([("presence_sessions", 1)]));
}

#[tokio::test]
async fn remains_that_sqlite_left_in_its_file_are_removed() {
    let api = start(Engine::Sqlite).await;
    set(&api.server, ERASED, "desk", "Busy/InACall", "PT1H").await;
    set(&api.server, "u", "desk", "Busy/InACall", "PT1H").await;
    // When SQLite moves rows between pages, a copy can stay in the old page, as after these deletes.
    let mut connection = SqliteConnection::connect(&api.server.database.url).await.unwrap();
    let remains = format!(
        "pragma secure_delete = off; create table other (t text); \
         insert into other values ('a'), ('{ERASED}'), ('{ERASED}'); delete from other where t <> 'a'; \
         pragma wal_checkpoint(truncate)"
    );
    connection.execute(AssertSqlSafe(remains)).await.unwrap();
    assert_ne!(places(&api.server.database, ERASED).await.len(), 0);
    assert_eq!(erase(&api, ERASED).await, 1);
    let none: [String; 0] = [];
    assert_eq!(places(&api.server.database, ERASED).await, none);
    assert_eq!(client(&api.server).get("u").await, Presences(vec!["u Busy/InACall".to_owned()]));
    set(&api.server, "u", "desk", "Away/Away", "PT1H").await;
    assert_eq!(client(&api.server).get("u").await, Presences(vec!["u Away/Away".to_owned()]));
}
