//! A PostgreSQL: its version, its clock, what it promises, and room for replicas.

use super::{
    Fault, Finding,
    database::{URL, bad_url, schema, unreached},
};
use crate::{
    app::database_connections,
    clock::Clock,
    health::{SKEW_MAX, is_skewed, skew_ms},
    settings::{PostgresSettings, Settings},
    store::{PostgresInspector, Server, TableStats, Unreached},
};

/// What our statements need.
const MAJOR_MIN: i32 = 15;

/// What the migrations leave free on each page, so that a refresh stays on its own.
const FILLFACTOR: &str = "70";

/// Dead rows beyond as many as there are live ones with which a table is bloated:
/// autovacuum comes at a fifth.
const DEAD_MIN: i64 = 100_000;

pub(super) async fn check(
    settings: &Settings,
    clock: &Clock,
    flag: &str,
    mut postgres: PostgresInspector,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What was found before the database stopped to answer is said, too.
    if let Err(error) = ask(settings, clock, flag, &mut postgres, &mut findings).await {
        findings.push(unreached(flag, &postgres.describe(), &error));
    }
    findings
}

/// Whether the pgbouncer, and the read replica, are there, if there are to be any.
/// Without the replica the service works, at the cost of the database.
pub(super) async fn other_ways(settings: &Settings) -> Vec<Finding> {
    let PostgresSettings { postgres_pgbouncer, database_read_url, .. } = &settings.postgres;
    let mut findings = Vec::new();
    if *postgres_pgbouncer {
        let url = settings.database_url.expose();
        findings.push(way("pgbouncer", URL, url, true, |place, error| unreached(URL, place, error)).await);
    }
    if let Some(url) = database_read_url {
        const FLAG: &str = "--database-read-url";
        let away = |place: &str, error: &Unreached| {
            let advice = format!("start it, or check {FLAG}: until then the database answers for it");
            Finding::warn("read replica", format!("{place}: {error}"), advice)
        };
        findings.push(way("read replica", FLAG, url.expose(), *postgres_pgbouncer, away).await);
    }
    findings
}

/// Whether what the URL of a flag leads to is there; `away` says what it is if not.
async fn way(
    check: &str,
    flag: &str,
    url: &str,
    through_pgbouncer: bool,
    away: impl FnOnce(&str, &Unreached) -> Finding,
) -> Finding {
    let way = if through_pgbouncer {
        PostgresInspector::through_pgbouncer(url)
    } else {
        PostgresInspector::new(url)
    };
    match way {
        Ok(mut way) => match way.reach().await {
            Ok(()) => Finding::ok(check, way.describe()),
            Err(error) => away(&way.describe(), &error),
        },
        Err(error) => bad_url(check, flag, &error),
    }
}

async fn ask(
    settings: &Settings,
    clock: &Clock,
    flag: &str,
    postgres: &mut PostgresInspector,
    findings: &mut Vec<Finding>,
) -> Result<(), Unreached> {
    postgres.reach().await?;
    let before = clock.now();
    let server = postgres.server().await?;
    let skew = skew_ms(before, server.time, clock.now());
    findings.push(version(&postgres.describe(), &server));
    findings.push(time(skew));
    findings.push(durability(&server));
    findings.push(autovacuum(&server));
    findings.push(connections(database_connections(settings), server.connections));
    let standing = match postgres.schema().await {
        Ok(standing) => standing,
        Err(error) => {
            let advice = format!("see whether {} may read the table _sqlx_migrations", postgres.user());
            findings.push(Finding::fail(
                Fault::Database,
                "schema",
                format!("it can't be read: {error}"),
                advice,
            ));
            return Ok(());
        }
    };
    findings.push(schema(&standing, settings.no_migrate));
    let tables = postgres.tables().await?;
    findings.push(writes(flag, postgres.user(), &server, &tables, !settings.no_migrate));
    findings.extend(tables.iter().map(table));
    Ok(())
}

