//! `--rate-limit`.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use super::parse::duration;

/// The longest a caller may be told to wait: the official Graph SDKs take no
/// heed of a `Retry-After` of 180 s or more.
const WAIT_MAX: Duration = Duration::from_secs(179);

/// So many calls in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many calls.
    pub calls: NonZeroU32,
    /// In how long.
    pub period: Duration,
}

impl RateLimit {
    /// In how long one call may be made.
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
        if limit.interval().is_zero() || limit.interval() > WAIT_MAX {
            return Err("must allow a call every 179 s at least, and every nanosecond at most".to_owned());
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
    fn reads_calls_in_a_time() {
        let limit: RateLimit = "10000/30s".parse().unwrap();
        assert_eq!((limit.calls.get(), limit.period), (10_000, Duration::from_secs(30)));
        assert_eq!(limit.interval(), Duration::from_millis(3));
        for nonsense in ["", "10", "10/", "/30s", "0/30s", "10/0s", "-1/30s", "1/1h", "10/soon", "9/1ns"] {
            assert!(nonsense.parse::<RateLimit>().is_err(), "{nonsense:?}");
        }
    }
}
