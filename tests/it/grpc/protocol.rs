//! The gRPC API as gRPC's specification has it, in frames and headers.

use std::fs;

use presenced::grpc::pb::{
    Activity, Availability, ClearPresenceRequest, DESCRIPTORS, GetPresenceRequest, GetPresenceResponse,
    KeepPresenceRequest, KeepPresenceResponse,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    busy, reason,
    wire::{Answer, Wire, frame, gzipped},
};
use crate::{
    auth::Guarded,
    support::{client::words, database::Engine, process::Process, server::Server, tokens},
};

const SET: &str = "/presence.v1.PresenceService/SetPresence";
const GET: &str = "/presence.v1.PresenceService/GetPresence";
const GZIP: (&str, &str) = ("grpc-encoding", "gzip");
const MIB: usize = 1_024 * 1_024;

fn get(user: &str) -> GetPresenceRequest {
    GetPresenceRequest { user_id: user.to_owned(), ..Default::default() }
}

/// The paths of all methods of the service, of health checks and of reflection.
fn paths() -> Vec<String> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let mut paths = Vec::new();
    for file in files.iter().filter(|file| file.package() == "presence.v1") {
        for service in &file.service {
            let of = |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| of(method.name())));
        }
    }
    paths.extend(["Check", "List"].map(|name| format!("/grpc.health.v1.Health/{name}")));
    paths.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
    paths.push("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned());
    paths
}

