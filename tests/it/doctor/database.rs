//! Databases that can't be used, or should be better.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use presenced::{
    clock::{Clock, ManualClock},
    doctor::{Fault, examine},
};
use tempfile::TempDir;

use super::{AROUND, FIXED, assert_prints, assert_says, doctor, good_database};
use crate::{
    cli::{execute, run},
    support::{
        database::{Cluster, Engine, TestDatabase},
        matches, on_every_engine,
        pgbouncer::Pgbouncer,
        process::nobody,
        proxy::{Network, Proxy},
        server::settings,
    },
};

on_every_engine![a_schema_of_another_version_is_told];

/// A database that is migrated.
async fn migrated(engine: Engine) -> TestDatabase {
    let database = TestDatabase::new(engine).await;
    assert!(run(&["migrate", "--database-url", &database.url]).status.success());
    database
}

async fn a_schema_of_another_version_is_told(engine: Engine) {
    let database = migrated(engine).await;
    let url = database.url.as_str();
    execute(engine, url, "delete from _sqlx_migrations where version = 3".to_owned()).await;
    let older =
        "ok    schema: version 2; the service, or `presenced migrate`, makes it version 3 when it starts";
    assert_says(&doctor(url, &[]), 0, &[older]);
    let refused = "FAIL  schema: version 2; this binary needs version 3, and --no-migrate is given";
    assert_says(&doctor(url, &["--no-migrate"]), 69, &[refused, "      run `presenced migrate`"]);

    let newer = |version: i64, name: &str| {
        let checksum = if engine == Engine::Postgres { "'\\x00'" } else { "x'00'" };
        format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values ({version}, '{name}', true, {checksum}, 0)"
        )
    };
    execute(engine, url, newer(900, "adds something")).await;
    let line = "warn  schema: version 900, newer than this binary's 3, and only adds to it";
    assert_says(&doctor(url, &[]), 0, &[line, "      upgrade this binary, too"]);

    execute(engine, url, newer(901, "breaking drops something")).await;
    let line = "FAIL  schema: version 901; this binary knows up to 3, and 901 (breaking drops something) shuts it out";
    let mut lines = good_database(engine, url, line).await;
    let place = lines.iter().position(|found| *found == line).unwrap();
    lines.insert(place + 1, "      upgrade this binary");
    lines.extend(AROUND);
    assert_prints(&doctor(url, &[]), 69, &lines);
}

