//! What the log is told of something that fails: that it does, and that it works
//! again. What is away for long must not fill it, nor what fails now and then.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Stopwatch;

/// LogThrottle that lasts is news again after this: it may have another cause by then.
const REPEAT: Duration = Duration::from_mins(1);

/// LogThrottle with one thing, or none.
#[derive(Debug)]
pub struct LogThrottle {
    /// How long it must not have failed for the trouble to be over.
    quiet: Duration,
    lasting: Mutex<Option<Lasting>>,
}

#[derive(Clone, Copy, Debug)]
struct Lasting {
    /// When it last failed.
    failed: Stopwatch,
    /// When that was last news.
    told: Stopwatch,
}

impl LogThrottle {
    /// None; what comes is over after so long without a failure.
    #[must_use]
    pub const fn none(quiet: Duration) -> Self {
        Self { quiet, lasting: Mutex::new(None) }
    }

    /// It has failed: whether that is news.
    pub fn begins(&self) -> bool {
        let (mut lasting, now) = (self.lasting(), Stopwatch::start());
        let told =
            lasting.filter(|lasting| lasting.failed.elapsed() < self.quiet).map(|lasting| lasting.told);
        let told = told.filter(|told| told.elapsed() < REPEAT);
        *lasting = Some(Lasting { failed: now, told: told.unwrap_or(now) });
        told.is_none()
    }

    /// It has worked: whether that is news.
    pub fn ends(&self) -> bool {
        self.lasting().take_if(|lasting| lasting.failed.elapsed() >= self.quiet).is_some()
    }

    /// Whether it has not been over for long enough.
    pub fn lasts(&self) -> bool {
        self.lasting().is_some_and(|lasting| lasting.failed.elapsed() < self.quiet)
    }

    fn lasting(&self) -> MutexGuard<'_, Option<Lasting>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_now_and_then_is_told_once() {
        let throttle = LogThrottle::none(Duration::from_hours(1));
        assert!(!throttle.ends());
        assert!(!throttle.lasts());
        assert!(throttle.begins());
        for _ in 0..10 {
            assert!(!throttle.ends());
            assert!(throttle.lasts());
            assert!(!throttle.begins());
        }
    }

    #[test]
    fn what_works_again_is_told_once() {
        let throttle = LogThrottle::none(Duration::ZERO);
        for _ in 0..2 {
            assert!(throttle.begins());
            assert!(!throttle.lasts());
            assert!(throttle.ends());
            assert!(!throttle.ends());
        }
    }
}