fn version(place: &str, Server { version, major, .. }: &Server) -> Finding {
    let detail = format!("{place}, version {version}");
    if *major >= MAJOR_MIN {
        return Finding::ok("database", detail);
    }
    let detail = format!("{detail}, which is too old");
    Finding::fail(Fault::Database, "database", detail, format!("upgrade PostgreSQL to {MAJOR_MIN} or later"))
}

/// Whether it can be written, and if it is to be migrated, whether it can: sqlx makes
/// its table unless that is there, and the right to make it is asked for first.
fn writes(flag: &str, user: &str, server: &Server, tables: &[TableStats], migrates: bool) -> Finding {
    let refused = tables.iter().find(|table| !table.may_write);
    let (detail, advice) = if server.is_standby {
        ("it is a standby, which can only be read".to_owned(), format!("give the primary in {flag}"))
    } else if server.is_read_only {
        (
            "its transactions are read-only".to_owned(),
            "turn default_transaction_read_only off for the server, the database and the user".to_owned(),
        )
    } else if let Some(TableStats { name, .. }) = refused {
        (
            format!("the user {user} may not read and write {name}"),
            format!("grant select, insert, update, delete on {name} to {user}"),
        )
    } else if migrates && !server.may_create {
        let schema = &server.schema;
        (
            format!("the user {user} may not make tables in the schema {schema:?}"),
            format!(
                "give --no-migrate, and run `presenced migrate` as a user who may; or grant create on its schema to \
                 {user}"
            ),
        )
    } else {
        return Finding::ok("writes", "allowed");
    };
    Finding::fail(Fault::Database, "writes", detail, advice)
}

fn time(skew_ms: i64) -> Finding {
    if !is_skewed(skew_ms) {
        return Finding::ok("clock", format!("within {SKEW_MAX:?} of the database's"));
    }
    let way = if skew_ms > 0 { "ahead of" } else { "behind" };
    let (seconds, rest) = (skew_ms.unsigned_abs() / 1_000, skew_ms.unsigned_abs() % 1_000);
    let detail = format!("{seconds}.{rest:03} s {way} the database's");
    let advice =
        format!("let NTP set the clocks of both machines: past {SKEW_MAX:?} the service is not ready");
    Finding::fail(Fault::Other, "clock", detail, advice)
}

/// Whether what was answered can be lost.
fn durability(Server { fsync, synchronous_commit, .. }: &Server) -> Finding {
    if !fsync {
        let detail =
            "fsync is off: a crash of its machine can lose what was acknowledged, and the whole database";
        return Finding::warn("durability", detail, "set fsync = on in postgresql.conf");
    }
    if synchronous_commit == "off" {
        let detail = "synchronous_commit is off: a crash of the database can lose what was acknowledged";
        let advice = "set synchronous_commit = on for the server, the database and the user";
        return Finding::warn("durability", detail, advice);
    }
    Finding::ok("durability", format!("fsync is on, synchronous_commit is {synchronous_commit}"))
}

fn autovacuum(server: &Server) -> Finding {
    if server.autovacuum {
        return Finding::ok("autovacuum", "on");
    }
    let detail = "off: the tables grow with every refresh";
    Finding::warn("autovacuum", detail, "set autovacuum = on in postgresql.conf")
}

