//! `presenced doctor`: what it says, line by line, of good deployments and of broken
//! ones.

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

on_every_engine![a_good_deployment_is_ok_line_by_line, nothing_is_changed];

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

/// What is said of them behind the database.
const AROUND: [&str; 6] = [
    "ok    callers: nobody is authenticated; gRPC and HTTP listen on this machine only",
    "ok    tls: off; gRPC and HTTP listen on this machine only",
    "ok    --grpc-addr: 127.0.0.1:0 is free",
    "ok    --http-addr: 127.0.0.1:0 is free",
    "ok    --admin-addr: 127.0.0.1:0 is free",
    "ok    files: … open files are room for 100 connections to each API",
];

fn doctor(url: &str, flags: &[&str]) -> Output {
    run(&[&FIXED[..], &["--database-url", url], flags].concat())
}

/// It ends with this code and prints these lines, with `…` for any text.
#[track_caller]
fn assert_prints(output: &Output, code: i32, lines: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    let printed: Vec<_> = text.lines().collect();
    let wrong = printed.iter().zip(lines).find(|(line, promised)| !matches(promised, line));
    assert!(wrong.is_none() && printed.len() == lines.len(), "{wrong:#?} in\n{text}");
    assert_eq!(output.status.code(), Some(code), "{text}");
}

/// It ends with this code, and these lines are among those that it prints.
#[track_caller]
fn assert_says(output: &Output, code: i32, lines: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    for promised in lines {
        assert!(text.lines().any(|line| matches(promised, line)), "no {promised:?} in\n{text}");
    }
    assert_eq!(output.status.code(), Some(code), "{text}");
}

/// What it says of how durable the cluster for tests is, which is none of its affair.
async fn durability(url: &str) -> Vec<&'static str> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await.unwrap();
    if fsync == "on" {
        return vec!["ok    durability: fsync is on, synchronous_commit is on"];
    }
    vec![
        "warn  durability: fsync is off: a crash of its machine can lose what was acknowledged, and the whole database",
        "      set fsync = on in postgresql.conf",
    ]
}

/// What it says of a good database; `SCHEMA` stands for what it says of the schema.
async fn good_database(engine: Engine, url: &str, schema: &'static str) -> Vec<&'static str> {
    let database = match engine {
        Engine::Sqlite => vec![
            "ok    database: SQLite at …/presence.db, version 3.…",
            schema,
            "ok    writes: allowed",
            "ok    journal: wal",
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
                "ok    connections: a replica opens up to 21, the server allows …: room for … replicas",
                schema,
                "ok    writes: allowed",
                "ok    presence_sessions: fillfactor 70, vacuumed by autovacuum",
                "ok    presence_users: fillfactor 70, vacuumed by autovacuum",
            ],
        ]
        .concat(),
    };
    [&["ok    settings: they go together"], &database[..]].concat()
}

async fn a_good_deployment_is_ok_line_by_line(engine: Engine) {
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

    let before = good_database(engine, url, "ok    schema: version 3, the same as this binary's").await;
    let around = [
        "ok    keys: --jwks-file …/keys.json holds 1 key",
        "ok    tls: the key fits the certificate, which is valid until 4096-01-01T00:00:00.000Z",
    ];
    assert_prints(&doctor(url, &flags), 0, &[&before[..], &around, &AROUND[2..]].concat());

    let json = doctor(url, &[&flags[..], &["--log-format", "json"]].concat());
    let json = String::from_utf8(json.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0],
        serde_json::json!({ "verdict": "ok", "what": "settings", "detail": "they go together" })
    );
    assert_eq!(lines.len(), before.len() + around.len() + AROUND[2..].len(), "{json}");
    assert!(lines.iter().all(|line| line["advice"].is_string() == (line["verdict"] != "ok")), "{json}");
}

async fn nothing_is_changed(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url = database.url.as_str();
    let none = "ok    schema: none yet; the service, or `presenced migrate`, makes version 3 when it starts";
    let refused = ["FAIL  schema: there is none, and --no-migrate is given", "      run `presenced migrate`"];
    for _ in 0..2 {
        assert_says(&doctor(url, &[]), 0, &[none]);
        assert_says(&doctor(url, &["--no-migrate"]), 69, &refused);
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
            assert_says(&doctor(url, &[]), 0, &["ok    schema: version 3, the same as this binary's"]);
            assert_eq!(files(), 1);
            assert!(fs::read(file).unwrap() == before);
        }
    }
}

#[tokio::test]
async fn a_service_that_runs_here_is_in_nobodys_way() {
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
    assert_says(
        &run(&arguments),
        0,
        &[
            "ok    --grpc-addr: … is taken: a service is running here and is ready",
            "ok    --http-addr: … is taken: a service is running here and is ready",
            "ok    --admin-addr: … is taken: a service is running here and is ready",
            "ok    writes: allowed",
        ],
    );
    process.kill();
    assert_says(&run(&arguments), 0, &["ok    --grpc-addr: … is free"]);
}
