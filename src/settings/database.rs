//! How the database is reached, beside its URL.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};

use super::parse::{Secret, positive_duration};

/// Settings of the way to PostgreSQL; the comments are the text of `--help`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresSettings {
    /// --database-url leads to a pgbouncer in transaction mode. Each statement is then a transaction
    /// of four round trips.
    #[arg(
        long,
        env = "PRESENCE_POSTGRES_PGBOUNCER",
        global = true,
        value_parser = BoolishValueParser::new()
    )]
    pub postgres_pgbouncer: bool,

    /// With --postgres-pgbouncer, the way to the database past it: to hear of changes, for which each
    /// replica has one connection, and for migrations.
    #[arg(
        long,
        env = "PRESENCE_DATABASE_DIRECT_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_direct_url: Option<Secret>,

    /// A read replica (hot standby) of the database, for reads that ask for it with the header
    /// presence-read: replica, and no others: they may be old. While it is away they are answered by
    /// the database. With --postgres-pgbouncer it may be reached through one, too.
    #[arg(
        long,
        env = "PRESENCE_DATABASE_READ_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_read_url: Option<Secret>,

    /// How long a connection to the database is used; the next one may lead elsewhere, as after a
    /// change of the name's address.
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
    /// What is wrong with the settings taken together, and with the database's URL.
    pub(super) fn check(&self, database_url: &Secret) -> Result<(), String> {
        match (self.postgres_pgbouncer, &self.database_direct_url) {
            (true, None) => {
                return Err("--postgres-pgbouncer takes --database-direct-url: a pgbouncer passes on no \
                            notifications, so the service listens for changes, and migrates, past it"
                    .to_owned());
            }
            (false, Some(_)) => {
                return Err("--database-direct-url has no effect without --postgres-pgbouncer".to_owned());
            }
            _ => {}
        }
        let given = [
            (
                "--database-url",
                (self.postgres_pgbouncer || self.database_read_url.is_some()).then_some(database_url),
            ),
            ("--database-direct-url", self.database_direct_url.as_ref()),
            ("--database-read-url", self.database_read_url.as_ref()),
        ];
        for (flag, url) in given {
            if let Some(url) = url.filter(|url| !url.is_postgres()) {
                return Err(format!("{flag} {url} must begin with postgres://"));
            }
        }
        Ok(())
    }
}
