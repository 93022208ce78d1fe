//! Settings of the benchmark.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;

/// Load generator for presenced: prints throughput and latency of a running service.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(name = "bench", version, max_term_width = 100)]
pub(crate) struct Settings {
    /// Address of the API; default 127.0.0.1:50051 for gRPC, 127.0.0.1:8080 for HTTP,
    /// 127.0.0.1:7379 for webdis. The connection is not encrypted.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) target: Option<String>,

    /// Operation to call.
    #[arg(long, value_enum, default_value = "set")]
    pub(crate) operation: Operation,

    /// API and protocol.
    #[arg(long, value_enum, default_value = "grpc")]
    pub(crate) api: Api,

    /// Number of users, named bench-0 and up; each call picks users at random.
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    pub(crate) users: u32,

    /// Open a session for each user before the warm-up.
    #[arg(long)]
    pub(crate) load: bool,

    /// Call each user once, in turn, and end then. There is no warm-up, and --duration and --rate
    /// do not apply.
    #[arg(long)]
    pub(crate) each_user: bool,

    /// Session id to set and clear. A service that requires tokens may restrict an application to
    /// its own id.
    #[arg(long, default_value = "bench", value_name = "ID")]
    pub(crate) session_id: String,

    /// Number of connections.
    #[arg(long, default_value_t = 8, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: u16,

    /// Concurrent calls per connection. HTTP/1.1 allows one, so `http` and `webdis` open this many
    /// times more connections.
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) streams: u16,

    /// Members per call of batch-set or batch-get; default and maximum depend on the API. Over HTTP,
    /// batch-set is a $batch of at most 20 requests.
    #[arg(long, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) batch_size: Option<u16>,

    /// Percentage of sets in mix; the other calls are gets.
    #[arg(long, default_value_t = 20, value_name = "PERCENT")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) mix_sets: u8,

    /// Let each set pick one of the five pairs of a session, so that four of five sets change the
    /// presence. Without this flag every set is a refresh of the same pair.
    #[arg(long)]
    pub(crate) changes: bool,

    /// Time that is measured.
    #[arg(long, default_value = "10s", value_parser = positive_duration, value_name = "DURATION")]
    pub(crate) duration: Duration,

    /// Time of calls before the measurement starts.
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) warmup: Duration,

    /// Calls per second at fixed times; latency includes the time that a call is late. Without this
    /// flag each response is followed by the next call (closed loop).
    #[arg(long, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,

    /// File with the access token to send.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Print JSON, and no progress.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Settings {
    /// The number of connections, and of concurrent calls on each.
    pub(crate) fn width(&self) -> (u32, u16) {
        match self.api {
            Api::Grpc | Api::Http2 => (self.connections.into(), self.streams),
            Api::Http | Api::Webdis => (u32::from(self.connections) * u32::from(self.streams), 1),
        }
    }
}

/// Operation of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Set the presence of one user.
    Set,
    /// Get the presence of one user.
    Get,
    /// Get the presence of one user with all times (`PRESENCE_VIEW_FULL`).
    GetFull,
    /// List the last day of one user's history.
    History,
    /// Clear the session of one user; a missing session is no error.
    Clear,
    /// Set the presence of many users in one call.
    BatchSet,
    /// Get the presence of many users in one call.
    BatchGet,
    /// Set and get, in the proportion of --mix-sets.
    Mix,
    /// Check the service's health, which does no work (gRPC only).
    Health,
}

/// API and protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Api {
    /// gRPC API.
    Grpc,
    /// HTTP API over HTTP/1.1.
    Http,
    /// HTTP API over HTTP/2.
    Http2,
    /// API of webdis, a web server for Redis, over HTTP/1.1: sets and gets of one key for each user.
    Webdis,
}

impl Api {
    /// The address at which a service listens by default.
    pub(crate) const fn default_target(self) -> &'static str {
        match self {
            Self::Grpc => "127.0.0.1:50051",
            Self::Http | Self::Http2 => "127.0.0.1:8080",
            Self::Webdis => "127.0.0.1:7379",
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "must be a duration such as 10s or 1m30s".to_owned())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("must be longer than 0s".to_owned()) } else { Ok(duration) }
    })
}
