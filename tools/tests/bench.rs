//! Tests of `bench`, as a process, against a server.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
};

use presenced_tools::{
    pb::{
        Activity, Availability, BatchGetPresencesRequest, ClearPresenceRequest, Presence,
        presence_service_client::PresenceServiceClient,
    },
    process::{Process, without_settings},
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

/// The settings of a short run, unless the test sets them.
const SHORT: [[&str; 2]; 5] = [
    ["--users", "1000"],
    ["--warmup", "0s"],
    ["--duration", "300ms"],
    ["--connections", "2"],
    ["--streams", "4"],
];

/// Runs the binary. Returns its exit code, standard output and standard error.
async fn bench(target: SocketAddr, arguments: &[&str]) -> (Option<i32>, String, String) {
    let target = target.to_string();
    let short = SHORT.iter().filter(|[flag, _]| !arguments.contains(flag)).flatten();
    let command = without_settings(Command::new(env!("CARGO_BIN_EXE_bench")));
    let mut command = tokio::process::Command::from(command);
    let output = command.arg(&target).args(short).args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The JSON report of a run without an error.
async fn report(target: SocketAddr, arguments: &[&str]) -> Value {
    let (code, out, err) = bench(target, &[arguments, &["--json"]].concat()).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

/// A server on an SQLite file.
struct Server {
    process: Process,
    client: PresenceServiceClient<Channel>,
    folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(&url(&folder), &[]).await;
        let channel = Channel::from_shared(format!("http://{}", process.grpc)).unwrap();
        let client = PresenceServiceClient::new(channel.connect_lazy());
        Self { process, client, folder }
    }

    /// The address for a value of `--api`.
    fn address(&self, api: &str) -> SocketAddr {
        if api == "grpc" { self.process.grpc } else { self.process.http }
    }

    async fn presences(&self, users: impl IntoIterator<Item = u32>) -> Vec<Presence> {
        let user_ids = users.into_iter().map(|user| format!("bench-{user}")).collect();
        let response = self
            .client
            .clone()
            .batch_get_presences(BatchGetPresencesRequest { user_ids, ..Default::default() })
            .await;
        response.unwrap().into_inner().presences
    }

    async fn presence(&self, user: u32) -> (Availability, Activity) {
        let presence = &self.presences([user]).await[0];
        (presence.availability(), presence.activity())
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("presence.db").display())
}

#[tokio::test]
async fn every_operation_runs_and_counts_through_both_apis() {
    let server = Server::start().await;
    let all = ["set", "get", "clear", "batch-set", "batch-get", "mix"];
    for (api, success, operations) in [
        ("grpc", "Ok", [&all[..], &["health"]].concat()),
        ("http", "200", all.to_vec()),
        ("http2", "200", all.to_vec()),
    ] {
        for operation in operations {
            let report = report(server.address(api), &["--api", api, "--operation", operation]).await;
            let Some(calls) = report["codes"][success].as_u64() else { panic!("{report}") };
            assert!(calls > 0 && report["calls_per_second"].as_f64().unwrap() > 0.0, "{report}");
            let each =
                report["members_per_second"].as_f64().unwrap() / report["calls_per_second"].as_f64().unwrap();
            let expected = match (operation, api) {
                ("batch-set", "grpc") => 500.0,
                ("batch-set", _) => 20.0,
                ("batch-get", _) => 650.0,
                _ => 1.0,
            };
            assert!((each - expected).abs() < 1e-6, "{report}");
            assert_eq!(report["errors"], 0, "{report}");
            let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
            assert!(
                0.0 < latency("min") && latency("min") <= latency("p50") && latency("p50") <= latency("max")
            );
        }
    }
}

#[tokio::test]
async fn load_opens_a_session_for_every_user_and_clear_clears_it() {
    let server = Server::start().await;
    for api in ["grpc", "http", "http2"] {
        let arguments = ["--api", api, "--operation", "get", "--load", "--session-id", api];
        report(server.address(api), &arguments).await;
        for user in [0, 517, 999] {
            assert_eq!(server.presence(user).await, (Availability::Busy, Activity::InACall));
            let request = ClearPresenceRequest {
                user_id: format!("bench-{user}"),
                session_id: api.to_owned(),
                observed_time: None,
            };
            server.client.clone().clear_presence(request).await.unwrap();
        }
    }
    assert_eq!(server.presence(1_000).await, (Availability::Offline, Activity::Offline));
    let cleared = report(server.process.grpc, &["--operation", "clear", "--session-id", "grpc"]).await;
    assert!(
        cleared["codes"]["NotFound"].as_u64().unwrap() > 0,
        "three sessions are cleared already: {cleared}"
    );
}

#[tokio::test]
async fn each_user_is_called_once() {
    let server = Server::start().await;
    for (operation, calls) in [("set", 1_000), ("get", 1_000), ("batch-set", 2)] {
        let report = report(server.process.grpc, &["--operation", operation, "--each-user"]).await;
        assert_eq!(report["codes"]["Ok"], calls, "{report}");
    }
    let presences = server.presences(0..650).await;
    assert!(presences.iter().all(|presence| presence.availability() == Availability::Busy));
}

#[tokio::test]
async fn sets_with_changes_use_all_five_pairs() {
    let server = Server::start().await;
    for api in ["grpc", "http", "http2"] {
        report(server.address(api), &["--api", api, "--load", "--changes", "--rate", "1000"]).await;
        let presences = server.presences(0..650).await;
        let shown: HashSet<_> =
            presences.iter().map(|presence| (presence.availability(), presence.activity())).collect();
        assert_eq!(shown.len(), 5, "{api}: {shown:?}");
    }
}

#[tokio::test]
async fn a_fixed_rate_is_kept() {
    let server = Server::start().await;
    let report =
        report(server.process.grpc, &["--operation", "get", "--rate", "1000", "--duration", "1s"]).await;
    let calls: u64 = report["codes"].as_object().unwrap().values().map(|calls| calls.as_u64().unwrap()).sum();
    assert_eq!(calls, 1_000, "all calls that were due count: {report}");
}

#[tokio::test]
async fn failures_are_counted_by_code_and_errors_name_the_setting() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (keys, token) = (folder.path().join("keys.json"), folder.path().join("token"));
    fs::write(&keys, r#"{"keys":[]}"#).unwrap();
    // The length needs more than one byte in HPACK.
    fs::write(&token, format!("{}.y.z\n", "x".repeat(2_000))).unwrap();
    let strict = Process::start(
        &url(&server.folder),
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
    for (target, arguments, code, text) in [
        (closed, &[][..], 70, "refused"),
        (server.process.http, &["--api", "http", "--operation", "health"], 64, "requires --api grpc"),
        (server.process.grpc, &["--each-user", "--operation", "health"], 64, "--each-user requires"),
        (server.process.http, &["--api", "webdis", "--operation", "clear"], 64, "--api webdis requires"),
        (
            server.process.grpc,
            &["--operation", "batch-get", "--batch-size", "651"],
            64,
            "must be at most 650",
        ),
        (server.process.grpc, &["--streams", "2001"], 70, "give --streams 2000 or less"),
        (server.process.grpc, &["--api", "http"], 70, "not HTTP/1.1"),
        (server.process.grpc, &["--token-file", "/nowhere"], 64, "--token-file"),
    ] {
        let (found, out, err) = bench(target, arguments).await;
        assert!(found == Some(code) && err.contains(text), "{arguments:?}: {found:?} {out}{err}");
    }
}
