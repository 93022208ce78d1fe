//! The output of `presenced doctor`, line by line, for good and for broken deployments.

mod broken;
mod database;
mod tls;

use std::{fs, path::Path, process::Output};

use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::{
    cli::run,
    support::{
        authority::Authority,
        database::{Engine, TestDatabase},
        matches, on_every_engine,
        process::Process,
        tokens::{FLAGS, Signer, key_set},
    },
};

on_every_engine![every_check_of_a_good_deployment_is_ok, the_doctor_changes_nothing];

/// Free ports, and few connections.
const FIXED: [&str; 10] = [
    "doctor",
    "--grpc-addr",
    "127.0.0.1:0",
    "--http-addr",
    "127.0.0.1:0",
    "--admin-addr",
    "127.0.0.1:0",
    "--connections-max",
    "100",
    "--workers=2",
];

/// The lines that follow those of the database.
const AROUND: [&str; 6] = [
    "ok    callers: not authenticated; both APIs are reachable from this machine only",
    "ok    tls: off; both APIs are reachable from this machine only",
    "ok    --grpc-addr: 127.0.0.1:0 is free",
    "ok    --http-addr: 127.0.0.1:0 is free",
    "ok    --admin-addr: 127.0.0.1:0 is free",
    "ok    files: … open files suffice for 100 connections to each API",
];

/// The line about the history of a new database.
const HISTORY: &str = "ok    history: kept for 168h, empty";

fn doctor(url: &str, flags: &[&str]) -> Output {
    run(&[&FIXED[..], &["--database-url", url], flags].concat())
}

/// Asserts the exit code and all printed lines, with `…` for any text.
#[track_caller]
fn assert_prints(output: &Output, code: i32, lines: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    let printed: Vec<_> = text.lines().collect();
    let wrong = printed.iter().zip(lines).find(|(line, promised)| !matches(promised, line));
    assert!(wrong.is_none() && printed.len() == lines.len(), "{wrong:#?} in\n{text}");
    assert_eq!(output.status.code(), Some(code), "{text}");
}

/// Asserts the exit code and some of the printed lines.
#[track_caller]
fn assert_contains(output: &Output, code: i32, lines: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    for promised in lines {
        assert!(text.lines().any(|line| matches(promised, line)), "no {promised:?} in\n{text}");
    }
    assert_eq!(output.status.code(), Some(code), "{text}");
}

/// The lines about durability, which depend on the cluster that runs the tests.
async fn durability(url: &str) -> Vec<&'static str> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await.unwrap();
    if fsync == "on" {
        return vec!["ok    durability: fsync is on, synchronous_commit is on"];
    }
    vec![
        "warn  durability: fsync is off: a crash of the machine can lose acknowledged writes, and corrupt the database",
        "      set fsync = on in postgresql.conf",
    ]
}

