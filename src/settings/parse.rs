//! Parsers of values.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;

use crate::presence::{EXPIRATION_LEAST, EXPIRATION_MIN};

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

    /// The error of a database URL in which a part of the user name or the password would be read as
    /// the host or the path, because a character in it is not percent-encoded.
    pub(super) fn check_encoding(&self, flag: &str) -> Result<(), String> {
        if !self.is_postgres() || self.parts().is_some_and(|parts| parts.is_encoded()) {
            return Ok(());
        }
        Err(format!(
            "{flag} is ambiguous: percent-encode the characters of the user name and the password: % as %25, @ as %40, \
             / as %2F, : as %3A, ? as %3F and # as %23"
        ))
    }

    /// Whether it is uncertain where the password of this URL ends.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.check_encoding("").is_err()
    }

    /// The parts of a URL; `None` without `://`.
    fn parts(&self) -> Option<Parts<'_>> {
        let (scheme, rest) = self.0.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Some(Parts { scheme, authority, rest })
    }
}

/// The parts of a URL, as parsers see them.
struct Parts<'a> {
    scheme: &'a str,
    /// The user, the password and the host.
    authority: &'a str,
    /// The path, the parameters and the fragment.
    rest: &'a str,
}

impl Parts<'_> {
    /// Whether the user and the password end where parsers see their end.
    fn is_encoded(&self) -> bool {
        self.authority.matches('@').count() < 2 && !self.rest.contains(['@', '#'])
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    /// The URL without its possible secrets: the password before the host, and the parameters. If it
    /// is not certain where they are, only the scheme is left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parts) = self.parts() else {
            let is_file = self.0.starts_with("sqlite:");
            let shown = self.0.split('?').next().filter(|url| is_file || url.is_empty()).unwrap_or("…");
            return f.write_str(shown);
        };
        let Parts { scheme, authority, rest } = parts;
        if !parts.is_encoded() {
            return write!(f, "{scheme}://…");
        }
        let (path, parameters) = rest.split_once('?').map_or((rest, ""), |(path, _)| (path, "?…"));
        match authority.split_once('@') {
            Some((user, host)) => {
                let (user, password) = user.split_once(':').map_or((user, ""), |(user, _)| (user, ":…"));
                // Some servers take a token as the user.
                let user = if scheme.starts_with("http") && password.is_empty() { "…" } else { user };
                write!(f, "{scheme}://{user}{password}@{host}{path}{parameters}")
            }
            None => write!(f, "{scheme}://{authority}{path}{parameters}"),
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

/// A network, or a single address.
pub(super) fn ip_network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map_err(|_| "must be a network such as 10.1.0.0/16 or fd00::/8, or an address".to_owned())
}

/// The shortest expiration of a session.
pub(super) fn session_min(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        let is_allowed = (EXPIRATION_LEAST..=EXPIRATION_MIN).contains(&duration);
        if is_allowed { Ok(duration) } else { Err("must be between 10s and 5m".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_must_be_percent_encoded() {
        let check = |url: &str| url.parse::<Secret>().unwrap().check_encoding("--flag");
        for valid in [
            "postgres://db",
            "postgres://me:pass%40word%2F@db:5432/presence?sslmode=require",
            "postgres://me:a:b@db/presence",
            "postgres:///presence?host=/run/postgresql",
            "sqlite://a@b#c.db",
        ] {
            assert_eq!(check(valid), Ok(()), "{valid}");
        }
        for invalid in ["a@b", "a/b", "a#b", "a?b", "1/b", "@", "/", "?@#"] {
            let error = check(&format!("postgres://me:{invalid}@db/presence")).unwrap_err();
            assert!(error.starts_with("--flag ") && error.contains("@ as %40"), "{error}");
        }
        assert!(check("postgres:me:password@db").is_err());
    }

    #[test]
    fn a_secret_shows_no_password() {
        for (url, shown) in [
            ("postgres://me:password@db:5432/presence", "postgres://me:…@db:5432/presence"),
            ("postgres://me:pass%40word@db:5432/presence", "postgres://me:…@db:5432/presence"),
            ("postgres://me@db/presence?password=x", "postgres://me@db/presence?…"),
            ("sqlite://presence.db", "sqlite://presence.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgres://me:pass@word@db:5432/presence", "postgres://…"),
            ("postgres://me:pass/word@db/presence", "postgres://…"),
            ("postgres://me:1/word@db/presence", "postgres://…"),
            ("postgres://me:pass#word@db/presence", "postgres://…"),
            ("postgres://me:pass?word@db/presence", "postgres://…"),
            ("https://token@issuer/keys?code=x", "https://…@issuer/keys?…"),
            ("https://me:password@issuer/keys", "https://me:…@issuer/keys"),
            ("pass?word@db", "…"),
            ("host=db user=me password=word", "…"),
        ] {
            let secret: Secret = url.parse().unwrap();
            assert_eq!(format!("{secret}"), shown);
            assert_eq!(format!("{secret:?}"), shown);
        }
    }
}
