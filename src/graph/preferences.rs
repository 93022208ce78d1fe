//! The request header `Prefer` (RFC 7240).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::unknown::Unknown;

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a client wants unknown properties and query options to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// They are ignored, and the response names them.
    Lenient,
    /// They are refused.
    Strict,
}

/// The value of a preference: `Some("strict")` of `handling=strict`, `Some("")` without a value;
/// `None` without the preference. The first one counts if there are several. Parameters are
/// ignored.
pub(super) fn preference(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| split(value, ',')).find_map(|preference| {
        let first = split(preference, ';').next()?;
        let (token, value) = first.split_once('=').unwrap_or((first, ""));
        let is_named = token.trim().eq_ignore_ascii_case(name);
        is_named.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Splits a text at a character, but not within quotation marks.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted && letter == at,
        }
        false
    })
}

impl Handling {
    /// The preference of a client, if it has one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = preference(headers, "handling")?;
        let is = |word: &str| value.eq_ignore_ascii_case(word);
        match (is("strict"), is("lenient")) {
            (true, _) => Some(Self::Strict),
            (_, true) => Some(Self::Lenient),
            _ => None,
        }
    }

    /// The collection of unknown names under this preference, and the value of
    /// [`PREFERENCE_APPLIED`]. A client can't loosen `--unknown-properties reject`.
    pub(super) fn apply(preferred: Option<Self>, reject: bool) -> (Unknown, Option<HeaderValue>) {
        let applied = match preferred {
            Some(Self::Strict) => Some("handling=strict"),
            Some(Self::Lenient) if !reject => Some("handling=lenient"),
            Some(Self::Lenient) | None => None,
        };
        let strict = reject || preferred == Some(Self::Strict);
        (Unknown::new(strict), applied.map(HeaderValue::from_static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_in_every_spelling() {
        for (headers, expected) in [
            (&["handling=strict"][..], Some(Handling::Strict)),
            (&["HANDLING = \"Strict\""], Some(Handling::Strict)),
            (&["return=minimal, respond-async; x=y, handling=strict; a=b"], Some(Handling::Strict)),
            (&["include-extensions", "handling=lenient"], Some(Handling::Lenient)),
            (&["handling=lenient", "handling=strict"], Some(Handling::Lenient)),
            (&["outlook.timezone=\"a, handling=strict; \\\", handling=strict\""], None),
            (&["x; handling=strict"], None),
            (&["handling"], None),
            (&["handling=other"], None),
            (&[], None),
        ] {
            let values = headers.iter().map(|value| (PREFER, HeaderValue::from_static(value)));
            assert_eq!(Handling::of(&values.collect()), expected, "{headers:?}");
        }
    }
}
