//! Numbers of interleavings.

use std::time::Duration;

use crate::support::database::Engine;

#[derive(Default)]
pub(super) struct Report {
    pub(super) interleavings: usize,
    /// The acknowledged writes, each of which a stream that lost the session must not undo.
    pub(super) acknowledged: usize,
    pub(super) extensions: usize,
    pub(super) lost: usize,
    /// Calls and messages that failed because the database was unavailable.
    pub(super) unavailable: usize,
    /// The times from the acknowledgement of a call that took a session until its stream heard of it,
    /// on the same replica and on the other one.
    pub(super) heard: [Vec<Duration>; 2],
}

impl Report {
    /// Adds up, and sorts the times.
    pub(super) fn of_all(reports: Vec<Self>) -> Self {
        let mut all = Self::default();
        for report in reports {
            all.interleavings += 1;
            all.acknowledged += report.acknowledged;
            all.extensions += report.extensions;
            all.lost += report.lost;
            all.unavailable += report.unavailable;
            for (all, heard) in all.heard.iter_mut().zip(report.heard) {
                all.extend(heard);
            }
        }
        all.heard.iter_mut().for_each(|heard| heard.sort_unstable());
        all
    }

    pub(super) fn print(&self, engine: Engine, kind: &str, took: Duration) {
        let Self { interleavings, acknowledged, extensions, lost, unavailable, heard } = self;
        println!(
            "{engine:?}: {interleavings} interleavings {kind} in {took:?}: {acknowledged} writes acknowledged, \
             {extensions} extensions, {lost} responses lost, {unavailable} calls failed, 0 acknowledged \
             states undone"
        );
        for (replica, heard) in ["the same replica", "the other replica"].iter().zip(heard) {
            let [p50, p99] = [50, 99].map(|hundredths| percentile(heard, hundredths));
            let (number, max) = (heard.len(), heard.last().copied().unwrap_or_default());
            println!("  {number} losses heard on {replica}: p50 {p50:?}, p99 {p99:?}, max {max:?}");
        }
    }
}

/// The time within which this share of the sorted times are, in hundredths.
pub(super) fn percentile(times: &[Duration], hundredths: usize) -> Duration {
    times.get(times.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or_default()
}
