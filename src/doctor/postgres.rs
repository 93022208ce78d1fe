//! PostgreSQL: its version, clock, durability, tables and connections.

use std::time::Duration;

use super::{
    database::{URL, invalid_url, schema, unreached},
    history,
    report::{Fault, Finding},
    subscriptions,
};
use crate::{
    app::database_connections,
    clock::Clock,
    presence::Timestamp,
    settings::{PostgresSettings, Settings},
    store::{FailedStatement, PostgresInspector, Server, TableStats, Unreached},
};

/// The oldest version that supports our statements.
const MAJOR_MIN: i32 = 15;

/// The difference between the clocks beyond which the doctor warns: log lines of the service
/// and of the database are then hard to compare.
const SKEW_MAX: Duration = Duration::from_secs(2);

/// The fill factors that the migrations set: a refresh, or the renewal of a lease, then finds free space on
/// its page. The rows of the history never change, so its pages need no free space.
const FILLFACTORS: [(&str, &str); 3] =
    [("presence_sessions", "70"), ("presence_users", "70"), ("presence_subscriptions", "50")];

/// A table is bloated if it has this many more dead rows than live ones. Autovacuum runs
/// at a fifth of the live rows.
const DEAD_MIN: i64 = 100_000;

pub(super) async fn check(
    settings: &Settings,
    clock: &Clock,
    flag: &str,
    mut postgres: PostgresInspector,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Findings from before the database stopped responding remain.
    if let Err(error) = inspect(settings, clock, flag, &mut postgres, &mut findings).await {
        findings.push(unreached(flag, &postgres.describe(), &error));
    }
    findings
}

/// Checks that the pgbouncer and the read replica are reachable, if the settings name
/// them. Without the replica the service works, but the database has more load.
pub(super) async fn check_other_urls(settings: &Settings) -> Vec<Finding> {
    let PostgresSettings { postgres_pgbouncer, database_read_url, .. } = &settings.postgres;
    let mut findings = Vec::new();
    if *postgres_pgbouncer {
        let url = settings.database_url.expose();
        findings.push(reach("pgbouncer", URL, url, true, |place, error| unreached(URL, place, error)).await);
    }
    if let Some(url) = database_read_url {
        const FLAG: &str = "--database-read-url";
        let unavailable = |place: &str, error: &Unreached| {
            let advice = format!("start it, or check {FLAG}; until then the database serves its reads");
            Finding::warn("read replica", format!("{place}: {error}"), advice)
        };
        findings.push(reach("read replica", FLAG, url.expose(), *postgres_pgbouncer, unavailable).await);
    }
    findings
}

/// Checks that the server at a URL is reachable; `unreachable` makes the finding if not.
async fn reach(
    check: &str,
    flag: &str,
    url: &str,
    through_pgbouncer: bool,
    unreachable: impl FnOnce(&str, &Unreached) -> Finding,
) -> Finding {
    let server = if through_pgbouncer {
        PostgresInspector::through_pgbouncer(url)
    } else {
        PostgresInspector::new(url)
    };
    match server {
        Ok(mut server) => match server.reach().await {
            Ok(()) => Finding::ok(check, server.describe()),
            Err(error) => unreachable(&server.describe(), &error),
        },
        Err(error) => invalid_url(check, flag, &error),
    }
}

async fn inspect(
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
    findings.push(clock_skew(skew));
    findings.push(durability(&server));
    findings.push(autovacuum(&server));
    findings.push(connections(database_connections(settings), server.connections));
    let version = match postgres.schema().await {
        Ok(version) => version,
        Err(error) => {
            let advice = format!("grant select on _sqlx_migrations to {}", postgres.user());
            findings.push(Finding::fail(Fault::Database, "schema", format!("unreadable: {error}"), advice));
            return Ok(());
        }
    };
    findings.push(schema(&version, settings.no_migrate));
    let tables = postgres.tables().await?;
    findings.push(writes(flag, postgres.user(), &server, &tables, !settings.no_migrate));
    let is_known = history::is_readable(&version);
    let may_write = tables.iter().all(|table| table.may_write);
    if is_known && may_write && !server.is_read_only {
        findings.push(statements(postgres.check_statements().await, postgres.user()));
    }
    findings.extend(tables.iter().map(table));
    if is_known && may_write {
        let before = history::old_before(settings, server.time);
        let found = postgres.history(before, history::OLD_SPANS).await?;
        findings.push(history::check(settings, found));
        let before = subscriptions::failed_before(server.time);
        let failing = postgres.failing_subscriptions(server.time, before, subscriptions::READ).await?;
        findings.extend(subscriptions::check(&failing));
    }
    Ok(())
}

