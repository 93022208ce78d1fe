//! Subscriptions to change notifications whose receivers have failed for long.

use std::time::Duration;

use super::report::Finding;
use crate::{
    notify::{Url, display_url},
    presence::Timestamp,
    store::FailingSubscription,
};

/// The time from which the doctor warns. A receiver that is restarted is back before.
const FAILED_FOR: Duration = Duration::from_hours(1);

/// The number of subscriptions that the doctor names.
const NAMED: usize = 10;
/// The number that it reads, to know whether there are more.
pub(super) const READ: u32 = 11;

/// Subscriptions that have failed since before this time are findings.
pub(super) fn failed_before(now: Timestamp) -> Timestamp {
    now - FAILED_FOR
}

pub(super) fn check(failing: &[FailingSubscription]) -> Vec<Finding> {
    let mut findings: Vec<_> = failing.iter().take(NAMED).map(name).collect();
    if failing.len() > NAMED {
        findings.push(Finding::warn(
            "subscription",
            format!("more than {NAMED} subscriptions have failed for over an hour"),
            "ListSubscriptions shows all of them to a caller with the permission Presence.Manage.All",
        ));
    }
    findings
}

fn name(FailingSubscription { subscription_id, url, since, last_error }: &FailingSubscription) -> Finding {
    let url =
        Url::parse(url).map_or_else(|_| "a URL that cannot be read".to_owned(), |url| display_url(&url));
    Finding::warn(
        "subscription",
        format!("{subscription_id} to {url} has failed since {since}: {last_error}"),
        "correct the receiver, or end the subscription with DeleteSubscription",
    )
}
