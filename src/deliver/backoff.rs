//! The pause after a failed delivery.

use std::time::Duration;

/// The first and the longest pause.
const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_mins(5);

/// Returns the pause after a number of consecutive failures, at random between the half and the whole,
/// so that receivers that failed together are not called together. The receiver may ask for a longer one,
/// which counts up to the longest.
pub(super) fn pause(failures: u32, retry_after: Option<Duration>) -> Duration {
    let whole = MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(MAX);
    let pause = whole.mul_f64(0.5 + fastrand::f64() / 2.0);
    retry_after.map_or(pause, |asked| asked.min(MAX).max(pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_five_minutes() {
        for (failures, seconds) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (1_000, 300)] {
            let whole = Duration::from_secs(seconds);
            for _ in 0..100 {
                let pause = pause(failures, None);
                assert!((whole / 2..=whole).contains(&pause), "{failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn the_receiver_may_ask_for_more_up_to_five_minutes() {
        assert_eq!(pause(1, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(pause(1, Some(Duration::from_hours(9))), MAX);
        assert!(pause(9, Some(Duration::ZERO)) >= Duration::from_secs(128));
    }
}
