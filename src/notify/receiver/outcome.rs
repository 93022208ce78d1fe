//! What a request to a receiver led to.

use std::{error::Error, fmt, io, time::Duration};

use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822;

use super::resolver::ForbiddenAddress;

/// The longest words of a receiver that are kept, in characters.
const WORDS_MAX_CHARS: usize = 200;

/// The outcome of the delivery of a notification. `Display` writes it for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted it, with this status.
    Delivered(StatusCode),
    /// The receiver wants no more notifications: status 410.
    Gone,
    /// The receiver responded with another status.
    Rejected {
        /// The status.
        status: StatusCode,
        /// The time after which the receiver wants the next attempt.
        retry_after: Option<Duration>,
        /// The start of the response's body.
        words: String,
    },
    /// There was no response.
    Unreachable {
        /// What failed.
        kind: UnreachableKind,
        /// The error.
        words: String,
    },
}

/// What failed before there was a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnreachableKind {
    /// The time was over.
    Timeout,
    /// No connection was possible: the name, the network, or the receiver's port.
    Connect,
    /// The TLS handshake failed, such as for a certificate that is not trusted.
    Tls,
    /// The address of the receiver is not allowed.
    ForbiddenAddress,
    /// The connection broke, or the response was not HTTP.
    Broken,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(status) => write!(f, "HTTP {status}"),
            Self::Gone => write!(f, "HTTP {}", StatusCode::GONE),
            Self::Rejected { status, .. } if status.is_redirection() => {
                write!(f, "HTTP {status}; redirects are not followed")
            }
            Self::Rejected { status, words, .. } if words.is_empty() => write!(f, "HTTP {status}"),
            Self::Rejected { status, words, .. } => write!(f, "HTTP {status}: {words}"),
            Self::Unreachable { kind, words } if words.is_empty() => write!(f, "{kind}"),
            Self::Unreachable { kind, words } => write!(f, "{kind}: {words}"),
        }
    }
}

impl fmt::Display for UnreachableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no response in time",
            Self::Connect => "no connection",
            Self::Tls => "TLS failed",
            Self::ForbiddenAddress => "the address of the host is not allowed",
            Self::Broken => "the connection broke",
        })
    }
}

impl Outcome {
    /// The kind as a word, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Gone => "gone",
            Self::Rejected { .. } => "rejected",
            Self::Unreachable { kind: UnreachableKind::Timeout, .. } => "timeout",
            Self::Unreachable { kind: UnreachableKind::Connect, .. } => "no_connection",
            Self::Unreachable { kind: UnreachableKind::Tls, .. } => "tls_failed",
            Self::Unreachable { kind: UnreachableKind::ForbiddenAddress, .. } => "forbidden",
            Self::Unreachable { kind: UnreachableKind::Broken, .. } => "broken",
        }
    }

    /// The outcome of a response with this status. `words` is the start of its body.
    pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, words: &[u8]) -> Self {
        match status {
            status if status.is_success() => Self::Delivered(status),
            StatusCode::GONE => Self::Gone,
            status => Self::Rejected { status, retry_after: retry_after(headers), words: clean(words) },
        }
    }

    /// The outcome of a request that got no response. No URL is in it, as that may have a secret.
    pub(super) fn of_error(error: reqwest::Error) -> Self {
        let (kind, words) = unreachable(error);
        Self::Unreachable { kind, words }
    }

    pub(super) const FORBIDDEN: Self =
        Self::Unreachable { kind: UnreachableKind::ForbiddenAddress, words: String::new() };
}

/// What failed, and the error at its root, which names no URL.
pub(super) fn unreachable(error: reqwest::Error) -> (UnreachableKind, String) {
    let error = error.without_url();
    let causes = || std::iter::successors(error.source(), |cause| (*cause).source());
    let words = causes().last().map(|cause| clean(cause.to_string().as_bytes())).unwrap_or_default();
    let kind = if causes().any(<dyn Error>::is::<ForbiddenAddress>) {
        return (UnreachableKind::ForbiddenAddress, String::new());
    } else if error.is_timeout() {
        return (UnreachableKind::Timeout, String::new());
    } else if causes().any(is_tls) {
        UnreachableKind::Tls
    } else if error.is_connect() {
        UnreachableKind::Connect
    } else {
        UnreachableKind::Broken
    };
    (kind, words)
}

/// Whether the cause is an error of TLS. It is within errors of I/O, whose `source` leaves it out.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => is_tls(inner),
        None => cause.is::<rustls::Error>(),
    }
}

/// The time to wait that a response asks for. A date counts from the `Date` of the response, so the
/// clocks of the two machines need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let value = text(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    Duration::try_from(date(value)?.duration_since(date(text(header::DATE)?)?)).ok()
}

/// The text as one line without control characters.
pub(super) fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words = text.split(|character: char| character.is_control() || character.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(WORDS_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wait(retry_after: &'static str, date: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
        headers.insert(header::DATE, HeaderValue::from_static(date));
        super::retry_after(&headers)
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let date = "Sun, 22 Nov 2026 02:50:00 GMT";
        assert_eq!(wait("120", ""), Some(Duration::from_mins(2)));
        assert_eq!(wait(" 0 ", date), Some(Duration::ZERO));
        assert_eq!(wait("Sun, 22 Nov 2026 02:51:30 GMT", date), Some(Duration::from_secs(90)));
        for invalid in ["", "-1", "1.5", "soon", "Sun, 22 Nov 2026 02:49:59 GMT"] {
            assert_eq!(wait(invalid, date), None, "{invalid}");
        }
        assert_eq!(wait("Sun, 22 Nov 2026 02:51:30 GMT", "today"), None);
        assert_eq!(super::retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn words_are_one_line_of_valid_text() {
        assert_eq!(clean(b" Not\r\n\tnow,\x00 \x1b[31mplease \xff"), "Not now, [31mplease \u{fffd}");
        assert_eq!(clean("é".repeat(300).as_bytes()), "é".repeat(200));
        assert_eq!(clean(b""), "");
    }

    #[test]
    fn the_status_decides_the_outcome() {
        let outcome = |status: u16| {
            Outcome::of_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"why")
        };
        for status in [200, 202, 204, 299] {
            assert!(matches!(outcome(status), Outcome::Delivered(_)), "{status}");
        }
        assert_eq!(outcome(410), Outcome::Gone);
        for status in [301, 400, 404, 429, 500, 503] {
            assert!(matches!(outcome(status), Outcome::Rejected { .. }), "{status}");
        }
        assert_eq!(outcome(503).to_string(), "HTTP 503 Service Unavailable: why");
        assert_eq!(outcome(302).to_string(), "HTTP 302 Found; redirects are not followed");
        assert_eq!(Outcome::FORBIDDEN.to_string(), "the address of the host is not allowed");
    }
}
