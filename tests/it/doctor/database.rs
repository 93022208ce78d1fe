//! Databases that are unusable or badly configured.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use presenced::{
    clock::{Clock, ManualClock},
    doctor::examine,
};
use tempfile::TempDir;

use super::{AROUND, FIXED, HISTORY, assert_contains, assert_prints, doctor, good_database};
use crate::{
    cli::{execute, run},
    support::{
        database::{Cluster, Engine, TestDatabase},
        matches, on_every_engine,
        pgbouncer::Pgbouncer,
        process::unused_address,
        proxy::{Network, Proxy},
        server::settings,
    },
};

on_every_engine![
    the_version_of_the_schema_is_compared_with_the_binarys,
    a_history_that_the_cleanup_does_not_shorten_is_a_warning,
    subscriptions_that_have_failed_for_over_an_hour_are_named,
];

/// A migrated database.
async fn migrated(engine: Engine) -> TestDatabase {
    let database = TestDatabase::new(engine).await;
    assert!(run(&["migrate", "--database-url", &database.url]).status.success());
    database
}

async fn the_version_of_the_schema_is_compared_with_the_binarys(engine: Engine) {
    let database = migrated(engine).await;
    let url = database.url.as_str();
    let change = match engine {
        Engine::Postgres => r"update _sqlx_migrations set checksum = '\x00'",
        Engine::Sqlite => "update _sqlx_migrations set checksum = x'00'",
    };
    execute(engine, url, change.to_owned()).await;
    let earlier = "FAIL  schema: made by an earlier development version of presenced";
    assert_contains(&doctor(url, &[]), 69, &[earlier, "      use another database, or remove the tables …"]);

    let database = migrated(engine).await;
    let url = database.url.as_str();
    let newer = |version: i64, name: &str| {
        let checksum = if engine == Engine::Postgres { "'\\x00'" } else { "x'00'" };
        format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values ({version}, '{name}', true, {checksum}, 0)"
        )
    };
    execute(engine, url, newer(900, "adds something")).await;
    let line = "warn  schema: version 900, newer than this binary's 1, and compatible";
    assert_contains(&doctor(url, &[]), 0, &[line, "      upgrade this binary, too"]);

    execute(engine, url, newer(901, "breaking drops something")).await;
    let line = "FAIL  schema: version 901; this binary supports up to 1, and 901 (breaking drops something) is incompatible";
    let mut lines = good_database(engine, url, line).await;
    let place = lines.iter().position(|found| *found == line).unwrap();
    lines.insert(place + 1, "      upgrade this binary");
    lines.retain(|line| !line.contains("statements: ") && *line != HISTORY);
    lines.extend(AROUND);
    assert_prints(&doctor(url, &[]), 69, &lines);
}

async fn a_history_that_the_cleanup_does_not_shorten_is_a_warning(engine: Engine) {
    let database = migrated(engine).await;
    let url = database.url.as_str();
    let now = Clock::new().now();
    let append = async |spans: u32, age: Duration| {
        let end = (now - age).as_millis();
        let sql = format!(
            "insert into presence_history (tenant_id, user_id, part, started_at, ended_at, set_at, end_reason) \
             with recursive number (n) as (select 1 union all select n + 1 from number where n < {spans}) \
             select '00000000-0000-0000-0000-000000000000', 'u', 'message', 0, {end}, 0, 'expired' from number"
        );
        execute(engine, url, sql).await;
    };
    let hours = |hours| Duration::from_hours(hours);
    append(2_000, hours(190)).await;
    let good = "ok    history: kept for 168h; … KiB, the oldest span ended at 20…Z";
    assert_contains(&doctor(url, &[]), 0, &[good]);
    append(999, hours(200)).await;
    assert_contains(&doctor(url, &[]), 0, &[good]);
    append(1, hours(200)).await;
    let behind =
        "warn  history: kept for 168h; … KiB, the oldest span ended at 20…Z: the cleanup does not keep up";
    let advice = "      start the service, if it was stopped for long; if not, …";
    assert_contains(&doctor(url, &[]), 0, &[behind, advice]);
    let longer = "ok    history: kept for 720h; … KiB, the oldest span ended at 20…Z";
    assert_contains(&doctor(url, &["--history", "720h"]), 0, &[longer]);
    // A write may append a span that ended this long ago.
    let off = "ok    history: off (--history 0s); … KiB, the oldest span ended at 20…Z";
    assert_contains(&doctor(url, &["--history", "0s", "--retention", "720h"]), 0, &[off]);
}

