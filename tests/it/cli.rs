//! The binary as operators use it: settings, exit codes, signals, logs.

use std::{
    fs,
    process::{Command, Output},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    golden::is_golden,
    metrics, on_every_engine,
    process::{Process, binary, command, unused_address, without_settings},
    wait::eventually,
};

on_every_engine![an_incompatible_schema_is_refused_at_start];

/// Runs the binary until it exits. It is killed after 20 s.
pub fn run(arguments: &[&str]) -> Output {
    let mut limited = Command::new("timeout");
    limited.arg("20").arg(binary()).args(arguments);
    without_settings(limited).output().unwrap()
}

/// Asserts the exit code, and a part of the text on standard error.
#[track_caller]
fn assert_fails(output: &Output, code: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn the_help_equals_the_golden_file() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    is_golden("tests/golden/help.txt", &help);
}

#[test]
fn a_misspelt_variable_exits_with_64_and_the_error_names_both_spellings() {
    for subcommand in ["serve", "migrate", "healthcheck", "doctor"] {
        let output = command().arg(subcommand).env("PRESENCE_AUTHH", "jwt").output().unwrap();
        assert_fails(&output, 64, "no environment variable PRESENCE_AUTHH. Did you mean PRESENCE_AUTH?");
    }
}

#[test]
fn an_unknown_variable_is_logged_unless_it_belongs_to_tests_or_kubernetes() {
    let output = command()
        .args(["migrate", "--database-url", "sqlite::memory:"])
        .env("PRESENCE_GRPC_PORT", "50051")
        .env("PRESENCE_TEST_OTHER", "1")
        .env("PRESENCE_SERVICE_HOST", "10.0.0.1")
        .env("PRESENCE_PORT_8080_TCP_ADDR", "10.0.0.1")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("unknown environment variable")).collect();
    assert!(matches!(warnings[..], [one] if one.contains("PRESENCE_GRPC_PORT")), "{log}");
}

