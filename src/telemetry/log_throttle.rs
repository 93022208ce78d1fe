//! Limits how often a repeated failure is logged.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Stopwatch;

/// The interval after which a lasting failure is logged again: its cause may have changed.
const REPEAT_INTERVAL: Duration = Duration::from_mins(1);

/// Decides whether a failure or a recovery is logged. A failure that lasts, or that
/// comes and goes, must not fill the log.
#[derive(Debug)]
pub struct LogThrottle {
    /// The time without a failure after which the thing has recovered.
    quiet: Duration,
    failure: Mutex<Option<Failure>>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    /// The last failure.
    last: Stopwatch,
    /// The last failure that was logged.
    logged: Stopwatch,
}

impl LogThrottle {
    /// A throttle without a failure. After `quiet` without one, a failure counts as over.
    #[must_use]
    pub const fn new(quiet: Duration) -> Self {
        Self { quiet, failure: Mutex::new(None) }
    }

    /// Records a failure. Returns whether to log it.
    pub fn fails(&self) -> bool {
        let (mut failure, now) = (self.failure(), Stopwatch::start());
        let logged =
            failure.filter(|failure| failure.last.elapsed() < self.quiet).map(|failure| failure.logged);
        let logged = logged.filter(|logged| logged.elapsed() < REPEAT_INTERVAL);
        *failure = Some(Failure { last: now, logged: logged.unwrap_or(now) });
        logged.is_none()
    }

    /// Records a success. Returns whether to log a recovery.
    pub fn succeeds(&self) -> bool {
        self.failure().take_if(|failure| failure.last.elapsed() >= self.quiet).is_some()
    }

    /// Whether the last failure is too recent to count as over.
    pub fn is_failing(&self) -> bool {
        self.failure().is_some_and(|failure| failure.last.elapsed() < self.quiet)
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const QUIET: Duration = Duration::from_secs(10);
    const ALMOST_QUIET: Duration = Duration::from_millis(9_999);

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_logged_once_a_minute() {
        let throttle = LogThrottle::new(QUIET);
        assert!(!throttle.succeeds() && !throttle.is_failing());
        let mut logged = Vec::new();
        for second in (0..150).step_by(5) {
            if throttle.fails() {
                logged.push(second);
            }
            assert!(throttle.is_failing());
            sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(logged, [0, 60, 120]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_comes_and_goes_is_logged_once() {
        let throttle = LogThrottle::new(QUIET);
        assert!(throttle.fails());
        for _ in 0..5 {
            sleep(ALMOST_QUIET).await;
            assert!(!throttle.succeeds() && throttle.is_failing());
            assert!(!throttle.fails());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_is_logged_once_after_the_quiet_time() {
        let throttle = LogThrottle::new(QUIET);
        for _ in 0..2 {
            assert!(throttle.fails());
            sleep(ALMOST_QUIET).await;
            assert!(throttle.is_failing() && !throttle.succeeds());
            sleep(Duration::from_millis(1)).await;
            assert!(!throttle.is_failing() && throttle.succeeds());
            assert!(!throttle.succeeds());
        }
    }
}
