//! What one client may take of the service.

use std::time::Duration;

use clap::Args;

use super::parse::positive_duration;

/// Settings of limits; the comments are the text of `--help`.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Connections that gRPC, and HTTP, may have at once, each; more are closed at once. Fewer if the
    /// process may not open as many files.
    #[arg(
        long,
        env = "PRESENCE_CONNECTIONS_MAX",
        default_value_t = 10_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,

    /// Requests that one HTTP/2 connection may have under way.
    #[arg(long, env = "PRESENCE_STREAMS_MAX", default_value_t = 256, global = true, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub streams_max: u32,

    /// Requests that a client may cancel on one HTTP/2 connection in 10 s; more, and it is closed.
    #[arg(long, env = "PRESENCE_RESETS_MAX", default_value_t = 500, global = true, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub resets_max: u32,

    /// How long a client may take to say what it speaks, for a TLS handshake, and for the header of an
    /// HTTP/1 request.
    #[arg(
        long,
        env = "PRESENCE_HEADER_TIMEOUT",
        default_value = "10s",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub header_timeout: Duration,

    /// How long a client may take for the body of a request.
    #[arg(
        long,
        env = "PRESENCE_BODY_TIMEOUT",
        default_value = "20s",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// How long a connection may have no request under way.
    #[arg(long, env = "PRESENCE_IDLE_TIMEOUT", default_value = "5m", global = true, value_name = "DURATION")]
    #[arg(value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// How long a connection lives, give or take a tenth; its client is then told to open another, maybe
    /// to another replica. What is under way on it is answered, and streams live on.
    #[arg(
        long,
        env = "PRESENCE_CONNECTION_MAX_AGE",
        default_value = "1h",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub connection_max_age: Duration,

    /// How long a client may take nothing of an answer that is ready.
    #[arg(
        long,
        env = "PRESENCE_SEND_TIMEOUT",
        default_value = "60s",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub send_timeout: Duration,

    /// The headers of a request, in bytes: 650 GUIDs to watch over HTTP take 24 KB.
    #[arg(
        long,
        env = "PRESENCE_HEADER_MAX_BYTES",
        default_value_t = 32_768,
        global = true,
        value_name = "BYTES"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(8_192..=1_048_576))]
    pub header_max_bytes: u32,

    /// The message of a gRPC call, and the body of an HTTP request once it is unpacked, in bytes; for
    /// one user 64 KiB at most are read of a body, whatever this says.
    #[arg(
        long,
        env = "PRESENCE_MESSAGE_MAX_BYTES",
        default_value_t = 1_048_576,
        global = true,
        value_name = "BYTES"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub message_max_bytes: u32,
}

impl LimitSettings {
    /// [`Self::message_max_bytes`] as a length.
    #[must_use]
    pub fn message_max(&self) -> usize {
        usize::try_from(self.message_max_bytes).unwrap_or(usize::MAX)
    }

    /// The same for a message that may name 10,000 users: half as much again.
    #[must_use]
    pub fn long_message_max(&self) -> usize {
        self.message_max() + self.message_max() / 2
    }
}