#[tokio::test]
async fn a_clock_that_is_off_the_databases_is_told_with_how_much() {
    let database = migrated(Engine::Postgres).await;
    let settings = settings(&database.url, &[]);
    let advice = "      let NTP set the clocks of both machines: past 2s the service is not ready";
    let hour = Duration::from_hours(1);
    let now = Clock::System.now();
    for (clock, line) in [
        (now + hour, "FAIL  clock: 35….… s ahead of the database's"),
        (now - hour, "FAIL  clock: 360….… s behind the database's"),
    ] {
        let report = examine(&settings, &Clock::Manual(ManualClock::new(clock))).await;
        let text = report.to_string();
        assert!(text.lines().any(|found| matches(line, found)), "{text}");
        assert!(text.contains(advice), "{text}");
        assert_eq!(report.fault(), Some(Fault::Other));
    }
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_told() {
    let database = migrated(Engine::Postgres).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let alter = format!("alter database {name} set default_transaction_read_only = on");
    execute(Engine::Postgres, &database.url, alter).await;
    let advice = "      turn default_transaction_read_only off for the server, the database and the user";
    assert_says(&doctor(&database.url, &[]), 69, &["FAIL  writes: its transactions are read-only", advice]);

    let database = migrated(Engine::Sqlite).await;
    let output = doctor(&format!("{}?mode=ro", database.url), &[]);
    let line = "FAIL  writes: …/presence.db can't be written: the URL has mode=ro";
    assert_says(&output, 69, &[line, "      let the user as whom the service runs write to …"]);
}

#[tokio::test]
async fn tables_and_commits_that_were_changed_are_warned_of() {
    let database = migrated(Engine::Postgres).await;
    let url = database.url.as_str();
    let (_, name) = url.rsplit_once('/').unwrap();
    for sql in [
        "alter table presence_sessions reset (fillfactor)".to_owned(),
        "alter table presence_users set (autovacuum_enabled = off)".to_owned(),
        format!("alter database {name} set synchronous_commit = off"),
    ] {
        execute(Engine::Postgres, url, sql).await;
    }
    assert_says(
        &doctor(url, &[]),
        0,
        &[
            "warn  presence_sessions: fillfactor is 100, not 70: refreshes write more, and the table grows",
            "      alter table presence_sessions set (fillfactor = 70)",
            "warn  presence_users: autovacuum is off for it: it grows with every refresh",
            "      alter table presence_users reset (autovacuum_enabled)",
            "warn  durability: …",
        ],
    );
    let many = run(&[&FIXED[..9], &["--database-url", url, "--workers", "100"]].concat());
    let line = "FAIL  connections: a replica opens up to 805, the server allows …: room for 0 replicas";
    assert_says(&many, 69, &[line, "      raise max_connections, or give fewer --workers"]);
}

/// A server of its own, whose settings are as bad as its users.
#[tokio::test]
async fn a_server_that_forgets_and_users_that_may_not_are_told() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let hba = folder.path().join("pg_hba.conf");
    let rules = "host all presence 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 scram-sha-256\n";
    fs::write(&hba, rules).unwrap();
    let hba = format!("hba_file={}", hba.display());
    let cluster = Cluster::start(&["fsync=off", "autovacuum=off", &hba]);
    let url = cluster.url.as_str();
    let bad = [
        "warn  durability: fsync is off: a crash of its machine can lose what was acknowledged, and the whole database",
        "      set fsync = on in postgresql.conf",
        "warn  autovacuum: off: the tables grow with every refresh",
        "      set autovacuum = on in postgresql.conf",
    ];
    assert_says(&doctor(url, &[]), 0, &bad);

    execute(Engine::Postgres, url, "create role guest login password 'right'".to_owned()).await;
    let wrong = url.replace("presence@", "guest:hunter2@");
    let output = doctor(&wrong, &[]);
    let line = "FAIL  database: PostgreSQL at …, database postgres: it does not let the user in: password \
                authentication failed for user \"guest\"";
    let advice = "      check the user and the password in --database-url, and the server's pg_hba.conf";
    assert_says(&output, 69, &[line, advice]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
    let stranger = doctor(&url.replace("presence@", "stranger@"), &[]);
    assert_says(
        &stranger,
        69,
        &["FAIL  database: …: it does not let the user in: no pg_hba.conf entry for …"],
    );

    let guest = url.replace("presence@", "guest:right@");
    let line = "FAIL  writes: the user guest may not make tables in the schema \"public\"";
    assert_says(&doctor(&guest, &[]), 69, &[line]);
    assert!(run(&["migrate", "--database-url", url]).status.success());
    let line = "FAIL  schema: it can't be read: …permission denied for table _sqlx_migrations …";
    let advice = "      see whether guest may read the table _sqlx_migrations";
    assert_says(&doctor(&guest, &[]), 69, &[line, advice]);
    execute(Engine::Postgres, url, "grant select on _sqlx_migrations, presence_users to guest".to_owned())
        .await;
    let line = "FAIL  writes: the user guest may not read and write presence_sessions";
    let advice = "      grant select, insert, update, delete on presence_sessions to guest";
    assert_says(&doctor(&guest, &[]), 69, &[line, advice]);

    // It may do all that the service does, but for the migrations.
    let sql = "grant select, insert, update, delete on presence_sessions, presence_users to guest";
    execute(Engine::Postgres, url, sql.to_owned()).await;
    assert_says(&doctor(&guest, &["--no-migrate"]), 0, &["ok    writes: allowed"]);
    let line = "FAIL  writes: the user guest may not make tables in the schema \"public\"";
    assert_says(&doctor(&guest, &[]), 69, &[line, "      give --no-migrate, and run `presenced migrate` …"]);
    let migrate = run(&["migrate", "--database-url", &guest]);
    assert_eq!(migrate.status.code(), Some(69));
    let said = String::from_utf8_lossy(&migrate.stderr);
    assert!(said.contains("it can't be migrated: permission denied for schema public"), "{said}");
}

#[tokio::test]
async fn a_database_that_hangs_or_is_not_there_is_told_in_time() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let (proxy, url) = Proxy::to(&database.url).await;
    proxy.set(Network::Hung);
    // The proxy runs here, meanwhile.
    let hung = tokio::task::spawn_blocking(move || doctor(&url, &[])).await.unwrap();
    assert_says(&hung, 69, &["FAIL  database: …: it does not answer: no response within 5s"]);

    let missing = doctor(&format!("{}x", database.url), &[]);
    assert_says(
        &missing,
        69,
        &["FAIL  database: …: there is no such database: database \"presence_…x\" does not exist"],
    );
    let encrypted = doctor(&format!("{}?sslmode=require", database.url), &[]);
    assert_says(&encrypted, 69, &["FAIL  database: …: there is no TLS as it is asked for: …"]);
    let nowhere = doctor("postgres://me@nowhere.invalid/presence", &[]);
    assert_says(&nowhere, 69, &["FAIL  database: …: its host has no address: …"]);
}

