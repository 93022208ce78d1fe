//! What the log is told of a statement that fails: that it does, and that it works
//! again. A database that is away for long must not fill it, nor one that fails now
//! and then.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Stopwatch;

/// Trouble with one statement, or none.
#[derive(Debug)]
pub(super) struct Trouble {
    /// How long it must not have failed for the trouble to be over.
    quiet: Duration,
    /// Since when it has not failed, while there is trouble.
    since: Mutex<Option<Stopwatch>>,
}

impl Trouble {
    /// None; what comes is over after so long without a failure.
    pub(super) const fn none(quiet: Duration) -> Self {
        Self { quiet, since: Mutex::new(None) }
    }

    /// The statement has failed: whether that is news.
    pub(super) fn begins(&self) -> bool {
        self.since().replace(Stopwatch::start()).is_none()
    }

    /// The statement has worked: whether that is news.
    pub(super) fn ends(&self) -> bool {
        self.since().take_if(|since| since.elapsed() >= self.quiet).is_some()
    }

    fn since(&self) -> MutexGuard<'_, Option<Stopwatch>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_now_and_then_is_told_once() {
        let trouble = Trouble::none(Duration::from_hours(1));
        assert!(!trouble.ends());
        assert!(trouble.begins());
        for _ in 0..10 {
            assert!(!trouble.ends());
            assert!(!trouble.begins());
        }
    }

    #[test]
    fn what_works_again_is_told_once() {
        let trouble = Trouble::none(Duration::ZERO);
        for _ in 0..2 {
            assert!(trouble.begins());
            assert!(trouble.ends());
            assert!(!trouble.ends());
        }
    }
}