fn version(place: &str, Server { version, major, .. }: &Server) -> Finding {
    let detail = format!("{place}, version {version}");
    if *major >= MAJOR_MIN {
        return Finding::ok("database", detail);
    }
    let detail = format!("{detail}, is too old");
    Finding::fail(Fault::Database, "database", detail, format!("upgrade PostgreSQL to {MAJOR_MIN} or later"))
}

/// Whether the user may write, and may migrate if the service shall: sqlx creates its table
/// if that is missing, and checks the permission first.
fn writes(flag: &str, user: &str, server: &Server, tables: &[TableStats], migrates: bool) -> Finding {
    let refused = tables.iter().find(|table| !table.may_write);
    let (detail, advice) = if server.is_standby {
        (
            "the server is a standby, which is read-only".to_owned(),
            format!("give the URL of the primary in {flag}"),
        )
    } else if server.is_read_only {
        (
            "transactions are read-only".to_owned(),
            "set default_transaction_read_only = off for the server, the database and the user".to_owned(),
        )
    } else if let Some(TableStats { name, .. }) = refused {
        (
            format!("user {user} lacks privileges on {name}"),
            format!("grant select, insert, update, delete on {name} to {user}"),
        )
    } else if migrates && !server.may_create {
        let schema = &server.schema;
        (
            format!("user {user} may not create tables in schema {schema:?}"),
            format!(
                "give --no-migrate and run `presenced migrate` as a user who may, or grant create on the schema to \
                 {user}"
            ),
        )
    } else {
        return Finding::ok("writes", "allowed");
    };
    Finding::fail(Fault::Database, "writes", detail, advice)
}

/// Whether the database can run every statement of the service.
fn statements(checked: Result<(), FailedStatement>, user: &str) -> Finding {
    match checked {
        Ok(()) => Finding::ok("statements", "the database can run all of them"),
        Err(failed) => {
            let advice = failed.grant(user).unwrap_or_else(|| {
                "run `presenced migrate`; if that doesn't help, compare the tables with migrations/"
                    .to_owned()
            });
            Finding::fail(Fault::Database, "statements", failed.to_string(), advice)
        }
    }
}

/// The least possible difference between this machine's clock and the database's, in
/// milliseconds; positive if this machine's is ahead. The database read its clock between our two
/// readings.
fn skew_ms(before: Timestamp, database: Timestamp, after: Timestamp) -> i64 {
    let off = |ours: Timestamp| ours.as_millis().saturating_sub(database.as_millis());
    off(before).max(0).saturating_add(off(after).min(0))
}

fn clock_skew(skew_ms: i64) -> Finding {
    if u128::from(skew_ms.unsigned_abs()) <= SKEW_MAX.as_millis() {
        return Finding::ok("clock", format!("within {SKEW_MAX:?} of the database's"));
    }
    let direction = if skew_ms > 0 { "ahead of" } else { "behind" };
    let (seconds, rest) = (skew_ms.unsigned_abs() / 1_000, skew_ms.unsigned_abs() % 1_000);
    let detail = format!(
        "{seconds}.{rest:03} s {direction} the database's; the service follows the database's, its log does not"
    );
    Finding::warn("clock", detail, "synchronise both machines by NTP")
}