fn table(table: &TableStats) -> Finding {
    let TableStats { name, options, live, dead, vacuumed, .. } = table;
    let option = |name: &str| {
        options
            .iter()
            .filter_map(|option| option.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let fillfactor = option("fillfactor").unwrap_or("100");
    if fillfactor != FILLFACTOR {
        let detail = format!(
            "fillfactor is {fillfactor}, not {FILLFACTOR}: refreshes write more, and the table grows"
        );
        let advice = format!("alter table {name} set (fillfactor = {FILLFACTOR})");
        return Finding::warn(name, detail, advice);
    }
    if option("autovacuum_enabled").is_some_and(|value| matches!(value, "false" | "off" | "no" | "0")) {
        let detail = "autovacuum is off for it: it grows with every refresh";
        return Finding::warn(name, detail, format!("alter table {name} reset (autovacuum_enabled)"));
    }
    if *dead > live.saturating_add(DEAD_MIN) {
        let last = vacuumed.map_or_else(|| "never".to_owned(), |time| format!("last at {time}"));
        let detail = format!("about {dead} dead rows beside {live} live ones; vacuumed {last}");
        let advice = format!(
            "vacuum {name}, and see what holds autovacuum up: a transaction that is open for long, a replication \
             slot, or autovacuum_vacuum_cost_limit"
        );
        return Finding::warn(name, detail, advice);
    }
    Finding::ok(name, format!("fillfactor {fillfactor}, vacuumed by autovacuum"))
}

/// How many replicas the server has room for.
fn connections(needed: u32, allowed: u32) -> Finding {
    let fit = allowed / needed.max(1);
    let detail = format!(
        "a replica opens up to {needed}, the server allows {allowed}: room for {fit} {}",
        if fit == 1 { "replica" } else { "replicas" }
    );
    let advice = "raise max_connections, or give fewer --workers";
    match fit {
        0 => Finding::fail(Fault::Database, "connections", detail, advice),
        1 => Finding::warn("connections", format!("{detail}, so none to replace it"), advice),
        _ => Finding::ok("connections", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and how bad it is.
    #[track_caller]
    fn assert_found(finding: Finding, line: &str) {
        let report = super::super::Report::new(vec![finding]).to_string();
        assert_eq!(report.lines().next(), Some(line));
    }

    fn server(major: i32, is_standby: bool) -> Server {
        Server {
            version: format!("{major}.1"),
            major,
            time: crate::presence::Timestamp::from_millis(0),
            is_standby,
            is_read_only: is_standby,
            fsync: true,
            synchronous_commit: "off".to_owned(),
            autovacuum: true,
            connections: 97,
            schema: "public".to_owned(),
            may_create: true,
        }
    }

    #[test]
    fn what_the_server_is_decides() {
        assert_found(version("here", &server(15, false)), "ok    database: here, version 15.1");
        assert_found(
            version("here", &server(14, false)),
            "FAIL  database: here, version 14.1, which is too old",
        );
        let standby = "FAIL  writes: it is a standby, which can only be read";
        assert_found(writes("--database-url", "me", &server(15, true), &[], false), standby);
        let off = "warn  durability: synchronous_commit is off: a crash of the database can lose what was acknowledged";
        assert_found(durability(&server(15, false)), off);
    }

    #[test]
    fn a_table_that_is_not_vacuumed_is_warned_of() {
        let of = |live, dead| TableStats {
            name: "presence_sessions".to_owned(),
            options: vec!["fillfactor=70".to_owned(), "autovacuum_enabled=true".to_owned()],
            may_write: true,
            live,
            dead,
            vacuumed: None,
        };
        let good = "ok    presence_sessions: fillfactor 70, vacuumed by autovacuum";
        assert_found(table(&of(0, DEAD_MIN)), good);
        assert_found(table(&of(50_000, DEAD_MIN + 50_000)), good);
        let bloated =
            "warn  presence_sessions: about 150001 dead rows beside 50000 live ones; vacuumed never";
        assert_found(table(&of(50_000, DEAD_MIN + 50_001)), bloated);
    }

    #[test]
    fn a_replica_needs_room_for_the_one_that_replaces_it() {
        let line = |verdict, fit| {
            format!("{verdict}  connections: a replica opens up to 40, the server allows {fit}")
        };
        assert_found(connections(40, 80), &line("ok  ", "80: room for 2 replicas"));
        assert_found(connections(40, 79), &line("warn", "79: room for 1 replica, so none to replace it"));
        assert_found(connections(40, 39), &line("FAIL", "39: room for 0 replicas"));
    }
}
