//! The clock and the stopwatch. No other file reads the time.

#![expect(clippy::disallowed_methods, reason = "this file is the only one that reads the time")]

use std::time::{Duration, SystemTime};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::presence::Timestamp;

/// The longest wait before the system clock is read again: it may have been set
/// forward.
const REREAD_INTERVAL: Duration = Duration::from_mins(1);

/// The source of the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system clock. Replicas need NTP; `health` compares it with the database's.
    System,
    /// A clock that only a test moves.
    Manual(ManualClock),
}

impl Clock {
    /// The time, in whole milliseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since_epoch =
                    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(clock) => *clock.time.borrow(),
        }
    }

    /// Waits until the clock shows `at` or later.
    pub async fn wait_until(&self, at: Timestamp) {
        match self {
            Self::System => loop {
                let left = at.as_millis().saturating_sub(self.now().as_millis());
                match u64::try_from(left).map(Duration::from_millis) {
                    Ok(left) if !left.is_zero() => sleep(left.min(REREAD_INTERVAL)).await,
                    _ => return,
                }
            },
            // `clock` holds the sender, so the channel stays open.
            Self::Manual(clock) => drop(clock.time.subscribe().wait_for(|now| *now >= at).await),
        }
    }
}

/// A clock that a test moves. Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// Creates a clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { time: watch::Sender::new(start) }
    }

    /// Moves the clock forward and wakes its waiters.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|time| *time = *time + by);
    }
}

/// Measures elapsed time, independently of the system clock.
///
/// It runs on tokio's clock: `tokio::time::pause` stops it together with the timers of
/// the same runtime. On a thread without a runtime it runs on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts a stopwatch.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The duration, varied by up to a tenth, so that tasks that began together do not end
/// together.
#[must_use]
pub fn about(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopwatch_stops_while_tokios_time_is_paused() {
        let stopwatch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(stopwatch.elapsed(), Duration::ZERO);
        sleep(Duration::from_hours(1)).await;
        assert_eq!(stopwatch.elapsed(), Duration::from_hours(1));
    }

    #[test]
    fn a_stopwatch_runs_without_a_runtime() {
        let stopwatch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(stopwatch.elapsed() >= Duration::from_millis(2));
    }
}
