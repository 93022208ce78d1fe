//! `presenced bench` against a server of its own kind.

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpListener},
};

use serde_json::Value;

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    process::{Process, command},
};

/// As short as makes sense, unless the test says otherwise.
const SHORT: [[&str; 2]; 5] = [
    ["--users", "1000"],
    ["--warmup", "0s"],
    ["--duration", "300ms"],
    ["--connections", "2"],
    ["--streams", "4"],
];

async fn bench(target: SocketAddr, arguments: &[&str]) -> (Option<i32>, String, String) {
    let target = target.to_string();
    let short = SHORT.iter().filter(|[flag, _]| !arguments.contains(flag)).flatten();
    let mut command = tokio::process::Command::from(command());
    let output = command.args(["bench", &target]).args(short).args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn report(target: SocketAddr, arguments: &[&str]) -> Value {
    let (code, out, err) = bench(target, &[arguments, &["--json"]].concat()).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn every_operation_is_called_and_counted_through_both_apis() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    let all = ["set", "get", "clear", "batch-set", "batch-get", "mix"];
    for (api, address, done, operations) in [
        ("grpc", server.grpc, "Ok", [&all[..], &["health"]].concat()),
        ("http", server.http, "200", all.to_vec()),
        ("http2", server.http, "200", all.to_vec()),
    ] {
        for operation in operations {
            let report = report(address, &["--api", api, "--operation", operation]).await;
            let calls = report["codes"][done].as_u64().unwrap();
            assert!(calls > 0 && report["calls_per_second"].as_f64().unwrap() > 0.0, "{report}");
            let each =
                report["members_per_second"].as_f64().unwrap() / report["calls_per_second"].as_f64().unwrap();
            let wanted = match (operation, api) {
                ("batch-set", "grpc") => 500.0,
                ("batch-set", _) => 20.0,
                ("batch-get", _) => 650.0,
                _ => 1.0,
            };
            assert!((each - wanted).abs() < 1e-6, "{report}");
            assert_eq!(report["errors"], 0, "{report}");
            let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
            assert!(
                0.0 < latency("min") && latency("min") <= latency("p50") && latency("p50") <= latency("max")
            );
        }
    }
}

#[tokio::test]
async fn all_users_are_loaded_and_calls_do_what_they_say() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    let client = Client::new(Api::Grpc, server.grpc, server.http);
    let presence = async |user: &str| client.get(user).await;
    for (api, address) in [("grpc", server.grpc), ("http", server.http), ("http2", server.http)] {
        report(address, &["--api", api, "--operation", "get", "--load", "--session-id", api]).await;
        for user in ["bench-0", "bench-517", "bench-999"] {
            assert_eq!(presence(user).await, Outcome::Presences(vec![format!("{user} Busy/InACall")]));
            assert_eq!(client.clear(user, api).await, Outcome::Done);
        }
    }
    assert_eq!(presence("bench-1000").await, Outcome::Presences(vec!["bench-1000 Offline/Offline".into()]));
    let cleared = report(server.grpc, &["--operation", "clear", "--session-id", "grpc"]).await;
    assert!(cleared["codes"]["NotFound"].as_u64().unwrap() > 0, "three were cleared before: {cleared}");
}

#[tokio::test]
async fn sets_show_different_things_if_they_are_to_change_something() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    let client = Client::new(Api::Grpc, server.grpc, server.http);
    let users: Vec<String> = (0..650).map(|user| format!("bench-{user}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    for (api, address) in [("grpc", server.grpc), ("http", server.http), ("http2", server.http)] {
        report(address, &["--api", api, "--load", "--changes", "--rate", "1000"]).await;
        let Outcome::Presences(presences) = client.batch_get(&users).await else { panic!("they are read") };
        let shown: HashSet<&str> =
            presences.iter().map(|presence| presence.split_once(' ').unwrap().1).collect();
        assert_eq!(shown.len(), 5, "{api}: {shown:?}");
    }
}

#[tokio::test]
async fn calls_that_are_due_are_made_at_their_rate() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    let report = report(server.grpc, &["--operation", "get", "--rate", "1000", "--duration", "1s"]).await;
    let calls: u64 = report["codes"].as_object().unwrap().values().map(|calls| calls.as_u64().unwrap()).sum();
    assert_eq!(calls, 1_000, "as many as were due, whenever they were answered: {report}");
}

#[tokio::test]
async fn failures_are_counted_and_named() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (keys, token) = (folder.path().join("keys.json"), folder.path().join("token"));
    fs::write(&keys, r#"{"keys":[]}"#).unwrap();
    // Longer than one byte can say.
    fs::write(&token, format!("{}.y.z\n", "x".repeat(2_000))).unwrap();
    let strict = Process::start(
        &database.url,
        &["--auth", "jwt", "--jwks-file", keys.to_str().unwrap(), "--jwt-issuer", "i", "--jwt-audience", "a"],
    )
    .await;
    let (code, out, _) = bench(strict.grpc, &["--token-file", token.to_str().unwrap()]).await;
    assert_eq!(code, Some(70));
    assert!(out.contains("Unauthenticated"), "{out}");
    for api in ["http", "http2"] {
        let (code, out, _) = bench(strict.http, &["--api", api]).await;
        assert_eq!(code, Some(70));
        assert!(out.contains(" 401; "), "{out}");
    }

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (target, arguments, code, says) in [
        (closed, &[][..], 70, "refused"),
        (server.http, &["--api", "http", "--operation", "health"], 64, "takes --API grpc"),
        (server.grpc, &["--operation", "batch-get", "--batch-size", "651"], 64, "takes 650 at most"),
        (server.grpc, &["--streams", "257"], 70, "give --streams 256 or less"),
        (server.grpc, &["--api", "http"], 70, "not HTTP/1.1"),
        (server.grpc, &["--token-file", "/nowhere"], 64, "--token-file"),
    ] {
        let (found, out, err) = bench(target, arguments).await;
        assert!(found == Some(code) && err.contains(says), "{arguments:?}: {found:?} {out}{err}");
    }
}
