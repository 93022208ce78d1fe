//! Findings that both engines share: the connection and the schema.

use super::report::{Fault, Finding};
use crate::store::{Cause, OpenError, Schema, Unreached};

/// The flag with the database's URL.
pub(super) const URL: &str = "--database-url";

/// A URL that the service does not accept.
pub(super) fn invalid_url(check: &str, flag: &str, error: &OpenError) -> Finding {
    let advice = format!("correct {flag}: `presenced --help` shows the format");
    Finding::fail(Fault::Settings, check, error.to_string(), advice)
}

/// A database that is unreachable or has stopped responding. `flag` has its URL.
pub(super) fn unreached(flag: &str, place: &str, Unreached { cause, text }: &Unreached) -> Finding {
    let (because, advice) = remedy(*cause, flag);
    Finding::fail(Fault::Database, "database", format!("{place}: {because}: {text}"), advice)
}

/// The cause in words, and what to do. `flag` has the URL.
pub(super) fn remedy(cause: Cause, flag: &str) -> (&'static str, String) {
    match cause {
        Cause::UnknownHost => {
            ("the host has no address", format!("check the host in {flag}, and this machine's DNS"))
        }
        Cause::Refused => (
            "no server listens there",
            format!("start the database, or check the host and the port in {flag}"),
        ),
        Cause::NoResponse => (
            "timed out",
            format!(
                "check whether the database hangs or a firewall is in between; check the host and the port in {flag}"
            ),
        ),
        Cause::Tls => {
            ("TLS failed", format!("check the server's certificate, and sslmode and sslrootcert in {flag}"))
        }
        Cause::Authentication => (
            "authentication failed",
            format!("check the user and the password in {flag}, and the server's pg_hba.conf"),
        ),
        Cause::NoDatabase => {
            ("the database does not exist", format!("create it, or check its name in {flag}"))
        }
        Cause::Other => ("it is unusable", format!("check {flag}, and read the database's own log")),
    }
}

/// The version of the schema, compared with this binary's.
pub(super) fn schema(schema: &Schema, no_migrate: bool) -> Finding {
    const MIGRATE: &str = "run `presenced migrate`";
    match schema {
        Schema::Same(version) => Finding::ok("schema", format!("version {version}, as this binary needs")),
        Schema::Older { theirs: 0, .. } if no_migrate => {
            Finding::fail(Fault::Database, "schema", "missing, and --no-migrate is given", MIGRATE)
        }
        Schema::Older { theirs: 0, ours } => Finding::ok(
            "schema",
            format!("missing; the service creates version {ours} at start, and so does `presenced migrate`"),
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
                "version {theirs}; the service upgrades it to version {ours} at start, and so does `presenced migrate`"
            ),
        ),
        Schema::Earlier => Finding::fail(
            Fault::Database,
            "schema",
            "made by an earlier development version of presenced",
            "use another database, or remove the tables whose names begin with presence_ and the table _sqlx_migrations",
        ),
        Schema::Newer { theirs, ours } => Finding::warn(
            "schema",
            format!("version {theirs}, newer than this binary's {ours}, and compatible"),
            "upgrade this binary, too",
        ),
        Schema::Breaking { theirs, ours, version, name } => Finding::fail(
            Fault::Database,
            "schema",
            format!(
                "version {theirs}; this binary supports up to {ours}, and {version} ({name}) is incompatible"
            ),
            "upgrade this binary",
        ),
    }
}
