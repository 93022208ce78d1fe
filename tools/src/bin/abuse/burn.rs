//! The control: a program that only uses the processor.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// The length of a turn: some work, then a pause.
const TURN: Duration = Duration::from_millis(10);

/// Uses this many seconds of the processor during `length`, evenly on all cores.
pub(crate) fn run(seconds: f64, length: Duration) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = u32::try_from(threads).unwrap();
    let share = (seconds / length.as_secs_f64() / f64::from(threads)).clamp(0.0, 1.0);
    let threads: Vec<_> = (0..threads).map(|_| thread::spawn(move || burn(share, length))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Uses this share of a core.
fn burn(share: f64, length: Duration) {
    let stopwatch = Instant::now();
    let mut owed = Duration::ZERO;
    while stopwatch.elapsed() < length {
        let turn = Instant::now();
        owed += TURN.mul_f64(share);
        while used() < owed && stopwatch.elapsed() < length {
            hint::spin_loop();
        }
        thread::sleep(TURN.saturating_sub(turn.elapsed()));
    }
}

/// The processor time of this thread.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}
