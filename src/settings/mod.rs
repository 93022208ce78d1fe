//! Settings: flags, or environment variables of the same names.

mod auth;
mod database;
mod limits;
mod parse;
mod rate_limit;
mod streams;
mod tls;
mod traces;

use std::{env, net::SocketAddr, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};

use crate::{presence::REQUESTS_MAX, telemetry::LogFormat};
use parse::{at_least_one, duration, positive_duration};

pub use auth::{AuthMode, AuthSettings, SessionIdPolicy};
pub use database::PostgresSettings;
pub use limits::LimitSettings;
pub use parse::Secret;
pub use rate_limit::RateLimit;
pub use streams::StreamSettings;
pub use tls::TlsSettings;
pub use traces::{OtlpEndpoint, TraceSettings};

/// The most workers that are started by themselves: with more, batches get small
/// and connections many.
const WORKERS_MAX: usize = 8;

/// The members of one statement; 1 turns batching off.
const BATCH_MAX: usize = 500;
/// The statements of each kind that a worker runs at once. A worker opens a database
/// connection for each.
const CONCURRENT_STATEMENTS: u16 = 2;
/// The members of each kind that may wait in a worker. It must not be less than the
/// members of one call.
const QUEUE_MAX: usize = 20_000;
const _: () = assert!(QUEUE_MAX >= REQUESTS_MAX, "a call with the most members fits into an empty queue");

/// A self-hosted presence service: durable sessions, one presence per user,
/// over gRPC and Microsoft Graph's HTTP paths.
///
/// With no command it serves, and with no settings it keeps its sessions in
/// the SQLite file presence.db in the current folder.
#[derive(Debug, Parser)]
#[command(name = "presenced", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub settings: Settings,
    /// Print the effective settings, secrets hidden, and exit.
    #[arg(long, global = true)]
    pub print_config: bool,
}

/// What to do; the comments are the text of `--help`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve (the default).
    Serve,
    /// Apply the migrations that the database lacks, then exit.
    Migrate,
    /// Ask a running service on this machine whether it is ready; exits with 0 if it is.
    Healthcheck,
    /// Tell whether the service would work with these settings, and what to do if not; changes nothing.
    Doctor,
    /// Print the OpenAPI document of the HTTP/JSON API.
    Openapi,
}

/// Every setting; the comments are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where the sessions are: sqlite://FILE, sqlite::memory:, or
    /// postgres://USER:PASSWORD@HOST/DATABASE (PostgreSQL 15 or later; with
    /// ?sslmode=verify-full&sslrootcert=FILE its certificate must be signed by one in the file).
    #[arg(
        long,
        env = "PRESENCE_DATABASE_URL",
        default_value = "sqlite://presence.db",
        hide_env_values = true
    )]
    #[arg(global = true, value_name = "URL")]
    pub database_url: Secret,

    /// Where gRPC listens.
    #[arg(
        long,
        env = "PRESENCE_GRPC_ADDR",
        default_value = "127.0.0.1:50051",
        global = true,
        value_name = "IP:PORT"
    )]
    pub grpc_addr: SocketAddr,

    /// Where Graph's HTTP/JSON listens.
    #[arg(
        long,
        env = "PRESENCE_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        global = true,
        value_name = "IP:PORT"
    )]
    pub http_addr: SocketAddr,

    /// Where /livez, /readyz and /metrics listen.
    #[arg(
        long,
        env = "PRESENCE_ADMIN_ADDR",
        default_value = "127.0.0.1:9090",
        global = true,
        value_name = "IP:PORT"
    )]
    pub admin_addr: SocketAddr,

    /// Let gRPC and HTTP listen beyond this machine although nobody is
    /// authenticated.
    #[arg(long, env = "PRESENCE_ALLOW_INSECURE", global = true, value_parser = BoolishValueParser::new())]
    pub allow_insecure: bool,

    /// Do not apply migrations when serving.
    #[arg(long, env = "PRESENCE_NO_MIGRATE", global = true, value_parser = BoolishValueParser::new())]
    pub no_migrate: bool,

    /// Workers, each with a thread and database connections of its own; auto is one for each core, 8
    /// at most. SQLite always has one.
    #[arg(long, env = "PRESENCE_WORKERS", default_value = "auto", global = true, value_name = "NUMBER")]
    pub workers: Workers,

    /// How long a session that has ended is kept: what was last seen of a user is known for so long.
    #[arg(long, env = "PRESENCE_RETENTION", default_value = "168h", global = true, value_name = "DURATION")]
    #[arg(value_parser = positive_duration)]
    pub retention: Duration,

    /// How long a stop waits for the requests under way.
    #[arg(
        long,
        env = "PRESENCE_DRAIN_TIMEOUT",
        default_value = "10s",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = duration)]
    pub drain_timeout: Duration,

    /// What is logged: error, warn, info, debug (a line for each request), trace, or directives.
    #[arg(long, env = "PRESENCE_LOG", default_value = "info", global = true, value_name = "FILTER")]
    pub log: String,

    /// How it is logged.
    #[arg(long, env = "PRESENCE_LOG_FORMAT", default_value = "human", global = true, value_enum)]
    pub log_format: LogFormat,

    /// Traces.
    #[command(flatten)]
    pub traces: TraceSettings,
    /// The way to PostgreSQL.
    #[command(flatten)]
    pub postgres: PostgresSettings,

    /// Who is let in.
    #[command(flatten)]
    pub auth: AuthSettings,

    /// Encryption.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// What one client may take.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// Streams.
    #[command(flatten)]
    pub streams: StreamSettings,

    /// [`BATCH_MAX`]; tests replace it, like the two fields below.
    #[arg(skip = constant("PRESENCE_TEST_BATCH_MAX", BATCH_MAX))]
    pub batch_max: usize,
    /// [`CONCURRENT_STATEMENTS`].
    #[arg(skip = CONCURRENT_STATEMENTS)]
    pub concurrent_statements: u16,
    /// [`QUEUE_MAX`].
    #[arg(skip = constant("PRESENCE_TEST_QUEUE_MAX", QUEUE_MAX))]
    pub queue_max: usize,
}

