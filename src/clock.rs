//! The only place that reads the time.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::time::{Duration, Instant, SystemTime};

use tokio::{sync::watch, time::sleep};

use crate::presence::Timestamp;

/// How long to wait for the system's clock before it is read again: it may have
/// been put forward meanwhile.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What tells the time: the system, or a test.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock. Replicas need NTP: see `health`.
    System,
    /// A clock that stands still until a test moves it.
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

    /// Waits until it is `at`.
    pub async fn wait_until(&self, at: Timestamp) {
        match self {
            Self::System => loop {
                let left = at.as_millis().saturating_sub(self.now().as_millis());
                match u64::try_from(left).map(Duration::from_millis) {
                    Ok(left) if !left.is_zero() => sleep(left.min(LOOK_AGAIN)).await,
                    _ => return,
                }
            },
            // The sender is here, so it can't be gone.
            Self::Manual(clock) => drop(clock.time.subscribe().wait_for(|now| *now >= at).await),
        }
    }
}

/// A clock in the hand of a test; its clones are one clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { time: watch::Sender::new(start) }
    }

    /// Moves the clock forward, and wakes those who wait for it.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|time| *time = *time + by);
    }
}

/// Measures how long something takes, whatever happens to the system's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
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
/// The duration, give or take a tenth: what began together need not end together.
#[must_use]
pub fn about(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + fastrand::f64() / 5.0)
}
