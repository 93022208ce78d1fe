//! Settings of subscriptions to change notifications.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};
use ipnet::IpNet;

use super::parse::{duration, ip_network};

/// The duration of a lease.
const LEASE: Duration = Duration::from_secs(30);
/// The longest time until a subscription ends that can be set.
const AGE_LIMIT: Duration = Duration::from_hours(72);

/// Settings of subscriptions; the comments of fields are the text of `--help`.
#[expect(clippy::doc_markdown, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Change notifications")]
pub struct SubscriptionSettings {
    /// Longest time until a subscription to change notifications ends, unless it is renewed; 72h at most.
    /// It is never longer than --retention, since what changed is found in ended sessions.
    #[arg(
        long,
        env = "PRESENCE_SUBSCRIPTION_MAX_AGE",
        default_value = "1h",
        global = true,
        value_name = "DURATION"
    )]
    #[arg(value_parser = age)]
    pub subscription_max_age: Duration,

    /// Maximum number of subscriptions of one application in one tenant. Callers without authentication
    /// count as one application.
    #[arg(
        long,
        env = "PRESENCE_SUBSCRIPTIONS_MAX",
        default_value_t = 1_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub subscriptions_max: u32,

    /// Maximum number of subscriptions of one tenant.
    #[arg(
        long,
        env = "PRESENCE_TENANT_SUBSCRIPTIONS_MAX",
        default_value_t = 10_000,
        global = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tenant_subscriptions_max: u32,

    /// Graph's limit of one subscription for each user and application: a second one is refused.
    #[arg(long, env = "PRESENCE_GRAPH_LIMITS", global = true, value_parser = BoolishValueParser::new())]
    pub graph_limits: bool,

    /// Networks that are not on the public internet, to whose hosts notifications may be sent, separated
    /// by commas, such as 10.1.0.0/16. If a network contains 127.0.0.1 or ::1, URLs of that address may
    /// begin with http.
    #[arg(long, env = "PRESENCE_SUBSCRIPTION_ALLOW", global = true, value_name = "NETWORK")]
    #[arg(value_delimiter = ',', value_parser = ip_network)]
    pub subscription_allow: Vec<IpNet>,

    /// Certificate authorities of receivers, in PEM, besides those of the system.
    #[arg(long, env = "PRESENCE_SUBSCRIPTION_CA", global = true, value_name = "FILE")]
    pub subscription_ca: Option<PathBuf>,

    /// Duration of the lease with which a replica delivers a subscription. No flag sets it; only tests
    /// replace the constant.
    #[arg(skip = lease())]
    pub lease: Duration,
}

/// The duration of a lease. Tests that start the service as a process replace it with an environment
/// variable; it is not a setting.
fn lease() -> Duration {
    let replaced = std::env::var("PRESENCE_TEST_SUBSCRIPTION_LEASE").ok();
    replaced.and_then(|text| duration(&text).ok()).unwrap_or(LEASE)
}

/// The longest time until a subscription ends.
fn age(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|age| {
        let is_allowed = (Duration::from_mins(1)..=AGE_LIMIT).contains(&age);
        if is_allowed { Ok(age) } else { Err("must be between 1m and 72h".to_owned()) }
    })
}
