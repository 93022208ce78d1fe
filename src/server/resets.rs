//! The rate at which a client may cancel requests.
//!
//! Any client may cancel all that it opened, at any time, and a deadline that runs out is a
//! cancel, too. So the limit is a rate that only an attack keeps up (CVE-2023-44487).

use crate::clock::Stopwatch;

/// The seconds for which a client may cancel at the highest rate at once.
const BURST_SECONDS: f64 = 2.0;

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
        let emptied = self.updated.elapsed().as_secs_f64() * self.per_second;
        self.updated = Stopwatch::start();
        self.filled = (self.filled - emptied).max(0.0) + 1.0;
        self.filled > self.per_second * BURST_SECONDS
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
}
