//! Settings: flags, and environment variables of the same names.

mod auth;
mod command_line;
mod database;
mod limits;
mod parse;
mod rate_limit;
mod streams;
mod subscriptions;
mod tls;
mod traces;
mod variables;

use std::{env, net::SocketAddr, str::FromStr, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};

use crate::{
    presence::{REQUESTS_MAX, UserIdForm},
    telemetry::LogFormat,
};
use parse::{at_least_one, duration, positive_duration, session_min};

pub use auth::{AuthMode, AuthSettings, SessionIdPolicy};
pub use command_line::{Cli, Command, command, log_format, without_secrets};
pub use database::PostgresSettings;
pub use limits::LimitSettings;
pub use parse::Secret;
pub use rate_limit::RateLimit;
pub use streams::StreamSettings;
pub use subscriptions::SubscriptionSettings;
pub use tls::TlsSettings;
pub use traces::TraceSettings;
pub use variables::{MisspeltVariable, unknown_variables};

/// The most workers that `--workers auto` starts. More workers make batches small and
/// need many database connections.
const WORKERS_MAX: usize = 8;

/// The members of one statement; 1 turns batching off.
const BATCH_MAX: usize = 500;
/// The statements of each kind that a worker runs at once. A worker opens a database
/// connection for each.
const CONCURRENT_STATEMENTS: u16 = 2;
/// The members of each kind that may wait in a worker.
const QUEUE_MAX: usize = 20_000;
const _: () = assert!(QUEUE_MAX >= REQUESTS_MAX, "the largest request fits into an empty queue");

/// All settings; the comments of fields are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// URL of the database: sqlite://FILE, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE.
    ///
    /// PostgreSQL must be version 15 or later. With ?sslmode=verify-full&sslrootcert=FILE, a
    /// certificate in FILE must have signed the server's certificate.
    #[arg(long, env = "PRESENCE_DATABASE_URL", default_value = "sqlite://presence.db")]
    #[arg(global = true, value_name = "URL")]
    pub database_url: Secret,

    /// Address of the gRPC API.
    #[arg(
        long,
        env = "PRESENCE_GRPC_ADDR",
        default_value = "127.0.0.1:50051",
        global = true,
        value_name = "IP:PORT"
    )]
    pub grpc_addr: SocketAddr,

    /// Address of the HTTP API.
    #[arg(
        long,
        env = "PRESENCE_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        global = true,
        value_name = "IP:PORT"
    )]
    pub http_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics.
    #[arg(
        long,
        env = "PRESENCE_ADMIN_ADDR",
        default_value = "127.0.0.1:9090",
        global = true,
        value_name = "IP:PORT"
    )]
    pub admin_addr: SocketAddr,

    /// Permission to serve other machines without authentication.
    ///
    /// Any client that reaches the gRPC or HTTP address can then read and change every presence.
    #[arg(long, env = "PRESENCE_ALLOW_INSECURE", global = true, value_parser = BoolishValueParser::new())]
    pub allow_insecure: bool,

    /// Handling of JSON properties and query options that the HTTP API does not know.
    #[arg(long, env = "PRESENCE_UNKNOWN_PROPERTIES", default_value = "accept", global = true)]
    #[arg(value_enum, value_name = "HANDLING")]
    pub unknown_properties: UnknownProperties,

    /// No migrations at start. The service exits if the database lacks one.
    #[arg(long, env = "PRESENCE_NO_MIGRATE", global = true, value_parser = BoolishValueParser::new())]
    pub no_migrate: bool,

    /// Number of workers. Each has its own thread and database connections. auto is one for each CPU
    /// core, but at most 8. On SQLite there is always one.
    #[arg(long, env = "PRESENCE_WORKERS", default_value = "auto", global = true, value_name = "NUMBER")]
    pub workers: Workers,

    /// Form of user ids. Other ids are refused, so that one user does not become two, one by GUID and one
    /// by email.
    #[arg(long, env = "PRESENCE_USER_IDS", default_value = "any", global = true)]
    #[arg(value_enum, value_name = "FORM")]
    pub user_ids: UserIdForm,

    /// Shortest expiration_duration of a session in the gRPC API, from 10s to 5m. The HTTP API keeps
    /// Graph's 5 minutes. Every session of seconds costs a write every few seconds.
    #[arg(long, env = "PRESENCE_SESSION_MIN", default_value = "5m", global = true, value_name = "DURATION")]
    #[arg(value_parser = session_min)]
    pub session_min: Duration,

    /// Time for which ended sessions are kept. After it, the last-seen time of a user is lost.
    #[arg(long, env = "PRESENCE_RETENTION", default_value = "168h", global = true, value_name = "DURATION")]
    #[arg(value_parser = positive_duration)]
    pub retention: Duration,

    /// Time for which history is kept: what was shown, since when, and who did it. 0s turns history
    /// off.
    #[arg(long, env = "PRESENCE_HISTORY", default_value = "168h", global = true, value_name = "DURATION")]
    #[arg(value_parser = duration)]
    pub history: Duration,

    /// Time for which a stop waits for requests under way. After it, they are dropped.
    #[arg(
        long,
        env = "PRESENCE_DRAIN_TIMEOUT",
        default_value = "10s",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = duration)]
    pub drain_timeout: Duration,

    /// Log level: error, warn, info, debug or trace.
    ///
    /// debug logs one line for each request. A list of directives, such as info,sqlx=warn, sets levels
    /// for modules.
    #[arg(long, env = "PRESENCE_LOG", default_value = "info", global = true, value_name = "FILTER")]
    pub log: String,

    /// Format of the log, and of the findings of `presenced doctor`.
    #[arg(long, env = "PRESENCE_LOG_FORMAT", default_value = "human", global = true)]
    #[arg(value_enum, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Traces.
    #[command(flatten)]
    pub traces: TraceSettings,

    /// PostgreSQL.
    #[command(flatten)]
    pub postgres: PostgresSettings,

    /// Authentication.
    #[command(flatten)]
    pub auth: AuthSettings,

    /// TLS.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// Limits.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// Streams.
    #[command(flatten)]
    pub streams: StreamSettings,

    /// Change notifications.
    #[command(flatten)]
    pub subscriptions: SubscriptionSettings,

    /// Members of one statement. No flag sets this field or the two below; only tests replace the
    /// constants.
    #[arg(skip = constant("PRESENCE_TEST_BATCH_MAX", BATCH_MAX))]
    pub batch_max: usize,
    /// Statements of each kind that a worker runs at once.
    #[arg(skip = CONCURRENT_STATEMENTS)]
    pub concurrent_statements: u16,
    /// Members of each kind that may wait in a worker. Further calls are refused.
    #[arg(skip = constant("PRESENCE_TEST_QUEUE_MAX", QUEUE_MAX))]
    pub queue_max: usize,
}