#[test]
fn an_empty_variable_counts_as_not_given() {
    let output = command()
        .arg("--print-config")
        .envs(
            ["AUTH", "GRPC_ADDR", "TLS_CERT", "ALLOW_INSECURE"].map(|name| (format!("PRESENCE_{name}"), "")),
        )
        .env("PRESENCE_AUTHH", "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in [
        "auth = none (default)",
        "grpc-addr = 127.0.0.1:50051 (default)",
        "tls-cert =  (default)",
        "allow-insecure = false (default)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    // A subcommand that does not take the setting ignores it, too.
    let output = command()
        .args(["migrate", "--database-url", "sqlite::memory:"])
        .envs(["PRESENCE_AUTH", "PRESENCE_DATABASE_READ_URL"].map(|name| (name, "")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The help still shows the variable.
    let help = command().arg("--help").env("PRESENCE_AUTH", "").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("[env: PRESENCE_AUTH]"));
}

#[test]
fn invalid_settings_exit_with_64() {
    assert_fails(&run(&["--http-addr", "0.0.0.0:0"]), 64, "give --allow-insecure");
    assert_fails(&run(&["--grpc-addr", "[::]:0"]), 64, "callers are not authenticated");
    assert_fails(&run(&["--grpc-addr", "nonsense"]), 64, "--grpc-addr");
    for (arguments, part) in [
        (&["--auth", "jwt"][..], "either --jwks-url or --jwks-file"),
        (
            &["--auth", "jwt", "--jwks-url", "https://a", "--jwks-file", "b"],
            "either --jwks-url or --jwks-file",
        ),
        (&["--auth", "jwt", "--jwks-file", "a", "--jwt-audience", "a"], "--jwt-issuer"),
        (&["--auth", "jwt", "--jwks-file", "a", "--jwt-issuer", "a"], "--jwt-audience"),
        (
            &["--auth", "jwt", "--jwks-file", "/nowhere", "--jwt-issuer", "a", "--jwt-audience", "a"],
            "cannot read /nowhere",
        ),
        (
            &["--auth", "jwt", "--jwks-url", "http://issuer/k", "--jwt-issuer", "a", "--jwt-audience", "a"],
            "must be https",
        ),
        (&["--jwks-file", "a"], "give --auth jwt"),
        (&["--jwt-audience", "a"], "give --auth jwt"),
        (&["--require-application"], "--require-application has no effect"),
        (&["--tls-cert", "a"], "belong together"),
        (&["--tls-client-ca", "a"], "requires --tls-cert and --tls-key"),
        (&["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "--tls-cert /nowhere"),
        (&["--rate-limit", "lots"], "CALLS/DURATION"),
        (&["--cors-origins", "*"], "as browsers send it"),
        (&["--cors-origins", "https://a/"], "as browsers send it"),
        (&["--retention", "0s"], "more than 0s"),
        (&["--otlp-endpoint", "collector:4317"], "http://collector:4317"),
        (&["--postgres-pgbouncer"], "requires --database-direct-url"),
        (&["--database-direct-url", "postgres://db/p"], "no effect without --postgres-pgbouncer"),
        (
            &["--postgres-pgbouncer", "--database-direct-url", "postgres://db/p"],
            "--database-url sqlite::memory: must begin with postgres://",
        ),
    ] {
        let free =
            ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
        assert_fails(
            &run(&[&free[..], &["--database-url", "sqlite::memory:"], arguments].concat()),
            64,
            part,
        );
    }
    assert_fails(&run(&["--nonsense"]), 64, "--nonsense");
    assert_fails(&run(&["--log", "verbose"]), 64, "is not a level");
    let output = run(&["--database-url", "postgres://me@127.0.0.1:1/presence?pasword=hunter2"]);
    assert_fails(&output, 64, "pasword");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    assert_fails(&run(&["--database-url", "mysql://db/presence"]), 64, "postgres:// or sqlite:");
    assert_fails(&run(&["--database-url", "sqlite:"]), 64, "names no file");
    let output = command().env("PRESENCE_WORKERS", "0").output().unwrap();
    assert_fails(&output, 64, "1 or more");
    let output =
        command().env("PRESENCE_ALLOW_INSECURE", "0").args(["--http-addr", "0.0.0.0:0"]).output().unwrap();
    assert_fails(&output, 64, "give --allow-insecure");
}

#[test]
fn an_unreachable_database_exits_with_69_and_no_password_is_shown() {
    let unused = unused_address();
    for command in ["serve", "migrate"] {
        let output = run(&[command, "--database-url", &format!("postgres://me:hunter2@{unused}/presence")]);
        assert_fails(&output, 69, "cannot reach the database");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
    let direct = "postgres://me:hunter2@db/presence";
    let output = run(&["migrate", "--database-url", direct, "--postgres-pgbouncer"]);
    assert_fails(&output, 64, "requires --database-direct-url");
    let output = run(&["--database-url", "sqlite:///nowhere/at/all.db"]);
    assert_fails(&output, 69, "cannot reach the database: SQLite at /nowhere/at/all.db: ");
}

#[test]
fn a_read_only_database_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("presence.db").display());
    assert!(run(&["migrate", "--database-url", &url]).status.success());
    for flags in [&["--no-migrate"][..], &[]] {
        let read_only = format!("{url}?mode=ro");
        let output = run(&[&["--database-url", &read_only], flags].concat());
        assert_fails(&output, 69, "readonly database");
    }
}

#[test]
fn an_address_in_use_exits_with_70() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        run(&["--database-url", "sqlite::memory:", "--http-addr", &address, "--grpc-addr", "127.0.0.1:0"]);
    assert_fails(&output, 70, &format!("cannot listen on --http-addr {address}"));
}

#[test]
fn print_config_shows_every_setting_without_passwords() {
    let output = command()
        .args([
            "--print-config",
            "--workers",
            "3",
            "--database-url",
            "postgres://me:hunter2@db/presence?password=x",
            "--database-direct-url",
            "postgres://me:hunter2@primary/presence",
        ])
        .env("PRESENCE_DRAIN_TIMEOUT", "5s")
        .env("PRESENCE_OTLP_ENDPOINT", "")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("database-url = postgres://me:…@db/presence?… (flag)\n"), "{text}");
    assert!(text.contains("database-direct-url = postgres://me:…@primary/presence (flag)\n"), "{text}");
    assert!(text.contains("drain-timeout = 5s (environment)\n"), "{text}");
    assert!(text.contains("otlp-endpoint =  (default)\n"), "an empty variable is not given: {text}");
    assert!(
        text.contains("workers = 3 (flag)\n") && text.contains("streams-max = 2000 (default)\n"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert_eq!(text.lines().count(), help.matches("[env: ").count(), "{text}");
}

#[tokio::test]
async fn healthcheck_exits_with_0_if_the_service_is_ready() {
    let process = Process::start("sqlite::memory:", &[]).await;
    let admin = process.admin.to_string();
    assert!(run(&["healthcheck", "--admin-addr", &admin]).status.success());
    let any = format!("0.0.0.0:{}", process.admin.port());
    assert!(run(&["healthcheck", "--admin-addr", &any]).status.success());
    let unused = unused_address();
    assert_fails(&run(&["healthcheck", "--admin-addr", &unused]), 70, "presenced: ");
}

#[tokio::test]
async fn a_signal_drains_the_service_which_is_logged() {
    for name in ["TERM", "INT"] {
        let mut process = Process::start("sqlite::memory:", &[]).await;
        let (grpc, http) = (process.grpc, process.http);
        // Open, idle connections to both APIs must not delay the exit.
        let clients = [Api::Grpc, Api::Http].map(|api| Client::new(api, grpc, http));
        for client in &clients {
            assert_eq!(client.set("u", "app", "Busy/InACall", "").await, Outcome::Done);
        }
        let _silent = [grpc, http].map(|address| std::net::TcpStream::connect(address).unwrap());
        for api in ["grpc", "http"] {
            let open = format!("presence_connections{{api=\"{api}\"}}");
            let accepted = async || metrics::value(process.admin, &open).await >= 2.0;
            eventually("the service has accepted the silent connection", accepted).await;
        }
        process.signal(name);
        let (code, log) = process.wait();
        assert_eq!(code, Some(0), "{log}");
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
        for part in [
            format!("SIG{name}"),
            "drained: ".into(),
            "\"SQLite in memory\"".into(),
            grpc.to_string(),
            http.to_string(),
        ] {
            assert!(log.contains(&part), "{part}: {log}");
        }
    }
}

#[tokio::test]
async fn a_start_creates_the_database_file_and_a_stop_leaves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.db");
    let url = format!("sqlite://{}", file.display());
    let mut process = Process::start(&url, &[]).await;
    let client = Client::new(Api::Http, process.grpc, process.http);
    assert_eq!(client.set("u", "app", "Busy/InACall", "").await, Outcome::Done);
    assert!(file.exists());
    process.signal("TERM");
    assert_eq!(process.wait().0, Some(0));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["presence.db"], "the journal was merged into the file");

    let process = Process::start(&url, &[]).await;
    let client = Client::new(Api::Http, process.grpc, process.http);
    assert_eq!(client.get("u").await, Outcome::Presences(vec!["u Busy/InACall".into()]));
}

async fn an_incompatible_schema_is_refused_at_start(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let url = database.url.as_str();
    assert_fails(&run(&["--no-migrate", "--database-url", url]), 69, "run `presenced migrate`");
    for _ in 0..2 {
        let output = run(&["migrate", "--database-url", url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    drop(Process::start(url, &["--no-migrate"]).await);

    let newer = |version: i64, name: &str| {
        let checksum = if engine == Engine::Postgres { "'\\x00'" } else { "x'00'" };
        format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values ({version}, '{name}', true, {checksum}, 0)"
        )
    };
    execute(engine, url, newer(900, "adds something")).await;
    drop(Process::start(url, &[]).await);
    execute(engine, url, newer(901, "breaking drops something")).await;
    for command in ["serve", "migrate"] {
        let output = run(&[command, "--database-url", url]);
        assert_fails(&output, 69, "has schema version 901, this binary knows versions up to 1,");
    }
}

pub async fn execute(engine: Engine, url: &str, sql: String) {
    match engine {
        Engine::Postgres => {
            PgConnection::connect(url).await.unwrap().execute(AssertSqlSafe(sql)).await.map(drop)
        }
        Engine::Sqlite => {
            SqliteConnection::connect(url).await.unwrap().execute(AssertSqlSafe(sql)).await.map(drop)
        }
    }
    .unwrap();
}

#[tokio::test]
async fn metrics_count_requests_batches_and_connections() {
    let process = Process::start("sqlite::memory:", &[]).await;
    for api in [Api::Grpc, Api::Http] {
        let client = Client::new(api, process.grpc, process.http);
        client.set("u", "app", "Busy/InACall", "").await;
        client.get("u").await;
        client.clear("u", "other").await;
    }
    // A connection returns to the pool a moment after its response.
    let idle =
        |metrics: &str| metrics.contains("presence_pool_connections{pool=\"workers\",state=\"busy\"} 0\n");
    let mut metrics = String::new();
    while !idle(&metrics) {
        let response = reqwest::get(format!("http://{}/metrics", process.admin)).await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
        metrics = response.text().await.unwrap();
    }
    for line in [
        r#"presence_requests_total{operation="set_presence",api="grpc",code="OK"} 1"#,
        r#"presence_requests_total{operation="set_presence",api="http",code="200"} 1"#,
        r#"presence_requests_total{operation="clear_presence",api="grpc",code="NOT_FOUND"} 1"#,
        r#"presence_requests_total{operation="clear_presence",api="http",code="404"} 1"#,
        r#"presence_request_duration_seconds_count{operation="get_presence",api="http"} 1"#,
        r#"presence_batch_members_sum{statement="load"} 2.0"#,
        "presence_ready 1",
        concat!("presence_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("\"app"), "nothing about users");
}
