//! What is known of the responses to writes of one session, whatever the order of their delivery.

use std::{collections::BTreeMap, time::Duration};

use presenced::presence::Timestamp;

/// A set of a pair, or a clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The index of the session.
    pub session: usize,
    /// The time of observation, distinct from those of the session's other writes.
    pub observed: Timestamp,
    /// The pair; `None` clears the session.
    pub pair: Option<&'static str>,
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The session was set, or was live and is cleared.
    Applied,
    /// There was no live session to clear.
    NotLive,
    Stale,
}

/// A write that was delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub write: Write,
    pub outcome: Outcome,
    /// The time from the first call to the last response.
    pub from: Duration,
    pub until: Duration,
    /// Whether a call failed, so that it may have applied all the same.
    pub retried: bool,
}

impl Delivery {
    fn is_written(&self) -> bool {
        matches!(self.outcome, Outcome::Applied | Outcome::NotLive)
    }
}

/// Checks the responses of one session, and returns its newest write. A violation panics.
pub fn check(deliveries: &[Delivery]) -> Write {
    let newest = deliveries.iter().map(|delivery| delivery.write).max_by_key(|write| write.observed);
    let newest = newest.expect("each session has a write");
    let is_certain = deliveries.iter().all(|delivery| !delivery.retried);
    for delivery in deliveries {
        let later = || deliveries.iter().filter(|other| other.write.observed > delivery.write.observed);
        let is_stale = delivery.outcome == Outcome::Stale;
        // Each response to a later write means that the session reflects it, or a later one.
        if later().any(|other| other.until < delivery.from) {
            assert!(is_stale, "{delivery:?} follows a later observation: {deliveries:#?}");
        }
        let may_be_stale = if is_certain {
            later().any(|other| other.is_written() && other.from <= delivery.until)
        } else {
            later().next().is_some()
        };
        assert!(!is_stale || may_be_stale, "{delivery:?} is not stale: {deliveries:#?}");
    }
    if is_certain {
        check_clears(deliveries);
    }
    newest
}

/// The writes that applied did so in the order of their times. So a clear found what the written one
/// before it had left.
fn check_clears(deliveries: &[Delivery]) {
    let mut written = BTreeMap::<_, Vec<&Delivery>>::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.is_written()) {
        written.entry(delivery.write.observed).or_default().push(delivery);
    }
    let mut is_live = false;
    for same in written.values() {
        let is_set = same[0].write.pair.is_some();
        if !is_set {
            let ended = same.iter().filter(|delivery| delivery.outcome == Outcome::Applied).count();
            assert_eq!(ended, usize::from(is_live), "{same:?} ended a live session: {deliveries:#?}");
        }
        is_live = is_set;
    }
}
