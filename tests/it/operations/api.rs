//! The table of the operations of both APIs, made from the proto, the OpenAPI document and the table of
//! permissions. What the code does not say is in [`ROWS`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use presenced::{
    graph::document,
    grpc::pb::DESCRIPTORS,
    presence::{
        BATCH_ITEMS_MAX, INTERVALS_MAX, REQUESTS_MAX, USER_IDS_MAX, USERS_READ_AT_ONCE,
        USERS_READ_PER_PRESENCE, WATCHED_MAX,
    },
    service::{Operation, Permission},
};
use prost::Message;
use prost_types::FileDescriptorSet;
use strum::VariantArray as _;

use crate::{
    auth::call::{Caller, Request, all},
    support::{
        client::{Api, Client, Outcome},
        database::Engine,
        golden::is_golden,
        metrics::scrape,
        server::Server,
    },
};

const PAGE: &str = "# Operations of both APIs

Which operations are there, which permission does each require, how much does one call take, what does it
cost, and where is it documented? A test generates this page.

In HTTP paths, `…` stands for `/users/{id}/presence`, `/me/presence` and `/communications/presences/{id}`.
All paths are below `/v1.0` and `/beta`. Any one of the permissions in a cell is sufficient; their names begin
with `Presence.`, and [Authentication](authentication.md#permissions) explains them. The [limits of
values](presence.md#limits) are the same in both APIs.

A statement is named as in the label `statement` of the [metrics](metrics.md). `set_sessions`,
`clear_sessions`, `extend_sessions`, `load` and `load_history` serve all calls that wait, so under load a call
costs a part of one. The others serve one call each.

";

/// What the code does not say of an operation.
struct Row {
    /// The name of the RPC, or of the HTTP operation if there is none.
    name: &'static str,
    /// What one call takes at most.
    takes: fn() -> String,
    /// The statements of a plain call, which are measured; none of a stream.
    statements: &'static [&'static str],
    /// What other calls cost.
    more: fn() -> String,
    /// The page that documents it.
    page: &'static str,
}