async fn subscriptions_that_have_failed_for_over_an_hour_are_named(engine: Engine) {
    let database = migrated(engine).await;
    let url = database.url.as_str();
    let now = Clock::new().now();
    let fail = async |number: u32, age: Duration, ends_in: Duration| {
        let (since, end) = ((now - age).as_millis(), (now + ends_in).as_millis());
        let sql = format!(
            "insert into presence_subscriptions (tenant_id, subscription_id, request, signing_keys, created_at, \
             expires_at, delivered_through, leased_until, generation, failing_since, last_error) values \
             ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-0000000000{number:02}', \
             '{{\"url\":\"https://example.com/hook?code=secret\"}}', '[]', 0, {end}, 0, 0, 1, {since}, \
             'HTTP 500: words')"
        );
        execute(engine, url, sql).await;
    };
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    fail(1, hour + minute, hour).await;
    fail(2, minute * 59, hour).await;
    fail(3, hour + minute, Duration::ZERO).await;
    let said = doctor(url, &[]);
    let line = "warn  subscription: …01 to example.com/hook has failed since 20…Z: HTTP 500: words";
    let advice = "      correct the receiver, or end the subscription with DeleteSubscription";
    assert_contains(&said, 0, &[line, advice]);
    let text = String::from_utf8_lossy(&said.stdout);
    assert_eq!(text.matches("subscription: ").count(), 1, "{text}");
    assert!(!text.contains("secret"), "{text}");

    for number in 4..14 {
        fail(number, hour * number, hour).await;
    }
    let said = doctor(url, &[]);
    let more = "warn  subscription: more than 10 subscriptions have failed for over an hour";
    assert_contains(&said, 0, &["warn  subscription: …13 to …", more]);
    assert!(!String::from_utf8_lossy(&said.stdout).contains("01 to "), "{said:?}");
}

#[tokio::test]
async fn a_difference_between_the_clocks_is_a_warning_with_its_size() {
    let database = migrated(Engine::Postgres).await;
    let settings = settings(&database.url, &[]);
    let advice = "      synchronise both machines by NTP";
    let hour = Duration::from_hours(1);
    let now = Clock::new().now();
    for (clock, line) in [
        (
            now + hour,
            "warn  clock: 35….… s ahead of the database's; the service follows the database's, its log does not",
        ),
        (
            now - hour,
            "warn  clock: 360….… s behind the database's; the service follows the database's, its log does not",
        ),
    ] {
        let report = examine(&settings, &Clock::Manual(ManualClock::new(clock))).await;
        let text = report.to_string();
        assert!(text.lines().any(|found| matches(line, found)), "{text}");
        assert!(text.contains(advice), "{text}");
        assert_eq!(report.fault(), None);
    }
}

#[tokio::test]
async fn a_read_only_database_fails() {
    let database = migrated(Engine::Postgres).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let alter = format!("alter database {name} set default_transaction_read_only = on");
    execute(Engine::Postgres, &database.url, alter).await;
    let advice = "      set default_transaction_read_only = off for the server, the database and the user";
    assert_contains(&doctor(&database.url, &[]), 69, &["FAIL  writes: transactions are read-only", advice]);

    let database = migrated(Engine::Sqlite).await;
    let output = doctor(&format!("{}?mode=ro", database.url), &[]);
    let line = "FAIL  writes: …/presence.db is not writable: the URL has mode=ro";
    assert_contains(&output, 69, &[line, "      allow the user of the service to write to …"]);
}

#[tokio::test]
async fn changed_tables_and_commits_are_warnings() {
    let database = migrated(Engine::Postgres).await;
    let url = database.url.as_str();
    let (_, name) = url.rsplit_once('/').unwrap();
    for sql in [
        "alter table presence_sessions reset (fillfactor)".to_owned(),
        "alter table presence_users set (autovacuum_enabled = off)".to_owned(),
        "alter table presence_history set (autovacuum_enabled = off)".to_owned(),
        format!("alter database {name} set synchronous_commit = off"),
    ] {
        execute(Engine::Postgres, url, sql).await;
    }
    assert_contains(
        &doctor(url, &[]),
        0,
        &[
            "warn  presence_sessions: fillfactor is 100, not 70: refreshes write more, and the table grows",
            "      alter table presence_sessions set (fillfactor = 70)",
            "warn  presence_users: autovacuum is off for this table: it grows with every refresh",
            "      alter table presence_users reset (autovacuum_enabled)",
            "warn  presence_history: autovacuum is off for this table: removed spans keep their space",
            "      alter table presence_history reset (autovacuum_enabled)",
            "warn  durability: …",
        ],
    );
    let many = run(&[&FIXED[..9], &["--database-url", url, "--workers", "100"]].concat());
    let line = "FAIL  connections: a replica opens up to 910, the server allows …: enough for 0 replicas";
    assert_contains(&many, 69, &[line, "      raise max_connections, or lower --workers"]);
}

