//! The clock and the stopwatch. No other file reads the time.

#![expect(clippy::disallowed_methods, reason = "this file is the only one that reads the time")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use crate::presence::Timestamp;

/// The longest wait before the clock is read again.
const REREAD_INTERVAL: Duration = Duration::from_mins(1);

/// The number of samples of the database's clock among which the best is chosen.
const SAMPLES: usize = 10;

/// A change of the database's clock by more than this is a step: the service's clock follows
/// it, even back. Smaller changes back only hold the service's clock.
const STEP_MIN_MICROS: i64 = 2_000_000;

/// A smaller change wakes no waiter, because it delays a transition too little to be noticed.
const WAKE_MIN_MICROS: i64 = 10_000;

/// The source of the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The clock of the database, which all replicas share.
    Database(DatabaseClock),
    /// A clock that only a test moves.
    Manual(ManualClock),
}

impl Clock {
    /// A clock that shows the time of this machine until it follows a database.
    #[must_use]
    pub fn new() -> Self {
        Self::Database(DatabaseClock::new())
    }

    /// The time, in whole milliseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Database(clock) => clock.now(),
            Self::Manual(clock) => *clock.time.borrow(),
        }
    }

    /// The clock that follows the database. A manual clock has none, so this is a new one.
    #[must_use]
    pub fn database_clock(&self) -> DatabaseClock {
        match self {
            Self::Database(clock) => clock.clone(),
            Self::Manual(_) => DatabaseClock::new(),
        }
    }

    /// Waits until the clock shows `at` or later.
    pub async fn wait_until(&self, at: Timestamp) {
        match self {
            Self::Database(clock) => clock.wait_until(at).await,
            // `clock` holds the sender, so the channel stays open.
            Self::Manual(clock) => drop(clock.time.subscribe().wait_for(|now| *now >= at).await),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A clock that follows the clock of a database. Clones share one time.
///
/// It adds an offset to the monotonic clock of this machine. Each sample of the database's clock
/// gives an offset, which is wrong by half the sample's round trip at most. Of the last ten
/// samples, the one with the shortest round trip is used. A sample that contradicts it by more
/// than both round trips means that the database's clock was set, or that another database took
/// over. Then all older samples are discarded.
///
/// The time never goes back, except after a step of more than 2 s.
#[derive(Clone, Debug)]
pub struct DatabaseClock(Arc<Following>);

#[derive(Debug)]
struct Following {
    /// The database's time at the zero of the monotonic clock, in microseconds since the epoch.
    offset: AtomicI64,
    /// The latest time that was shown, in milliseconds since the epoch.
    shown: AtomicI64,
    /// The last samples, the newest last.
    samples: Mutex<VecDeque<Sample>>,
    /// Changes whenever waiters must read the clock again.
    stepped: watch::Sender<()>,
    /// Changes whenever the offset may be wrong.
    doubted: watch::Sender<()>,
}

/// A sample of the database's clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: i64,
    round_trip: i64,
}

/// An instant of this machine's monotonic clock, in microseconds. It does not stop with tokio's
/// clock, as the database's clock does not.
#[derive(Clone, Copy, Debug)]
pub struct Reading(i64);

impl Reading {
    /// Reads the monotonic clock.
    #[must_use]
    pub fn now() -> Self {
        static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
        Self(i64::try_from(ZERO.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// Reads this machine's clock, in microseconds since the epoch.
fn system_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

impl DatabaseClock {
    /// A clock that shows the time of this machine until its first sample.
    #[must_use]
    pub fn new() -> Self {
        let offset = system_micros().saturating_sub(Reading::now().0);
        Self(Arc::new(Following {
            offset: AtomicI64::new(offset),
            shown: AtomicI64::new(0),
            samples: Mutex::default(),
            stepped: watch::Sender::new(()),
            doubted: watch::Sender::new(()),
        }))
    }

    /// The time, in whole milliseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let micros = self.0.offset.load(Ordering::Relaxed).saturating_add(Reading::now().0);
        let millis = micros.div_euclid(1_000);
        Timestamp::from_millis(self.0.shown.fetch_max(millis, Ordering::Relaxed).max(millis))
    }

    /// Notes that the database read its clock as `micros` since the epoch, after `sent` and before
    /// now.
    pub fn observe(&self, sent: Reading, micros: i64) {
        let received = Reading::now();
        let round_trip = received.0.saturating_sub(sent.0);
        let offset = micros.saturating_sub(sent.0.saturating_add(round_trip / 2));
        self.add(Sample { offset, round_trip });
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = samples.is_empty();
        if best(&samples).is_some_and(|chosen| {
            sample.offset.saturating_sub(chosen.offset).saturating_abs()
                > sample.round_trip + chosen.round_trip
        }) {
            samples.clear();
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
        let Some(chosen) = best(&samples) else { return };
        let before = self.0.offset.swap(chosen.offset, Ordering::Relaxed);
        let change = chosen.offset.saturating_sub(before);
        if change.saturating_abs() > STEP_MIN_MICROS {
            let shows = chosen.offset.saturating_add(Reading::now().0).div_euclid(1_000);
            self.0.shown.store(shows, Ordering::Relaxed);
            let change_seconds = change / 1_000_000;
            if is_first {
                info!(
                    change_seconds,
                    "this machine's clock is wrong; the service follows the database's clock"
                );
            } else {
                warn!(change_seconds, "the database's clock was set; the service follows it");
            }
        }
        if change.saturating_abs() > WAKE_MIN_MICROS {
            self.0.stepped.send_replace(());
        }
    }

    /// The milliseconds by which this machine's clock is ahead of the database's, as far as known.
    #[must_use]
    pub fn skew_millis(&self) -> i64 {
        let database = self.0.offset.load(Ordering::Relaxed).saturating_add(Reading::now().0);
        system_micros().saturating_sub(database) / 1_000
    }

    /// Notes that the offset may be wrong, because a statement was late. [`Self::is_doubted`]
    /// resolves.
    pub fn doubt(&self) {
        self.0.doubted.send_replace(());
    }

    /// Waits for the next doubt.
    pub async fn is_doubted(&self) {
        // The clock holds the sender, so the channel stays open.
        drop(self.0.doubted.subscribe().changed().await);
    }

    async fn wait_until(&self, at: Timestamp) {
        let mut stepped = self.0.stepped.subscribe();
        loop {
            let left = at.as_millis().saturating_sub(self.now().as_millis());
            match u64::try_from(left).map(Duration::from_millis) {
                Ok(left) if !left.is_zero() => {
                    tokio::select! {
                        () = sleep(left.min(REREAD_INTERVAL)) => {}
                        _ = stepped.changed() => {}
                    }
                }
                _ => return,
            }
        }
    }
}

impl Default for DatabaseClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The sample with the shortest round trip.
fn best(samples: &VecDeque<Sample>) -> Option<Sample> {
    samples.iter().min_by_key(|sample| sample.round_trip).copied()
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

    /// A clock that shows `millis` after one sample with a round trip of 1 ms.
    fn following(millis: i64) -> DatabaseClock {
        let clock = DatabaseClock::new();
        clock.add(sample(millis, 1_000));
        clock
    }

    /// A sample that says that the database's time is `millis` now.
    fn sample(millis: i64, round_trip: i64) -> Sample {
        Sample { offset: millis * 1_000 - Reading::now().0, round_trip }
    }

    #[track_caller]
    fn assert_shows(clock: &DatabaseClock, millis: i64) {
        let shown = clock.now().as_millis();
        assert!((millis..millis + 500).contains(&shown), "{shown} is not {millis}");
    }

    #[test]
    fn the_sample_with_the_shortest_round_trip_is_used() {
        let clock = following(5_000_000);
        clock.add(sample(5_000_400, 1_000_000));
        assert_shows(&clock, 5_000_000);
        clock.add(sample(5_000_001, 10));
        assert!((clock.skew_millis() - (system_micros() / 1_000 - 5_000_001)).abs() < 500);
        for _ in 0..SAMPLES {
            clock.add(sample(5_000_900, 2_000_000));
        }
        assert_shows(&clock, 5_000_900);
    }

    #[test]
    fn a_sample_that_contradicts_the_others_discards_them() {
        let clock = following(5_000_000);
        clock.add(sample(5_060_000, 50_000));
        assert_shows(&clock, 5_060_000);
    }

    #[test]
    fn the_time_goes_back_only_after_a_step_of_more_than_two_seconds() {
        let clock = following(5_000_000);
        assert_shows(&clock, 5_000_000);
        clock.add(sample(4_998_500, 10));
        assert_shows(&clock, 5_000_000);
        clock.add(sample(4_996_000, 10));
        assert_shows(&clock, 4_996_000);
    }

    #[tokio::test]
    async fn a_step_wakes_a_waiter() {
        let clock = following(5_000_000);
        let waiter = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(Timestamp::from_millis(5_050_000)).await }
        });
        tokio::task::yield_now().await;
        clock.add(sample(5_060_000, 10));
        waiter.await.unwrap();
    }

    #[test]
    fn a_stopwatch_runs_without_a_runtime() {
        let stopwatch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(stopwatch.elapsed() >= Duration::from_millis(2));
    }
}