const fn row(name: &'static str, statements: &'static [&'static str], page: &'static str) -> Row {
    Row { name, takes: || "1 user".to_owned(), statements, more: String::new, page }
}

const fn of_session(name: &'static str, statements: &'static [&'static str], page: &'static str) -> Row {
    Row { takes: || "1 session".to_owned(), ..row(name, statements, page) }
}

const fn of_subscription(name: &'static str, statements: &'static [&'static str]) -> Row {
    Row { takes: || "1 subscription".to_owned(), ..row(name, statements, NOTIFICATIONS) }
}

const NOTIFICATIONS: &str = "[Change notifications](notifications.md)";
const SESSIONS: &str = "[Sessions](sessions.md#set-refresh-and-clear)";
const SETTINGS: &str = "[Presence](presence.md#set-by-the-user)";
const HISTORY: &str = "[History](history.md)";
const PRIVACY: &str = "[History](history.md#privacy)";
const HOLDING: &str = "[Holding a session](holding.md)";
const LISTS: &str = "[Lists and counts](lists.md)";

/// The rows, in the order of the page.
const ROWS: [Row; 32] = [
    of_session("SetPresence", &["set_sessions"], SESSIONS),
    of_session("ClearPresence", &["clear_sessions"], SESSIONS),
    Row { takes: sessions, ..row("BatchSetPresences", &["set_sessions"], SESSIONS) },
    Row { takes: sessions, ..row("BatchClearPresences", &["clear_sessions"], SESSIONS) },
    Row { more: extensions, ..of_session("HoldPresence", &[], HOLDING) },
    Row { more: extensions, ..of_session("KeepPresence", &[], HOLDING) },
    Row { more: times, ..row("GetPresence", &["load"], "[Presence](presence.md)") },
    Row { takes: users, more: times, ..row("BatchGetPresences", &["load"], "[Presence](presence.md)") },
    Row {
        takes: || format!("a page of 1 to {USER_IDS_MAX} users"),
        more: || {
            format!(
                "with a filter both for every {USERS_READ_AT_ONCE} users that it reads, which are at most \
                 {USERS_READ_PER_PRESENCE} for each presence that fits on the page"
            )
        },
        ..row("ListPresences", &["list_users", "load"], LISTS)
    },
    Row {
        takes: || "all users".to_owned(),
        more: || {
            format!(
                "with a filter `list_users` and `load` for every {USERS_READ_AT_ONCE} users with a live session, for \
                 20 s at most"
            )
        },
        ..row("CountPresences", &["count_users"], LISTS)
    },
    Row {
        takes: || format!("1 to {} users; over HTTP {USER_IDS_MAX}; or everybody", thousands(WATCHED_MAX)),
        more: || {
            format!("`load` for every {USERS_READ_AT_ONCE} users at the start, then for those that change")
        },
        ..row("WatchPresences", &[], "[Following presences](watching.md)")
    },
    Row {
        takes: users,
        more: || "`load` for the users of the body at the start, then for those that change".to_owned(),
        ..row("watch_presences_by_body", &[], "[Following presences](watching.md)")
    },
    Row {
        takes: || format!("1 to {USER_IDS_MAX} users, or everybody"),
        more: || "another `load` for those that change".to_owned(),
        ..row("WaitForPresence", &["load"], "[Waiting for one user](watching.md#waiting-for-one-user)")
    },
    Row {
        takes: || format!("1 to {USER_IDS_MAX} users, or everybody"),
        more: || "`create_subscription`; `load` as a stream of WatchPresences".to_owned(),
        ..row("CreateSubscription", &[], NOTIFICATIONS)
    },
    Row { more: || "`subscription`".to_owned(), ..of_subscription("GetSubscription", &[]) },
    Row {
        takes: || "a page of 1 to 100 subscriptions".to_owned(),
        ..row("ListSubscriptions", &["subscriptions"], NOTIFICATIONS)
    },
    Row {
        more: || "`subscription`, `update_subscription`".to_owned(),
        ..of_subscription("UpdateSubscription", &[])
    },
    Row {
        more: || "`subscription`, `update_subscription`".to_owned(),
        ..of_subscription("reauthorize_subscription", &[])
    },
    Row {
        more: || "`subscription`, `delete_subscription`".to_owned(),
        ..of_subscription("DeleteSubscription", &[])
    },
    row("SetUserPreferredPresence", &["update_user"], SETTINGS),
    row("ClearUserPreferredPresence", &["update_user"], SETTINGS),
    Row {
        more: || "with an empty text it requires the permission of ClearUserPreferredPresence".to_owned(),
        ..row("SetStatusMessage", &["update_user"], SETTINGS)
    },
    row("SetManualLocation", &["update_user"], SETTINGS),
    row("SetAutomaticLocation", &["update_user"], SETTINGS),
    row("ClearAutomaticLocation", &["update_user"], SETTINGS),
    row("ClearLocation", &["update_user"], SETTINGS),
    Row {
        more: || "more for a long history".to_owned(),
        ..row("ExplainPresence", &["load_history"], HISTORY)
    },
    Row {
        takes: || format!("a page of 1 to {} intervals", thousands(INTERVALS_MAX)),
        more: || "more for a long history".to_owned(),
        ..row("ListPresenceHistory", &["load_history"], HISTORY)
    },
    row("ExportPresence", &["export_user"], PRIVACY),
    Row { takes: || "the caller".to_owned(), ..row("get_me", &[], "[Graph's API](graph.md#operations)") },
    Row {
        more: || "`erase_author` once for every 5,000 rows of users of the tenant".to_owned(),
        ..row("ErasePresence", &["erase_author", "erase_user"], PRIVACY)
    },
    Row {
        takes: || format!("1 to {BATCH_ITEMS_MAX} requests"),
        more: || "those of its requests, five of which run at a time".to_owned(),
        ..row("batch", &[], "[Graph's API](graph.md#operations)")
    },
];

fn users() -> String {
    format!("1 to {USER_IDS_MAX} users")
}

fn sessions() -> String {
    format!("1 to {} sessions", thousands(REQUESTS_MAX))
}

fn times() -> String {
    "with the times from the history `load_history` in its place".to_owned()
}

fn extensions() -> String {
    "`set_sessions`, then `extend_sessions` every half of the grace".to_owned()
}

fn thousands(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

/// The names of the RPCs.
fn rpcs() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let services =
        files.into_iter().filter(|file| file.package() == "presence.v1").flat_map(|file| file.service);
    services.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect()
}

/// The method and path of each HTTP operation, by the name of its RPC or its own name.
fn http(rpcs: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let document = serde_json::to_value(document()).unwrap();
    let mut operations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let name = id.trim_end_matches("_of_me").trim_end_matches("_by_id");
            let rpc = rpcs.iter().find(|rpc| snake(rpc) == name).cloned().unwrap_or_else(|| name.to_owned());
            let families = ["/users/{id}/presence", "/me/presence", "/communications/presences/{id}"];
            let below = families.iter().find_map(|family| path.strip_prefix(family));
            let path = below.map_or_else(|| path.clone(), |below| format!("…{below}"));
            operations.entry(rpc).or_default().insert(format!("`{} {path}`", method.to_uppercase()));
        }
    }
    operations
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The permissions of an application, of a user on the own presence, and on others'.
fn permissions(name: &str) -> [String; 3] {
    let name = match name {
        "watch_presences_by_body" => "WatchPresences",
        "reauthorize_subscription" => "UpdateSubscription",
        name => name,
    };
    let Some(operation) = Operation::VARIANTS.iter().find(|operation| format!("{operation:?}") == name)
    else {
        let texts = match name {
            "batch" => ["as each request"; 3],
            "get_me" => ["never", "any", "never"],
            _ => ["none"; 3],
        };
        return texts.map(ToOwned::to_owned);
    };
    operation.permissions().map(|permissions| {
        let short =
            |permission: &Permission| format!("`{}`", permission.as_str().trim_start_matches("Presence."));
        let names: Vec<_> = permissions.iter().map(short).collect();
        if names.is_empty() { "never".to_owned() } else { names.join(", ") }
    })
}

#[test]
fn the_operations_are_what_is_kept_in_docs() {
    let rpcs = rpcs();
    let http = http(&rpcs);
    let rows: BTreeSet<_> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    let all: BTreeSet<_> = rpcs.iter().chain(http.keys()).cloned().collect();
    assert_eq!(rows, all, "each operation has a row in ROWS");
    let guarded: BTreeSet<_> = Operation::VARIANTS.iter().map(|operation| format!("{operation:?}")).collect();
    // It is SetStatusMessage with an empty text.
    let unnamed: Vec<_> = guarded.difference(&rows).collect();
    assert_eq!(unnamed, ["ClearStatusMessage"], "each permission is that of an operation");
    let mut page = PAGE.to_owned();
    page += "| gRPC | HTTP | application | user, own presence | user, others' | a call takes | statements | documented in |\n";
    page += "|---|---|---|---|---|---|---|---|\n";
    for Row { name, takes, statements, more, page: documented } in &ROWS {
        let rpc = if rpcs.contains(*name) { format!("`{name}`") } else { "none".to_owned() };
        let paths = http.get(*name).map(|paths| paths.iter().cloned().collect::<Vec<_>>().join(", "));
        let paths = paths.unwrap_or_else(|| "none".to_owned());
        let cost = statements.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let cost = [cost, more()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        let permissions = permissions(name).join(" | ");
        writeln!(page, "| {rpc} | {paths} | {permissions} | {} | {cost} | {documented} |", takes()).unwrap();
    }
    is_golden("docs/api.md", &page);
}

/// The number of statements that have run, by name.
async fn statements(server: &Server) -> BTreeMap<String, u32> {
    let text = scrape(server.addresses.admin).await;
    let counts =
        text.lines().filter_map(|line| line.strip_prefix("presence_batch_members_count{statement=\""));
    counts
        .filter_map(|rest| rest.split_once("\"} "))
        .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn each_call_runs_the_documented_statements_and_no_others() {
    let server = Server::start(Engine::Sqlite).await;
    let caller = Caller::new(server.addresses);
    // A list of no users reads none.
    let client = Client::new(Api::Grpc, server.addresses.grpc, server.addresses.http);
    assert_eq!(client.set("other", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    let mut measured = 0;
    let calls = all("u", "app").into_iter().filter(|call| matches!(call.request, Request::Grpc(_)));
    // A stream costs statements for as long as it lasts.
    for call in calls.filter(|call| call.name != "WatchPresences") {
        let row = ROWS.iter().find(|row| row.name == call.name).expect(call.name);
        let before = statements(&server).await;
        assert_eq!(caller.call(&call, None).await.code, 0, "{}", call.name);
        let mut after = statements(&server).await;
        after.retain(|name, count| before.get(name) != Some(count));
        let ran: Vec<_> = after.keys().map(String::as_str).collect();
        assert_eq!(ran, row.statements, "{}", call.name);
        measured += 1;
    }
    assert!(measured >= 20, "{measured}");
    server.stop().await;
}