/// The lines about a good database, with this line about its schema.
async fn good_database(engine: Engine, url: &str, schema: &'static str) -> Vec<&'static str> {
    let database = match engine {
        Engine::Sqlite => vec![
            "ok    database: SQLite at …/presence.db, version 3.…",
            schema,
            "ok    writes: allowed",
            "ok    journal: wal",
            HISTORY,
            "… MiB free",
        ],
        Engine::Postgres => [
            &[
                "ok    database: PostgreSQL at …, database presence_…, version 1…",
                "ok    clock: within 2s of the database's",
            ][..],
            &durability(url).await,
            &[
                "ok    autovacuum: on",
                "ok    connections: a replica opens up to 28, the server allows …: enough for … replicas",
                schema,
                "ok    writes: allowed",
                "ok    statements: the database can run all of them",
                "ok    presence_history: vacuumed by autovacuum",
                "ok    presence_sessions: fillfactor 70, vacuumed by autovacuum",
                "ok    presence_subscriptions: fillfactor 50, vacuumed by autovacuum",
                "ok    presence_users: fillfactor 70, vacuumed by autovacuum",
                HISTORY,
            ],
        ]
        .concat(),
    };
    [&["ok    settings: valid"], &database[..]].concat()
}

async fn every_check_of_a_good_deployment_is_ok(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url = database.url.as_str();
    assert!(run(&["migrate", "--database-url", url]).status.success());
    let folder = TempDir::new().unwrap();
    Authority::new().write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (keys, cert, key) = (path("keys.json"), path("tls.crt"), path("tls.key"));
    fs::write(&keys, key_set(&[&Signer::new(jsonwebtoken::Algorithm::ES256, "a")])).unwrap();
    let flags = [&FLAGS[..], &["--jwks-file", &keys, "--tls-cert", &cert, "--tls-key", &key, "--no-migrate"]]
        .concat();

    let before = good_database(engine, url, "ok    schema: version 1, as this binary needs").await;
    let around = [
        "ok    keys: --jwks-file …/keys.json contains 1 key",
        "ok    tls: the key matches the certificate, which is valid until 4096-01-01T00:00:00.000Z",
    ];
    assert_prints(&doctor(url, &flags), 0, &[&before[..], &around, &AROUND[2..]].concat());

    let json = doctor(url, &[&flags[..], &["--log-format", "json"]].concat());
    let json = String::from_utf8(json.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({ "verdict": "ok", "what": "settings", "detail": "valid" }));
    let findings = before.iter().chain(&around).chain(&AROUND[2..]).filter(|line| !line.starts_with(' '));
    assert_eq!(lines.len(), findings.count(), "{json}");
    assert!(lines.iter().all(|line| line["advice"].is_string() == (line["verdict"] != "ok")), "{json}");
}

async fn the_doctor_changes_nothing(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url = database.url.as_str();
    let none =
        "ok    schema: missing; the service creates version 1 at start, and so does `presenced migrate`";
    let refused = ["FAIL  schema: missing, and --no-migrate is given", "      run `presenced migrate`"];
    for _ in 0..2 {
        assert_contains(&doctor(url, &[]), 0, &[none]);
        assert_contains(&doctor(url, &["--no-migrate"]), 69, &refused);
    }
    match engine {
        Engine::Postgres => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let tables = connection.fetch_all("select from pg_class where relname like '%sqlx%'").await;
            assert!(tables.unwrap().is_empty());
        }
        Engine::Sqlite => {
            let file = Path::new(url.strip_prefix("sqlite://").unwrap());
            let files = || fs::read_dir(file.parent().unwrap()).unwrap().count();
            assert_eq!(files(), 0);
            assert!(run(&["migrate", "--database-url", url]).status.success());
            let before = fs::read(file).unwrap();
            assert_contains(&doctor(url, &[]), 0, &["ok    schema: version 1, as this binary needs"]);
            assert_eq!(files(), 1);
            assert!(fs::read(file).unwrap() == before);
        }
    }
}

#[tokio::test]
async fn addresses_of_a_running_service_are_not_a_conflict() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let mut process = Process::start(&database.url, &[]).await;
    let addresses = [process.grpc, process.http, process.admin].map(|address| address.to_string());
    let [grpc, http, admin] = addresses.each_ref().map(String::as_str);
    let arguments = [
        "doctor",
        "--database-url",
        &database.url,
        "--grpc-addr",
        grpc,
        "--http-addr",
        http,
        "--admin-addr",
        admin,
    ];
    assert_contains(
        &run(&arguments),
        0,
        &[
            "ok    --grpc-addr: … is in use: a service is running here and is ready",
            "ok    --http-addr: … is in use: a service is running here and is ready",
            "ok    --admin-addr: … is in use: a service is running here and is ready",
            "ok    writes: allowed",
        ],
    );
    process.kill();
    assert_contains(&run(&arguments), 0, &["ok    --grpc-addr: … is free"]);
}
