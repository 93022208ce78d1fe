//! What is the same for every engine: whether it can be reached, and its schema.

use super::{Fault, Finding, postgres, sqlite};
use crate::{
    clock::Clock,
    settings::Settings,
    store::{Cause, Inspector, OpenError, Schema, Unreached},
};

/// The flag whose URL leads to the database.
pub(super) const URL: &str = "--database-url";

pub(super) async fn check(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    // Through a pgbouncer it can't be told what the database is like.
    let direct = settings.postgres.database_direct_url.as_ref();
    let (flag, url) = match direct.filter(|_| settings.postgres.postgres_pgbouncer) {
        Some(url) => ("--database-direct-url", url),
        None => (URL, &settings.database_url),
    };
    match Inspector::new(url.expose()) {
        Ok(Inspector::Postgres(postgres)) => {
            let mut findings = postgres::check(settings, clock, flag, postgres).await;
            findings.extend(postgres::other_ways(settings).await);
            findings
        }
        Ok(Inspector::Sqlite(sqlite)) => sqlite::check(settings, &sqlite).await,
        Err(error) => vec![bad_url("database", flag, &error)],
    }
}

/// A URL that the service refuses, too.
pub(super) fn bad_url(check: &str, flag: &str, error: &OpenError) -> Finding {
    let advice = format!("give {flag} as `presenced --help` says");
    Finding::fail(Fault::Settings, check, error.to_string(), advice)
}

/// A database that the URL of a flag leads to, and that can't be reached, or has
/// stopped to answer.
pub(super) fn unreached(flag: &str, place: &str, Unreached { cause, text }: &Unreached) -> Finding {
    let (because, advice) = match cause {
        Cause::UnknownHost => {
            ("its host has no address", format!("check the host in {flag}, and this machine's DNS"))
        }
        Cause::Refused => {
            ("nobody listens there", format!("start the database, or check the host and the port in {flag}"))
        }
        Cause::NoResponse => (
            "it does not answer",
            format!(
                "see whether it hangs, and whether a firewall is between; check the host and the port in {flag}"
            ),
        ),
        Cause::Tls => (
            "there is no TLS as it is asked for",
            format!("check the server's certificate, and sslmode and sslrootcert in {flag}"),
        ),
        Cause::Authentication => (
            "it does not let the user in",
            format!("check the user and the password in {flag}, and the server's pg_hba.conf"),
        ),
        Cause::NoDatabase => ("there is no such database", format!("create it, or check its name in {flag}")),
        Cause::Other => ("it can't be used", format!("check {flag}, and see the database's own log")),
    };
    Finding::fail(Fault::Database, "database", format!("{place}: {because}: {text}"), advice)
}

/// How the schema stands to this binary's.
pub(super) fn schema(schema: &Schema, no_migrate: bool) -> Finding {
    const MIGRATE: &str = "run `presenced migrate`";
    match schema {
        Schema::Same(version) => {
            Finding::ok("schema", format!("version {version}, the same as this binary's"))
        }
        Schema::Older { theirs: 0, .. } if no_migrate => {
            Finding::fail(Fault::Database, "schema", "there is none, and --no-migrate is given", MIGRATE)
        }
        Schema::Older { theirs: 0, ours } => Finding::ok(
            "schema",
            format!("none yet; the service, or `presenced migrate`, makes version {ours} when it starts"),
        ),
        Schema::Older { theirs, ours } if no_migrate => Finding::fail(
            Fault::Database,
            "schema",
            format!("version {theirs}; this binary needs version {ours}, and --no-migrate is given"),
            MIGRATE,
        ),
        Schema::Older { theirs, ours } => Finding::ok(
            "schema",
            format!(
                "version {theirs}; the service, or `presenced migrate`, makes it version {ours} when it starts"
            ),
        ),
        Schema::Newer { theirs, ours } => Finding::warn(
            "schema",
            format!("version {theirs}, newer than this binary's {ours}, and only adds to it"),
            "upgrade this binary, too",
        ),
        Schema::Breaking { theirs, ours, version, name } => Finding::fail(
            Fault::Database,
            "schema",
            format!("version {theirs}; this binary knows up to {ours}, and {version} ({name}) shuts it out"),
            "upgrade this binary",
        ),
    }
}
