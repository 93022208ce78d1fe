//! Background tasks: ARCHITECTURE.md lists them, and the end of any of them stops the service after
//! the requests under way.

use std::{collections::BTreeSet, fs, future::pending, time::Duration};

use jsonwebtoken::Algorithm;
use presenced::{
    admin::ask_readyz,
    app::App,
    batch::{Batches, Limits},
    clock::Clock,
    commands::run_until_stopped,
    store::Database,
    telemetry::Metrics,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::timeout,
};

use crate::support::{
    authority::Authority,
    database::{Engine, TestDatabase},
    server::{Server, settings, start},
    tokens::{FLAGS, Signer, key_set},
    wait::eventually,
};

/// The time for which a stop waits for requests.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// A service with every optional part, and what it needs.
struct Complete {
    app: App,
    _folder: TempDir,
    _database: TestDatabase,
}

impl Complete {
    async fn start(engine: Engine) -> Self {
        let (database, folder) = (TestDatabase::new(engine).await, TempDir::new().unwrap());
        Authority::new().write(folder.path());
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("keys.json"), key_set(&[&Signer::new(Algorithm::EdDSA, "key")])).unwrap();
        let files = [path("keys.json"), path("tls.crt"), path("tls.key")];
        let mut flags = [&FLAGS[..], &["--rate-limit", "10/1s", "--jwks-file", &files[0]]].concat();
        flags.extend(["--tls-cert", &files[1], "--tls-key", &files[2]]);
        if engine == Engine::Postgres {
            flags.extend(["--database-read-url", &database.url]);
        }
        let app = start(&settings(&database.url, &flags), Clock::new()).await;
        Self { app, _folder: folder, _database: database }
    }
}

/// The names in the table of ARCHITECTURE.md.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let (_, section) = text.split_once("## Background tasks\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn the_background_tasks_are_those_of_the_architecture() {
    let mut names = BTreeSet::from(["shards".to_owned()]);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Complete { app, .. } = &Complete::start(engine).await;
        let all = app.tasks().names();
        let unique: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(unique.len(), all.len(), "{all:?}");
        names.extend(all.iter().map(|name| name.replace(|digit: char| digit.is_ascii_digit(), "N")));
    }
    // Citus alone has the task `shards`.
    assert_eq!(names, documented());
}

#[tokio::test]
async fn the_end_of_any_background_task_stops_the_service_with_70() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let names = Complete::start(engine).await.app.tasks().names();
        let names = names.iter().filter(|name| engine == Engine::Sqlite || *name == "read replica");
        for name in names {
            let Complete { app, _folder, _database } = Complete::start(engine).await;
            app.tasks().end(name);
            let ended = timeout(DRAIN_TIMEOUT, app.task_ended()).await;
            assert_eq!(&ended.unwrap_or_else(|_| panic!("{name} ended unnoticed")).name, name);
            assert_eq!(run_until_stopped(app, DRAIN_TIMEOUT, pending).await, 70, "{name}");
        }
    }
}

#[tokio::test]
async fn a_request_under_way_completes_after_a_background_task_ended() {
    let Server { app, addresses, database: _database, .. } = Server::start(Engine::Sqlite).await;
    let body = r#"{"sessionId":"a","availability":"Busy","activity":"InACall"}"#;
    let (first, rest) = body.split_at(10);
    let mut request = TcpStream::connect(addresses.http).await.unwrap();
    let head = format!(
        "POST /v1.0/users/u/presence/setPresence HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n{first}",
        body.len()
    );
    request.write_all(head.as_bytes()).await.unwrap();
    let mut response = [0; 256];
    let read = request.read(&mut response).await.unwrap();
    assert!(response[..read].starts_with(b"HTTP/1.1 100 "), "the service reads the body");

    app.tasks().end("cleanup");
    let stopped = tokio::spawn(run_until_stopped(app, DRAIN_TIMEOUT, pending));
    let stops = async || ask_readyz(addresses.admin).await.unwrap() == (false, "stopping".to_owned());
    eventually("the service stops", stops).await;
    assert!(!stopped.is_finished(), "the service waits for the request");
    request.write_all(rest.as_bytes()).await.unwrap();
    let read = request.read(&mut response).await.unwrap();
    assert!(response[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response[..read]));
    assert_eq!(stopped.await.unwrap(), 70);
}

#[tokio::test]
async fn the_end_of_a_batchers_dispatcher_is_noticed() {
    let database = Database::connect("sqlite::memory:").await.unwrap();
    let limits = Limits { batch_max: 1, queue_max: 1, concurrent_statements: 1 };
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let batches = {
        let _entered = runtime.enter();
        let store = database.open(Batches::connections(limits));
        Batches::start(&store, &Clock::new(), &Metrics::new(), limits)
    };
    assert!(timeout(Duration::from_millis(50), batches.ended()).await.is_err(), "all run");
    runtime.shutdown_background();
    let name = timeout(DRAIN_TIMEOUT, batches.ended()).await.expect("a dispatcher ended");
    assert!(!name.is_empty());
}
