//! Parsers of values.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;

/// A URL that may contain a password. `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is the URL of a PostgreSQL database.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.0.split_once(':'), Some(("postgres" | "postgresql", _)))
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    /// The URL without its possible secrets: the password before the host, and the
    /// parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password may contain a ? that is not escaped.
        if self.0.split_once('?').is_some_and(|(_, behind)| behind.contains('@')) {
            return match self.0.split_once("://") {
                Some((scheme, _)) => write!(f, "{scheme}://…"),
                None => write!(f, "…"),
            };
        }
        let (url, parameters) = self.0.split_once('?').map_or((self.0.as_str(), ""), |(url, _)| (url, "?…"));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user.to_owned(), |(user, _)| format!("{user}:…"));
                write!(f, "{scheme}://{user}@{host}{parameters}")
            }
            None => write!(f, "{url}{parameters}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "must be a whole number, 1 or more".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "must be a duration such as 10s or 1m30s".to_owned())
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("must be more than 0s".to_owned()) } else { Ok(duration) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_no_password() {
        for (url, shown) in [
            ("postgres://me:pass@word@db:5432/presence", "postgres://me:…@db:5432/presence"),
            ("postgres://me@db/presence?password=x", "postgres://me@db/presence?…"),
            ("sqlite://presence.db", "sqlite://presence.db"),
            ("postgres://me:pass?word@db/presence", "postgres://…"),
            ("pass?word@db", "…"),
        ] {
            let secret: Secret = url.parse().unwrap();
            assert_eq!(format!("{secret}"), shown);
            assert_eq!(format!("{secret:?}"), shown);
        }
    }
}
