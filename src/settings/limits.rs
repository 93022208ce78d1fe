//! Settings of limits: the resources that one client may use.

use std::time::Duration;

use clap::Args;

use super::parse::positive_duration;

/// The requests that a client may cancel each second on one HTTP/2 connection. No client that is
/// not an attack keeps that up for seconds.
const RESETS_PER_SECOND: u32 = 4_000;
/// The time for a TLS handshake, for the first bytes of a connection, and for the header
/// of an HTTP/1 request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// The time for which a client may stall without reading a pending response.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);
/// The time for which a connection may have no request under way.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// The size of a request's headers. A request to watch 650 GUIDs over HTTP has 24 KB.
const HEADER_MAX_BYTES: u32 = 32 * 1_024;
/// The size of a message of a stream that holds a session.
const HOLD_MESSAGE_MAX_BYTES: usize = 16 * 1_024;

/// Settings of limits; the comments of fields are the text of `--help`.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Maximum number of open connections to each API. Further connections are closed at once. The
    /// limit of open files may lower it.
    #[arg(
        long,
        env = "PRESENCE_CONNECTIONS_MAX",
        default_value_t = 10_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,

    /// Maximum number of concurrent requests on one HTTP/2 connection, streams that watch users or hold a
    /// session included. The client holds further ones back until others end.
    #[arg(long, env = "PRESENCE_STREAMS_MAX", default_value_t = 2_000, global = true, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub streams_max: u32,

    /// Maximum age of a connection, varied by up to 10 %. The service then asks its client to open
    /// another, possibly to another replica. Requests under way complete, and streams continue.
    #[arg(
        long,
        env = "PRESENCE_CONNECTION_MAX_AGE",
        default_value = "1h",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub connection_max_age: Duration,

    /// Maximum size of a gRPC message, and of an HTTP body after decompression, in bytes. A body that
    /// concerns one user may never exceed 64 KiB.
    #[arg(
        long,
        env = "PRESENCE_MESSAGE_MAX_BYTES",
        default_value_t = 1_048_576,
        global = true,
        value_name = "BYTES"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub message_max_bytes: u32,

    /// Memory that the process may use, in bytes. Clients get two fifths of it at most: beyond that,
    /// new connections and requests are refused. Without this, the limit of the container, or else the
    /// machine's memory.
    #[arg(long, env = "PRESENCE_MEMORY_MAX_BYTES", global = true, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(67_108_864..))]
    pub memory_max_bytes: Option<u64>,

    /// Requests that a client may cancel each second on one HTTP/2 connection. No flag sets this field or
    /// those below; only tests replace the constants.
    #[arg(skip = RESETS_PER_SECOND)]
    pub resets_per_second: u32,
    /// Time for a TLS handshake, for the first bytes, and for the header of an HTTP/1 request.
    #[arg(skip = HEADER_TIMEOUT)]
    pub header_timeout: Duration,
    /// Time for the body of a request.
    #[arg(skip = BODY_TIMEOUT)]
    pub body_timeout: Duration,
    /// Time for which a client may stall without reading a pending response.
    #[arg(skip = SEND_TIMEOUT)]
    pub send_timeout: Duration,
    /// Time for which a connection may have no request under way.
    #[arg(skip = IDLE_TIMEOUT)]
    pub idle_timeout: Duration,
    /// Maximum size of a request's headers, in bytes.
    #[arg(skip = HEADER_MAX_BYTES)]
    pub header_max_bytes: u32,
}

impl LimitSettings {
    /// [`Self::message_max_bytes`] as a length.
    #[must_use]
    pub fn message_max(&self) -> usize {
        usize::try_from(self.message_max_bytes).unwrap_or(usize::MAX)
    }

    /// [`Self::streams_max`] as a number of things in memory.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        usize::try_from(self.streams_max).unwrap_or(usize::MAX)
    }

    /// The limit at which hyper itself refuses headers, without a body. The APIs refuse those above
    /// their own limit with one, so hyper's is higher; it also protects what comes before the APIs.
    #[must_use]
    pub const fn hyper_header_max_bytes(&self) -> u32 {
        self.header_max_bytes.saturating_mul(2)
    }

    /// The maximum size of a message of a stream that holds a session. The stream keeps the memory of
    /// its largest message, so it is small; a valid message has less than 1 KiB.
    #[must_use]
    pub fn hold_message_max(&self) -> usize {
        HOLD_MESSAGE_MAX_BYTES.min(self.message_max())
    }

    /// The maximum size of a message that may name 10,000 users: half as much again.
    #[must_use]
    pub fn long_message_max(&self) -> usize {
        self.message_max() + self.message_max() / 2
    }
}