/// A server with bad settings and with users who lack privileges.
#[tokio::test]
async fn a_server_without_durability_is_a_warning_and_a_user_without_privileges_fails() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let hba = folder.path().join("pg_hba.conf");
    let rules = "host all presence 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 scram-sha-256\n";
    fs::write(&hba, rules).unwrap();
    let hba = format!("hba_file={}", hba.display());
    let cluster = Cluster::start(&["fsync=off", "autovacuum=off", &hba]);
    let url = cluster.url.as_str();
    let bad = [
        "warn  durability: fsync is off: a crash of the machine can lose acknowledged writes, and corrupt the database",
        "      set fsync = on in postgresql.conf",
        "warn  autovacuum: off: the tables grow with every refresh",
        "      set autovacuum = on in postgresql.conf",
    ];
    assert_contains(&doctor(url, &[]), 0, &bad);

    execute(Engine::Postgres, url, "create role guest login password 'right'".to_owned()).await;
    let wrong = url.replace("presence@", "guest:hunter2@");
    let output = doctor(&wrong, &[]);
    let line = "FAIL  database: PostgreSQL at …, database postgres: authentication failed: password \
                authentication failed for user \"guest\"";
    let advice = "      check the user and the password in --database-url, and the server's pg_hba.conf";
    assert_contains(&output, 69, &[line, advice]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
    let stranger = doctor(&url.replace("presence@", "stranger@"), &[]);
    assert_contains(&stranger, 69, &["FAIL  database: …: authentication failed: no pg_hba.conf entry for …"]);

    let guest = url.replace("presence@", "guest:right@");
    let line = "FAIL  writes: user guest may not create tables in schema \"public\"";
    assert_contains(&doctor(&guest, &[]), 69, &[line]);
    assert!(run(&["migrate", "--database-url", url]).status.success());
    let line = "FAIL  schema: unreadable: …permission denied for table _sqlx_migrations …";
    let advice = "      grant select on _sqlx_migrations to guest";
    assert_contains(&doctor(&guest, &[]), 69, &[line, advice]);
    execute(Engine::Postgres, url, "grant select on _sqlx_migrations, presence_users to guest".to_owned())
        .await;
    let line = "FAIL  writes: user guest lacks privileges on presence_history";
    let advice = "      grant select, insert, update, delete on presence_history to guest";
    assert_contains(&doctor(&guest, &[]), 69, &[line, advice]);

    // The user may do everything but migrate.
    let sql = "grant select, insert, update, delete on presence_sessions, presence_users, presence_history, \
               presence_subscriptions to guest";
    execute(Engine::Postgres, url, sql.to_owned()).await;
    let line = "FAIL  statements: it can't run the statement load_history: …permission denied for table presence_leases …";
    let advice = "      grant select, insert, update, delete on presence_sessions, presence_users, presence_history, presence_leases, presence_subscriptions, presence_signing_keys to guest";
    assert_contains(&doctor(&guest, &["--no-migrate"]), 69, &[line, advice]);
    let serve = run(&["serve", "--no-migrate", "--database-url", &guest]);
    assert_eq!(serve.status.code(), Some(69));
    let said = String::from_utf8_lossy(&serve.stderr);
    assert!(said.contains("it can't run the statement load_history"), "{said}");
    assert!(said.contains("presence_signing_keys to guest") && !said.contains("at line"), "{said}");
    let sql = "grant select, insert, update, delete on presence_leases, presence_signing_keys to guest";
    execute(Engine::Postgres, url, sql.to_owned()).await;
    assert_contains(
        &doctor(&guest, &["--no-migrate"]),
        0,
        &["ok    writes: allowed", "ok    statements: the database can run all of them"],
    );
    let line = "FAIL  writes: user guest may not create tables in schema \"public\"";
    assert_contains(
        &doctor(&guest, &[]),
        69,
        &[line, "      give --no-migrate and run `presenced migrate` …"],
    );
    let migrate = run(&["migrate", "--database-url", &guest]);
    assert_eq!(migrate.status.code(), Some(69));
    let said = String::from_utf8_lossy(&migrate.stderr);
    assert!(said.contains("a migration failed: permission denied for schema public"), "{said}");
}