/// The most memory that the process has had, in bytes.
fn peak_memory(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

#[tokio::test]
async fn every_method_takes_gzipped_messages() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let mut refused = Vec::new();
    for path in paths() {
        // The fields are missing, so that most methods refuse the message once it is unpacked.
        let answer = wire.call(&path, &[GZIP], gzipped(&[])).await;
        if answer.code() == Code::Unimplemented {
            refused.push(path);
        }
    }
    println!("{} of {} methods refuse gzip", refused.len(), paths().len());
    assert!(refused.is_empty(), "{refused:?}");

    let set =
        wire.call(SET, &[GZIP, ("grpc-accept-encoding", "gzip")], gzipped(&busy("a", "x").encode_to_vec()));
    let set = set.await;
    assert_eq!(set.code(), Code::Ok);
    let read =
        wire.call(GET, &[GZIP, ("grpc-accept-encoding", "gzip")], gzipped(&get("a").encode_to_vec())).await;
    assert_eq!((read.code(), read.header("grpc-encoding"), read.body[0]), (Code::Ok, "", 0));
    // A message may be uncompressed all the same.
    assert_eq!(wire.call(GET, &[GZIP], frame(&get("a"))).await.code(), Code::Ok);

    let mut corrupt = gzipped(&get("a").encode_to_vec());
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    let answer = wire.call(GET, &[GZIP], corrupt).await;
    assert_eq!(
        (answer.code(), reason(&answer.status()).as_str()),
        (Code::InvalidArgument, "ERROR_REASON_MESSAGE_MALFORMED")
    );
    let zstd = wire.call(GET, &[("grpc-encoding", "zstd")], frame(&get("a"))).await;
    assert_eq!((zstd.code(), zstd.header("grpc-accept-encoding")), (Code::Unimplemented, "gzip,identity"));
    assert_eq!(reason(&zstd.status()), "ERROR_REASON_NOT_SUPPORTED");
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_unpacks_to_more_than_the_limit_is_refused_and_costs_no_more() {
    let bomb = gzipped(&vec![0; 256 * MIB]);
    assert!(bomb.len() < MIB, "{}", bomb.len());
    let process = Process::start("sqlite::memory:", &[]).await;
    let wire = Wire::connect(process.grpc).await;
    wire.call(GET, &[], frame(&get("a"))).await;
    let before = peak_memory(&process);
    let mut codes = Vec::new();
    for path in [GET, "/grpc.health.v1.Health/Check", "/presence.v1.PresenceService/HoldPresence"] {
        for _ in 0..8 {
            let answer = wire.call(path, &[GZIP], bomb.clone()).await;
            codes.push(answer.code());
            if answer.code() == Code::ResourceExhausted {
                assert_eq!(reason(&answer.status()), "ERROR_REASON_MESSAGE_TOO_LARGE", "{path}");
            }
        }
    }
    let grown = peak_memory(&process) - before;
    println!(
        "{} of {} bombs refused as too large, {} KiB more",
        codes.iter().filter(|code| **code == Code::ResourceExhausted).count(),
        codes.len(),
        grown / 1_024
    );
    assert_eq!(codes, vec![Code::ResourceExhausted; codes.len()]);
    assert!(grown < 16 * MIB, "{grown}");
}

/// The delay that an answer asks of gRPC's own retries.
fn pushback(answer: &Answer) -> String {
    answer.header("grpc-retry-pushback-ms").to_owned()
}

#[tokio::test]
async fn every_error_says_whether_grpc_may_retry() {
    let guarded = Guarded::start(Engine::Sqlite, &["--rate-limit", "8/800s"]).await;
    let token = format!("Bearer {}", guarded.signer.sign(&tokens::application(&["Presence.ReadWrite.All"])));
    let authorized = ("authorization", token.as_str());
    let wire = Wire::connect(guarded.server.addresses.grpc).await;
    let session = |user: &str| busy(user, tokens::APP);
    let mut found = Vec::new();
    let mut note = |what: &str, answer: &Answer| {
        found.push(format!("{what}: {:?} {:?}", answer.code(), pushback(answer)));
    };

    note("unauthenticated", &wire.call(GET, &[], frame(&get("a"))).await);
    note("invalid", &wire.call(GET, &[authorized], frame(&get("a b"))).await);
    note("malformed", &wire.call(GET, &[authorized], vec![0, 0, 0, 0, 1, 255]).await);
    note("unknown method", &wire.call("/presence.v1.PresenceService/Dance", &[authorized], frame(&())).await);
    note(
        "unknown service of health",
        &wire.call("/grpc.health.v1.Health/Check", &[], frame(&get("a"))).await,
    );
    note(
        "forbidden",
        &wire.call("/presence.v1.PresenceService/ErasePresence", &[authorized], frame(&get("a"))).await,
    );
    let request = KeepPresenceRequest {
        user_id: "a".into(),
        session_id: tokens::APP.into(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        ..Default::default()
    };
    let mut kept =
        wire.open("/presence.v1.PresenceService/KeepPresence", &[authorized], frame(&request)).await;
    kept.message::<KeepPresenceResponse>().await.expect("the session is open");
    let clear =
        ClearPresenceRequest { user_id: "a".into(), session_id: tokens::APP.into(), observed_time: None };
    assert_eq!(
        wire.call("/presence.v1.PresenceService/ClearPresence", &[authorized], frame(&clear)).await.code(),
        Code::Ok
    );
    note("the end of a stream that lost its session", &kept.end().await);
    while wire.call(SET, &[authorized], frame(&session("a"))).await.code() == Code::Ok {}
    let limited = wire.call(SET, &[authorized], frame(&session("a"))).await;
    let seconds: f64 = pushback(&limited).parse::<f64>().unwrap() / 1_000.0;
    assert!((90.0..200.0).contains(&seconds), "{seconds}");
    println!("{found:#?}");
    assert_eq!(
        found,
        [
            "unauthenticated: Unauthenticated \"-1\"",
            "invalid: InvalidArgument \"-1\"",
            "malformed: InvalidArgument \"-1\"",
            "unknown method: Unimplemented \"-1\"",
            "unknown service of health: NotFound \"-1\"",
            "forbidden: PermissionDenied \"-1\"",
            "the end of a stream that lost its session: NotFound \"-1\"",
        ]
    );
    guarded.server.stop().await;
}

#[tokio::test]
async fn every_response_has_the_ids_of_the_request() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let mut own = Vec::new();
    for (sent, path, request) in [
        (("x-request-id", "from-envoy"), GET, "a"),
        (("client-request-id", "from-graph"), GET, "a"),
        (("x-request-id", "of-an-error"), GET, "a b"),
        (("x-request-id", "of-health"), "/grpc.health.v1.Health/Check", ""),
    ] {
        let answer = wire.call(path, &[sent], frame(&get(request))).await;
        let (id, client) = (answer.header("request-id"), answer.header("client-request-id"));
        println!("{path} with {sent:?}: request-id {id:?}, client-request-id {client:?}");
        assert_eq!((id.len(), client), (36, sent.1), "{path}");
        own.push(id.to_owned());
        if let Some(info) = answer.status().get_details_request_info() {
            assert_eq!((info.request_id.as_str(), info.serving_data.as_str()), (id, sent.1));
        }
    }
    own.sort();
    own.dedup();
    assert_eq!(own.len(), 4, "each request has an id of its own");
    // Graph's header wins, and an invalid id is not taken over.
    let both = [("x-request-id", "x"), ("client-request-id", "c")];
    assert_eq!(wire.call(GET, &both, frame(&get("a"))).await.header("client-request-id"), "c");
    let long = "x".repeat(129);
    for invalid in [&long, ""] {
        let answer = wire.call(GET, &[("x-request-id", invalid)], frame(&get("a"))).await;
        assert_eq!((answer.header("client-request-id"), answer.header("request-id").len()), ("", 36));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_log_has_the_client_s_id_of_a_request() {
    let mut process = Process::start("sqlite::memory:", &["--log", "debug"]).await;
    let wire = Wire::connect(process.grpc).await;
    let answer = wire.call(GET, &[("x-request-id", "from-envoy")], frame(&get("a"))).await;
    process.signal("TERM");
    let (_, log) = process.wait();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("\"client_request_id\":\"from-envoy\"")).collect();
    println!("{} lines", lines.len());
    let line: serde_json::Value = serde_json::from_str(lines.first().expect("a line")).unwrap();
    assert_eq!(
        (&line["message"], &line["request_id"]),
        (&"request".into(), &answer.header("request-id").into())
    );
}

#[tokio::test]
async fn an_unknown_method_is_named_with_those_that_exist() {
    let server = Server::start_with(Engine::Sqlite, &["--no-reflection"]).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    for (path, told) in [
        (
            "/presence.v1.PresenceService/SetPresense",
            "presence.v1.PresenceService has no method SetPresense. Its methods are: BatchClearPresences, BatchGetPresences, ",
        ),
        (
            "/grpc.health.v1.Health/Ping",
            "grpc.health.v1.Health has no method Ping. Its methods are: Check, List, Watch.",
        ),
        (
            "/presence.v2.PresenceService/SetPresence",
            "There is no service presence.v2.PresenceService. The services are: grpc.health.v1.Health, presence.v1.PresenceService.",
        ),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "There is no service grpc.reflection.v1.ServerReflection. The services are: grpc.health.v1.Health, presence.v1.PresenceService.",
        ),
        ("/", "`/` is not the path of a method. The services are: "),
    ] {
        let status = wire.call(path, &[], frame(&get("a"))).await.status();
        println!("{path}: {:?} {:?}", status.code(), status.message());
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert!(status.message().starts_with(told), "{}", status.message());
        assert_eq!(reason(&status), "ERROR_REASON_NOT_SUPPORTED");
    }
    let long = format!("/presence.v1.PresenceService/{}", "x".repeat(9_000));
    let status = wire.call(&long, &[], frame(&get("a"))).await.status();
    assert!(status.message().len() < 1_000, "{}", status.message().len());
    server.stop().await;
}

#[tokio::test]
async fn a_call_of_one_message_has_exactly_one() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let one = frame(&busy("a", "x"));
    let two = [one.clone(), one.clone()].concat();
    let begun = [&one[..], &[0, 0]].concat();
    for path in [SET, "/presence.v1.PresenceService/WatchPresences", "/grpc.health.v1.Health/Check"] {
        for (body, told) in [(Vec::new(), "none"), (two.clone(), "another"), (begun.clone(), "another")] {
            let status = wire.call(path, &[], body).await.status();
            println!("{path}, {told}: {:?} {:?}", status.code(), status.message());
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::Unimplemented, "ERROR_REASON_NOT_SUPPORTED")
            );
            assert!(status.message().contains(told), "{}", status.message());
        }
    }
    let presence = wire.call(GET, &[], frame(&get("a"))).await;
    let presence = GetPresenceResponse::decode(&presence.body[5..]).unwrap().presence.unwrap();
    assert_eq!(words(&presence), "a Offline/Offline", "no such call wrote");
    // An empty message is a message.
    assert_eq!(wire.call("/grpc.health.v1.Health/Check", &[], frame(&())).await.code(), Code::Ok);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_deadline_is_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    for malformed in ["", "S", "100", "999999999m", "-1m", "+1m", "1x", "1.5S", "5 S", "soon"] {
        let status = wire.call(GET, &[("grpc-timeout", malformed)], frame(&get("a"))).await.status();
        println!("{malformed:?}: {:?} {:?}", status.code(), status.message());
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "ERROR_REASON_FIELD_INVALID")
        );
        let told = "`grpc-timeout` must be 1 to 8 digits and a unit (H, M, S, m, u or n)";
        assert!(status.message().starts_with(told), "{}", status.message());
    }
    for timeout in ["5S", "1H", "99999999u"] {
        assert_eq!(wire.call(GET, &[("grpc-timeout", timeout)], frame(&get("a"))).await.code(), Code::Ok);
    }
    server.stop().await;
}
