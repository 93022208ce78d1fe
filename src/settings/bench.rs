//! What a benchmark does.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::parse::{duration, positive_duration};

/// Settings of `presenced bench`; the comments are the text of `--help`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Benchmark")]
pub struct BenchSettings {
    /// Where the service is; --grpc-addr or --http-addr if not given. It is spoken to unencrypted.
    #[arg(value_name = "HOST:PORT")]
    pub target: Option<String>,

    /// What is called.
    #[arg(long, value_enum, default_value = "set")]
    pub operation: BenchOperation,

    /// How it is called.
    #[arg(long, value_enum, default_value = "grpc")]
    pub api: BenchApi,

    /// Users, of which each call picks at random: bench-0 and so on.
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    pub users: u32,

    /// First open a session for each user.
    #[arg(long)]
    pub load: bool,

    /// The session that is set and cleared. A service that asks for tokens lets an application set
    /// the one that has its own id.
    #[arg(long, default_value = "bench", value_name = "ID")]
    pub session_id: String,

    /// Connections.
    #[arg(long, default_value_t = 8, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,

    /// Calls under way on each connection. HTTP/1.1 can have one, so as many times more
    /// connections are opened.
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub streams: u16,

    /// Sessions or users in one call of batch-set or batch-get; 500 and 650 if not given. Graph has
    /// no call that sets many: over HTTP batch-set is a $batch of 20 at most.
    #[arg(long, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub batch_size: Option<u16>,

    /// The sets among 100 calls of mix.
    #[arg(long, default_value_t = 20, value_name = "PERCENT")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub mix_sets: u8,

    /// Have each set of one user show any of the pairs that a session can have, so that four of five
    /// change something; if not given, all show that the user is in a call, and refresh.
    #[arg(long)]
    pub changes: bool,

    /// How long it is measured.
    #[arg(long, default_value = "10s", value_parser = positive_duration, value_name = "DURATION")]
    pub duration: Duration,

    /// How long it is called before that.
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub warmup: Duration,

    /// Calls a second, each due at its time: one that has to wait for others is slower by the wait.
    /// If not given, each answer is followed by the next call.
    #[arg(long, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,

    /// A file with the token to send.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Print JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

impl BenchSettings {
    /// The connections that are opened, and the calls that each can have under way.
    pub(crate) fn width(&self) -> (u32, u16) {
        match self.api {
            BenchApi::Grpc | BenchApi::Http2 => (self.connections.into(), self.streams),
            BenchApi::Http => (u32::from(self.connections) * u32::from(self.streams), 1),
        }
    }
}

/// What a benchmark calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchOperation {
    /// Set a user's presence.
    Set,
    /// Get a user's presence.
    Get,
    /// Clear a user's presence; that there is none to clear is no error.
    Clear,
    /// Set many users' presences in one call.
    BatchSet,
    /// Get many users' presences in one call.
    BatchGet,
    /// Some sets among gets.
    Mix,
    /// Ask for the service's health (gRPC only): a call that does nothing.
    Health,
}

/// How a benchmark calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchApi {
    /// gRPC.
    Grpc,
    /// Graph's paths over HTTP/1.1.
    Http,
    /// Graph's paths over HTTP/2, as many clients speak it.
    Http2,
}
