//! The value of `--rate-limit`.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use super::parse::duration;

/// The longest delay before a retry: the official Graph SDKs ignore a `Retry-After` of
/// 180 s or more.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(179);

/// A number of calls in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The number of calls.
    pub calls: NonZeroU32,
    /// The period.
    pub period: Duration,
}

impl RateLimit {
    /// The period divided by the number of calls.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.period / self.calls.get()
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALLOWED: &str = "must be CALLS/DURATION, such as 10000/30s";
        let (calls, period) = text.split_once('/').ok_or(ALLOWED)?;
        let limit = Self { calls: calls.parse().map_err(|_| ALLOWED)?, period: duration(period)? };
        if limit.interval().is_zero() || limit.interval() > RETRY_DELAY_MAX {
            return Err("must allow at least one call in 179 s, and at most one in a nanosecond".to_owned());
        }
        Ok(limit)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.calls, self.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_a_number_of_calls_in_a_period() {
        let limit: RateLimit = "10000/30s".parse().unwrap();
        assert_eq!((limit.calls.get(), limit.period), (10_000, Duration::from_secs(30)));
        assert_eq!(limit.interval(), Duration::from_millis(3));
        for invalid in ["", "10", "10/", "/30s", "0/30s", "10/0s", "-1/30s", "1/1h", "10/soon", "9/1ns"] {
            assert!(invalid.parse::<RateLimit>().is_err(), "{invalid:?}");
        }
    }
}
