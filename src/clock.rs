//! The only place that reads the time.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::presence::Timestamp;

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
            Self::Manual(clock) => Timestamp::from_millis(clock.millis.load(Ordering::SeqCst)),
        }
    }
}

/// A clock in the hand of a test; its clones are one clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    millis: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { millis: Arc::new(AtomicI64::new(start.as_millis())) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let start = Timestamp::from_millis(self.millis.load(Ordering::SeqCst));
        self.millis.store((start + by).as_millis(), Ordering::SeqCst);
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