/// The value of a constant. Tests and tools that start the service as a process replace
/// it with an environment variable; it is not a setting.
fn constant(variable: &str, value: usize) -> usize {
    let replaced = env::var(variable).ok().and_then(|text| text.parse().ok());
    replaced.filter(|number| *number > 0).unwrap_or(value)
}

impl Settings {
    /// Checks the settings against each other. The error has a line for each violation.
    pub fn check(&self) -> Result<(), String> {
        let mut violations = self.postgres.violations(&self.database_url);
        violations.extend(self.auth.violations());
        violations.extend(self.tls.violation());
        violations.extend(self.traces.violation());
        let unauthenticated = self.auth.auth == AuthMode::None && !self.allow_insecure;
        for (flag, address) in [("--grpc-addr", self.grpc_addr), ("--http-addr", self.http_addr)] {
            if !address.ip().is_loopback() && unauthenticated {
                violations.push(format!(
                    "{flag} {address} is reachable from other machines, but callers are not authenticated: any \
                     client could read and change every presence. Give --auth jwt, or use an address on \
                     127.0.0.1, or give --allow-insecure if a firewall or proxy keeps other clients out"
                ));
            }
        }
        lines(&violations)
    }

    /// Whether both APIs are reachable from this machine only.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.grpc_addr.ip().is_loopback() && self.http_addr.ip().is_loopback()
    }

    /// Checks the settings of the database against each other, as [`Self::check`] does.
    pub fn check_database(&self) -> Result<(), String> {
        lines(&self.postgres.violations(&self.database_url))
    }

    /// Whether a database URL is ambiguous, so that connecting could show a part of its password.
    #[must_use]
    pub fn has_ambiguous_url(&self) -> bool {
        self.postgres.is_ambiguous(&self.database_url)
    }
}

fn lines(violations: &[String]) -> Result<(), String> {
    if violations.is_empty() { Ok(()) } else { Err(violations.join("\n")) }
}

/// What happens to a request with properties or query options that the HTTP API does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnknownProperties {
    /// They are ignored, and the response header presence-ignored names them. A request with Prefer:
    /// handling=strict is refused.
    Accept,
    /// The request is refused.
    Reject,
}

/// The number of workers for a database that takes concurrent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each CPU core, at most 8.
    Auto,
    /// A fixed number.
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
    use clap::Parser;

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Cli::try_parse_from([&["presenced"], arguments].concat()).map(|cli| cli.settings)
    }

    #[test]
    fn an_address_for_other_machines_needs_authentication_or_a_permission() {
        let check = |arguments: &[&str]| settings(arguments).unwrap().check();
        assert!(check(&["--grpc-addr", "0.0.0.0:1"]).unwrap_err().contains("--allow-insecure"));
        assert!(check(&["--http-addr", "[::]:1"]).is_err());
        assert!(check(&["--http-addr", "0.0.0.0:1", "--allow-insecure"]).is_ok());
        assert!(check(&["--admin-addr", "0.0.0.0:1", "--http-addr", "[::1]:1"]).is_ok());
    }

    #[test]
    fn an_invalid_value_is_an_error() {
        for arguments in [
            ["--workers", "0"],
            ["--drain-timeout", "-1s"],
            ["--drain-timeout", "soon"],
            ["--session-min", "9.999s"],
            ["--session-min", "5m1ms"],
            ["--session-min", "short"],
            ["--grpc-addr", "here"],
            ["--nothing", "1"],
        ] {
            assert!(settings(&arguments).is_err(), "{arguments:?}");
        }
    }
}