/// Whether an acknowledged write can be lost.
fn durability(Server { fsync, synchronous_commit, .. }: &Server) -> Finding {
    if !fsync {
        let detail =
            "fsync is off: a crash of the machine can lose acknowledged writes, and corrupt the database";
        return Finding::warn("durability", detail, "set fsync = on in postgresql.conf");
    }
    if synchronous_commit == "off" {
        let detail = "synchronous_commit is off: a crash of the database can lose acknowledged writes";
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
    let wanted = FILLFACTORS.iter().find(|(table, _)| table == name).map(|(_, fillfactor)| *fillfactor);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != fillfactor) {
        let detail =
            format!("fillfactor is {fillfactor}, not {wanted}: refreshes write more, and the table grows");
        let advice = format!("alter table {name} set (fillfactor = {wanted})");
        return Finding::warn(name, detail, advice);
    }
    if option("autovacuum_enabled").is_some_and(|value| matches!(value, "false" | "off" | "no" | "0")) {
        let detail = if wanted.is_some() {
            "autovacuum is off for this table: it grows with every refresh"
        } else {
            "autovacuum is off for this table: removed spans keep their space"
        };
        return Finding::warn(name, detail, format!("alter table {name} reset (autovacuum_enabled)"));
    }
    if *dead > live.saturating_add(DEAD_MIN) {
        let last = vacuumed.map_or_else(|| "never".to_owned(), |time| format!("at {time}"));
        let detail = format!("about {dead} dead rows and {live} live rows; last vacuumed {last}");
        let advice = format!(
            "vacuum {name}, and find out what delays autovacuum: a long transaction, a replication slot, or \
             autovacuum_vacuum_cost_limit"
        );
        return Finding::warn(name, detail, advice);
    }
    if wanted.is_none() {
        return Finding::ok(name, "vacuumed by autovacuum");
    }
    Finding::ok(name, format!("fillfactor {fillfactor}, vacuumed by autovacuum"))
}

/// The number of replicas for which the server has enough connections.
fn connections(needed: u32, allowed: u32) -> Finding {
    let fit = allowed / needed.max(1);
    let detail = format!(
        "a replica opens up to {needed}, the server allows {allowed}: enough for {fit} {}",
        if fit == 1 { "replica" } else { "replicas" }
    );
    let advice = "raise max_connections, or lower --workers";
    match fit {
        0 => Finding::fail(Fault::Database, "connections", detail, advice),
        1 => Finding::warn(
            "connections",
            format!("{detail}, but not for its replacement during an upgrade"),
            advice,
        ),
        _ => Finding::ok("connections", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the first line of the finding.
    #[track_caller]
    fn assert_found(finding: Finding, line: &str) {
        let report = crate::doctor::Report::new(vec![finding]).to_string();
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
    fn the_properties_of_the_server_decide_the_verdicts() {
        assert_found(version("here", &server(15, false)), "ok    database: here, version 15.1");
        assert_found(version("here", &server(14, false)), "FAIL  database: here, version 14.1, is too old");
        let standby = "FAIL  writes: the server is a standby, which is read-only";
        assert_found(writes("--database-url", "me", &server(15, true), &[], false), standby);
        let off = "warn  durability: synchronous_commit is off: a crash of the database can lose acknowledged writes";
        assert_found(durability(&server(15, false)), off);
    }

    #[test]
    fn the_skew_is_the_distance_of_the_databases_time_from_our_two_readings() {
        let at = crate::presence::Timestamp::from_millis;
        for (before, database, after, skew) in [
            (1_000, 1_000, 1_000, 0),
            (1_000, 1_500, 9_000, 0),
            (5_000, 3_000, 6_000, 2_000),
            (5_001, 3_000, 6_000, 2_001),
            (0, 3_000, 1_000, -2_000),
        ] {
            assert_eq!(skew_ms(at(before), at(database), at(after)), skew);
        }
        assert_found(clock_skew(-2_000), "ok    clock: within 2s of the database's");
        let ahead = "warn  clock: 2.001 s ahead of the database's; the service follows the database's, its log does not";
        assert_found(clock_skew(2_001), ahead);
    }

    #[test]
    fn a_table_with_too_many_dead_rows_is_a_warning() {
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
            "warn  presence_sessions: about 150001 dead rows and 50000 live rows; last vacuumed never";
        assert_found(table(&of(50_000, DEAD_MIN + 50_001)), bloated);
    }

    #[test]
    fn a_replica_needs_connections_for_its_replacement() {
        let line = |verdict, fit| {
            format!("{verdict}  connections: a replica opens up to 40, the server allows {fit}")
        };
        assert_found(connections(40, 80), &line("ok  ", "80: enough for 2 replicas"));
        assert_found(
            connections(40, 79),
            &line("warn", "79: enough for 1 replica, but not for its replacement during an upgrade"),
        );
        assert_found(connections(40, 39), &line("FAIL", "39: enough for 0 replicas"));
    }
}