#[test]
fn a_file_that_cannot_be_used_is_told() {
    let line = "FAIL  database: SQLite at /nowhere/at/all.db: there is no folder /nowhere/at: No such file …";
    assert_says(
        &doctor("sqlite:///nowhere/at/all.db", &[]),
        69,
        &[line, "      make the folder /nowhere/at, or give another file in --database-url"],
    );
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("presence.db");
    fs::write(&file, "nonsense ".repeat(1_000)).unwrap();
    let url = format!("sqlite://{}", file.display());
    assert_says(
        &doctor(&url, &[]),
        69,
        &["FAIL  database: SQLite at …: it can't be used: file is not a database"],
    );
}

#[tokio::test]
async fn a_pgbouncer_and_a_read_replica_are_looked_for_and_the_database_past_them() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let bouncer = Pgbouncer::to(&database.url).await;
    let flags = ["--postgres-pgbouncer", "--database-direct-url", &database.url, "--database-read-url"];
    let good = doctor(&bouncer.url, &[&flags[..], &[&bouncer.url]].concat());
    let lines = [
        "ok    database: PostgreSQL at …, version …",
        "ok    pgbouncer: PostgreSQL at …, database …",
        "ok    read replica: PostgreSQL at …, database …",
    ];
    assert_says(&good, 0, &lines);
    let many = ["--workers", "100", "--database-url", &bouncer.url];
    let many = run(&[&FIXED[..9], &many, &flags, &[&bouncer.url]].concat());
    assert_says(&many, 0, &["ok    connections: a replica opens up to 2, the server allows …"]);

    let gone = format!("postgres://presence@{}/presence", nobody());
    let broken = doctor(&gone, &[&flags[..], &[&gone]].concat());
    let lines = [
        "ok    database: PostgreSQL at …, version …",
        "FAIL  database: PostgreSQL at …: nobody listens there: …",
        "      start the database, or check the host and the port in --database-url",
        "warn  read replica: PostgreSQL at …: …",
    ];
    assert_says(&broken, 69, &lines);

    let direct = doctor(&bouncer.url, &["--postgres-pgbouncer", "--database-direct-url", &gone]);
    let advice = "      start the database, or check the host and the port in --database-direct-url";
    assert_says(&direct, 69, &["FAIL  database: PostgreSQL at …: nobody listens there: …", advice]);
    let misspelt = format!("{}?sslmod=require", database.url);
    let line = "FAIL  read replica: invalid database URL: parameter \"sslmod\" is unknown, allowed are …";
    assert_says(&doctor(&database.url, &["--database-read-url", &misspelt]), 64, &[line]);
    let line = "FAIL  pgbouncer: invalid database URL: parameter \"sslmod\" is unknown, allowed are …";
    let advice = "      give --database-url as `presenced --help` says";
    assert_says(&doctor(&misspelt, &flags[..3]), 64, &[line, advice]);
}
