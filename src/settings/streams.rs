//! How streams live, which watch users or hold sessions.

use std::time::Duration;

use clap::Args;

use super::parse::positive_duration;

/// How long a stream that watches users may be silent before it sends a heartbeat.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

/// Settings of streams; the comments are the text of `--help`.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamSettings {
    /// How long a stream lives that watches users or holds a session, give or take a tenth; its client
    /// then opens another, maybe to another replica.
    #[arg(
        long,
        env = "PRESENCE_STREAM_MAX_AGE",
        default_value = "1h",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub stream_max_age: Duration,

    /// Users that all streams together may follow, each counted once for each stream; more streams
    /// are refused. A million of them take up to 1 GB of memory.
    #[arg(
        long,
        env = "PRESENCE_WATCH_USERS_MAX",
        default_value_t = 1_000_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(10_000..=100_000_000))]
    pub watch_users_max: u32,

    /// [`WATCH_HEARTBEAT`]; tests replace it.
    #[arg(skip = WATCH_HEARTBEAT)]
    pub watch_heartbeat: Duration,
}