/// The value of a constant. Tests and tools that start the service as a process replace
/// it by a variable of the environment; it is no setting.
fn constant(variable: &str, value: usize) -> usize {
    let replaced = env::var(variable).ok().and_then(|text| text.parse().ok());
    replaced.filter(|number| *number > 0).unwrap_or(value)
}

impl Settings {
    /// What is wrong with the settings taken together.
    pub fn check(&self) -> Result<(), String> {
        self.check_database()?;
        self.auth.check()?;
        self.tls.check()?;
        let open = self.auth.auth == AuthMode::None && !self.allow_insecure;
        for (flag, address) in [("--grpc-addr", self.grpc_addr), ("--http-addr", self.http_addr)] {
            if !address.ip().is_loopback() && open {
                return Err(format!(
                    "{flag} {address} can be reached from other machines, and nobody is authenticated: anyone there \
                     could read and change every presence. Give --auth jwt, or listen \
                     on 127.0.0.1, or give --allow-insecure if something else keeps strangers out"
                ));
            }
        }
        Ok(())
    }

    /// Whether gRPC and HTTP can be reached from this machine only.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.grpc_addr.ip().is_loopback() && self.http_addr.ip().is_loopback()
    }

    /// What is wrong with the settings of the database taken together.
    pub fn check_database(&self) -> Result<(), String> {
        self.postgres.check(&self.database_url)
    }
}

/// How many workers to start for a database with many writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core, 8 at most.
    Auto,
    /// So many.
    Number(usize),
}

impl Workers {
    /// The number.
    #[must_use]
    pub fn number(self) -> usize {
        match self {
            Self::Auto => std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX),
            Self::Number(number) => number,
        }
    }
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { at_least_one(text).map(Self::Number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Cli::try_parse_from([&["presenced"], arguments].concat()).map(|cli| cli.settings)
    }

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        assert_eq!(
            settings(&["serve", "--drain-timeout", "1m30s"]).unwrap().drain_timeout,
            Duration::from_secs(90)
        );
        assert_eq!(
            settings(&["--drain-timeout", "5s", "serve"]).unwrap().drain_timeout,
            Duration::from_secs(5)
        );
    }

    #[test]
    fn strangers_are_kept_out_unless_allowed() {
        assert!(
            settings(&["--grpc-addr", "0.0.0.0:1"])
                .unwrap()
                .check()
                .unwrap_err()
                .contains("--allow-insecure")
        );
        assert!(settings(&["--http-addr", "[::]:1"]).unwrap().check().is_err());
        assert!(settings(&["--http-addr", "0.0.0.0:1", "--allow-insecure"]).unwrap().check().is_ok());
        assert!(settings(&["--admin-addr", "0.0.0.0:1", "--http-addr", "[::1]:1"]).unwrap().check().is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            ["--workers", "0"],
            ["--drain-timeout", "-1s"],
            ["--drain-timeout", "soon"],
            ["--grpc-addr", "here"],
            ["--nothing", "1"],
        ] {
            assert!(settings(&arguments).is_err(), "{arguments:?}");
        }
    }
}
