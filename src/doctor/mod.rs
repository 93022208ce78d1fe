//! `presenced doctor`: whether the service would work with these settings on this machine,
//! and what to do if not.
//!
//! Rules:
//!
//! 1. The doctor changes nothing: it runs no migration, writes nothing, and creates no
//!    file.
//! 2. A finding fails if the service would not start or not be usable, and warns if it
//!    would work worse than it should. Both come with advice.
//! 3. A check calls the service's own code where it can, so that the two cannot differ.
//! 4. All checks end within seconds, even if a server does not respond.

mod callers;
mod database;
mod files;
mod history;
mod ports;
mod postgres;
mod report;
mod sqlite;
mod subscriptions;
mod tls;

use tokio::join;

use crate::{
    clock::Clock,
    settings::Settings,
    store::{Inspector, OpenError},
};
use database::{URL, invalid_url, remedy};

pub use report::{Fault, Finding, Report, Verdict};

/// Runs all checks.
pub async fn examine(settings: &Settings, clock: &Clock) -> Report {
    let (database, callers, ports) =
        join!(check_database(settings, clock), callers::check(settings), ports::check(settings));
    let (tls, files) = (tls::check(settings, clock.now()), files::check(&settings.limits));
    Report::new([check_settings(settings), database, callers, tls, ports, files].concat())
}

/// What to do about a database that could not be opened.
#[must_use]
pub fn advice(settings: &Settings, error: &OpenError) -> String {
    let remedy = match error {
        OpenError::Unreachable { cause, .. } => {
            let through_pgbouncer = settings.postgres.postgres_pgbouncer;
            remedy(*cause, if through_pgbouncer { "--database-url and --database-direct-url" } else { URL }).1
        }
        OpenError::Url(_) => format!("correct {URL}: `presenced --help` shows the format"),
        // Its text has the remedy.
        OpenError::Incompatible(_) => return "`presenced doctor` checks the whole deployment".to_owned(),
    };
    format!("{remedy}; `presenced doctor` checks the whole deployment")
}

/// Checks the settings against each other: a finding for each violation.
fn check_settings(settings: &Settings) -> Vec<Finding> {
    match settings.check() {
        Ok(()) => vec![Finding::ok("settings", "valid")],
        Err(errors) => {
            let fail = |error| Finding::fail(Fault::Settings, "settings", error, "change the settings");
            errors.lines().map(fail).collect()
        }
    }
}

/// Runs the checks of the database's engine.
async fn check_database(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    // A part of a password could be taken for the host, and shown. The settings' finding names the URL.
    if settings.has_ambiguous_url() {
        return Vec::new();
    }
    // A pgbouncer hides the properties of the database behind it.
    let direct = settings.postgres.database_direct_url.as_ref();
    let (flag, url) = match direct.filter(|_| settings.postgres.postgres_pgbouncer) {
        Some(url) => ("--database-direct-url", url),
        None => (URL, &settings.database_url),
    };
    match Inspector::new(url.expose()) {
        Ok(Inspector::Postgres(postgres)) => {
            let mut findings = postgres::check(settings, clock, flag, postgres).await;
            findings.extend(postgres::check_other_urls(settings).await);
            findings
        }
        Ok(Inspector::Sqlite(sqlite)) => sqlite::check(settings, clock, &sqlite).await,
        Err(error) => vec![invalid_url("database", flag, &error)],
    }
}
