//! The rate at which a client may cancel requests.
//!
//! Any client may cancel all that it opened, at any time, and a deadline that runs out is a
//! cancel, too. So the limit is a rate that only an attack keeps up (CVE-2023-44487).

use crate::clock::Stopwatch;

/// The seconds for which a client may cancel at the highest rate at once.
const BURST_SECONDS: f64 = 2.0;

/// The number of requests cancelled a short time ago that counts as many.
const MANY: f64 = 100.0;

/// A bucket of cancelled requests that empties at the allowed rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetRate {
    per_second: f64,
    filled: f64,
    updated: Stopwatch,
}

impl ResetRate {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), filled: 0.0, updated: Stopwatch::start() }
    }

    /// Counts a cancelled request. Returns whether there are too many.
    pub(super) fn record(&mut self) -> bool {
        self.filled = self.left() + 1.0;
        self.updated = Stopwatch::start();
        self.filled > self.per_second * BURST_SECONDS
    }

    /// Whether many were cancelled a short time ago.
    pub(super) fn are_many(&self) -> bool {
        self.filled > MANY && self.left() > MANY
    }

    /// What is in the bucket now.
    fn left(&self) -> f64 {
        (self.filled - self.updated.elapsed().as_secs_f64() * self.per_second).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_sustained_rate_is_too_much() {
        // The rate allows 10 a second: 20 at once, and no more than 10 a second after that.
        let cases: [(&[(u64, usize)], bool); 5] = [
            (&[(0, 20)], false),
            (&[(0, 21)], true),
            (&[(0, 20), (1, 10), (1, 10), (1, 10)], false),
            (&[(0, 20), (1, 11)], true),
            (&[(0, 20), (3_600, 20), (3_600, 21)], true),
        ];
        for (bursts, is_too_much) in cases {
            let mut rate = ResetRate::new(10);
            let mut exceeded = false;
            for (wait, cancels) in bursts {
                sleep(Duration::from_secs(*wait)).await;
                exceeded |= (0..*cancels).any(|_| rate.record());
            }
            assert_eq!(exceeded, is_too_much, "{bursts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_many_for_a_short_time() {
        let mut rate = ResetRate::new(1_000);
        for _ in 0..=100 {
            assert!(!rate.are_many());
            rate.record();
        }
        assert!(rate.are_many());
        sleep(Duration::from_millis(10)).await;
        assert!(!rate.are_many());
    }
}