#[tokio::test]
async fn an_unreachable_database_fails_in_time_with_its_cause() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let (proxy, url) = Proxy::to(&database.url).await;
    proxy.set(Network::Hung);
    // The proxy runs on this runtime, which must not be blocked.
    let hung = tokio::task::spawn_blocking(move || doctor(&url, &[])).await.unwrap();
    assert_contains(&hung, 69, &["FAIL  database: …: timed out: no response within 5s"]);

    let missing = doctor(&format!("{}x", database.url), &[]);
    assert_contains(
        &missing,
        69,
        &["FAIL  database: …: the database does not exist: database \"presence_…x\" does not exist"],
    );
    let encrypted = doctor(&format!("{}?sslmode=require", database.url), &[]);
    assert_contains(&encrypted, 69, &["FAIL  database: …: TLS failed: …"]);
    let nowhere = doctor("postgres://me@nowhere.invalid/presence", &[]);
    assert_contains(&nowhere, 69, &["FAIL  database: …: the host has no address: …"]);
}

#[test]
fn an_unusable_file_fails() {
    let line = "FAIL  database: SQLite at /nowhere/at/all.db: no directory /nowhere/at: No such file …";
    assert_contains(
        &doctor("sqlite:///nowhere/at/all.db", &[]),
        69,
        &[line, "      create the directory /nowhere/at, or give another file in --database-url"],
    );
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("presence.db");
    fs::write(&file, "nonsense ".repeat(1_000)).unwrap();
    let url = format!("sqlite://{}", file.display());
    assert_contains(
        &doctor(&url, &[]),
        69,
        &["FAIL  database: SQLite at …: it is unusable: file is not a database"],
    );
}

#[tokio::test]
async fn a_pgbouncer_the_database_behind_it_and_a_read_replica_are_checked() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    let flags = ["--postgres-pgbouncer", "--database-direct-url", &database.url, "--database-read-url"];
    let good = doctor(&bouncer.url, &[&flags[..], &[&bouncer.url]].concat());
    let lines = [
        "ok    database: PostgreSQL at …, version …",
        "ok    pgbouncer: PostgreSQL at …, database …",
        "ok    read replica: PostgreSQL at …, database …",
    ];
    assert_contains(&good, 0, &lines);
    let many = ["--workers", "100", "--database-url", &bouncer.url];
    let many = run(&[&FIXED[..9], &many, &flags, &[&bouncer.url]].concat());
    assert_contains(&many, 0, &["ok    connections: a replica opens up to 2, the server allows …"]);

    let gone = format!("postgres://presence@{}/presence", unused_address());
    let broken = doctor(&gone, &[&flags[..], &[&gone]].concat());
    let lines = [
        "ok    database: PostgreSQL at …, version …",
        "FAIL  database: PostgreSQL at …: no server listens there: …",
        "      start the database, or check the host and the port in --database-url",
        "warn  read replica: PostgreSQL at …: …",
    ];
    assert_contains(&broken, 69, &lines);

    let direct = doctor(&bouncer.url, &["--postgres-pgbouncer", "--database-direct-url", &gone]);
    let advice = "      start the database, or check the host and the port in --database-direct-url";
    assert_contains(&direct, 69, &["FAIL  database: PostgreSQL at …: no server listens there: …", advice]);
    let misspelt = format!("{}?sslmod=require", database.url);
    let line = "FAIL  read replica: invalid database URL: parameter \"sslmod\" is unknown, allowed are …";
    assert_contains(&doctor(&database.url, &["--database-read-url", &misspelt]), 64, &[line]);
    let line = "FAIL  pgbouncer: invalid database URL: parameter \"sslmod\" is unknown, allowed are …";
    let advice = "      correct --database-url: `presenced --help` shows the format";
    assert_contains(&doctor(&misspelt, &flags[..3]), 64, &[line, advice]);
}
