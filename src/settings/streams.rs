//! Settings of streams that watch users or hold sessions.

use std::time::Duration;

use clap::Args;

use super::parse::positive_duration;

/// The time without an event after which a watch stream sends a heartbeat.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

/// Settings of streams; the comments of fields are the text of `--help`.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamSettings {
    /// Maximum age of a stream that watches users or holds a session, varied by up to 10 %. The stream
    /// then ends, and its client opens another, possibly at another replica.
    #[arg(
        long,
        env = "PRESENCE_STREAM_MAX_AGE",
        default_value = "1h",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = positive_duration)]
    pub stream_max_age: Duration,

    /// Maximum number of users that all streams of a replica watch together. A user counts once for
    /// each stream. Further streams are refused. 1,000,000 users take up to 1 GB of memory.
    #[arg(
        long,
        env = "PRESENCE_WATCH_USERS_MAX",
        default_value_t = 1_000_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(10_000..=100_000_000))]
    pub watch_users_max: u32,

    /// Maximum number of those users of one tenant. Without this setting it is half of
    /// --watch-users-max if --jwt-issuer contains {tenantid}, else all of it.
    #[arg(long, env = "PRESENCE_TENANT_WATCH_USERS_MAX", global = true, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(10_000..=100_000_000))]
    pub tenant_watch_users_max: Option<u32>,

    /// Maximum number of streams of a replica that hold a session. Further streams are refused. Each
    /// extends its session every half of its grace, so 100,000 with the default grace write 13,000
    /// times a second.
    #[arg(long, env = "PRESENCE_HOLDS_MAX", default_value_t = 100_000, global = true, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub holds_max: u32,

    /// Maximum number of those streams of one application in one tenant. Callers without authentication
    /// count as one application.
    #[arg(
        long,
        env = "PRESENCE_APPLICATION_HOLDS_MAX",
        default_value_t = 50_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub application_holds_max: u32,

    /// Time without an event after which a watching stream sends a heartbeat. No flag sets it.
    #[arg(skip = WATCH_HEARTBEAT)]
    pub watch_heartbeat: Duration,
}

impl StreamSettings {
    /// The maximum number of users that the streams of one tenant watch together.
    #[must_use]
    pub fn tenant_users_max(&self, has_tenants: bool) -> u32 {
        let all = self.watch_users_max;
        self.tenant_watch_users_max.unwrap_or(if has_tenants { all / 2 } else { all })
    }
}
