//! Settings of PostgreSQL, except for the database's URL.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};

use super::parse::{Secret, positive_duration};

/// Settings of PostgreSQL; the comments of fields are the text of `--help`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresSettings {
    /// Support for a pgbouncer in transaction mode at --database-url. Each statement is then a
    /// transaction of four round trips. Requires --database-direct-url.
    #[arg(
        long,
        env = "PRESENCE_POSTGRES_PGBOUNCER",
        global = true,
        value_parser = BoolishValueParser::new()
    )]
    pub postgres_pgbouncer: bool,

    /// URL of the database itself, for use with --postgres-pgbouncer. Each replica opens one
    /// connection to it to listen for changes; migrations use it, too.
    #[arg(long, env = "PRESENCE_DATABASE_DIRECT_URL", global = true, value_name = "URL")]
    pub database_direct_url: Option<Secret>,

    /// URL of a read replica (hot standby). It serves only reads that ask for it with the header
    /// `presence-read: replica`, and its data may be old. While it is unavailable, the database serves
    /// these reads. With --postgres-pgbouncer, this URL may lead to a pgbouncer, too.
    #[arg(long, env = "PRESENCE_DATABASE_READ_URL", global = true, value_name = "URL")]
    pub database_read_url: Option<Secret>,

    /// Maximum age of a database connection. A new connection resolves the host again, so replicas
    /// follow a change of its address within this time.
    #[arg(
        long,
        env = "PRESENCE_DATABASE_CONNECTION_MAX_AGE",
        default_value = "30m",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub database_connection_max_age: Duration,
}

impl PostgresSettings {
    /// The errors of the settings together, and of the database's URL.
    pub(super) fn violations(&self, database_url: &Secret) -> Vec<String> {
        let mut violations = Vec::new();
        match (self.postgres_pgbouncer, &self.database_direct_url) {
            (true, None) => violations.push(
                "--postgres-pgbouncer requires --database-direct-url: pgbouncer does not forward \
                 notifications, so the service listens for changes and migrates without it"
                    .to_owned(),
            ),
            (false, Some(_)) => {
                violations
                    .push("--database-direct-url has no effect without --postgres-pgbouncer".to_owned());
            }
            _ => {}
        }
        let any_engine = !self.postgres_pgbouncer && self.database_read_url.is_none();
        let given = [
            ("--database-url", Some(database_url), any_engine),
            ("--database-direct-url", self.database_direct_url.as_ref(), false),
            ("--database-read-url", self.database_read_url.as_ref(), false),
        ];
        for (flag, url, any_engine) in given {
            let Some(url) = url else { continue };
            violations.extend(url.check_encoding(flag).err());
            if !any_engine && !url.is_postgres() {
                violations.push(format!("{flag} {url} must begin with postgres://"));
            }
        }
        violations
    }

    /// Whether a URL is ambiguous, so that an attempt to connect could show a part of its password.
    pub(super) fn is_ambiguous(&self, database_url: &Secret) -> bool {
        let others = [&self.database_direct_url, &self.database_read_url];
        others.into_iter().flatten().chain([database_url]).any(Secret::is_ambiguous)
    }
}
