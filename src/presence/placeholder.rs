//! Placeholders: texts that programs send instead of an id by mistake.

use super::parse_guid;

/// Why a text is a placeholder rather than an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `*`: no call takes a wildcard.
    Wildcard,
    /// `me`: a path of the HTTP API, not an id.
    Me,
    /// `delta`: a query of Graph, not an id.
    Delta,
    /// The text that a language writes for a missing value, such as `undefined`.
    Unset,
    /// A part of a template or of an example that was not replaced, such as `{user-id}`.
    Template,
    /// The nil GUID: .NET's `Guid.Empty`, the value of a variable that was never set.
    NilGuid,
}

/// What programs write for a value that is missing or is no text.
const UNSET: [&str; 6] = ["undefined", "null", "(null)", "nil", "none", "nan"];

impl Placeholder {
    /// Finds out whether a user id, or the application of a session id, is a placeholder.
    #[must_use]
    pub fn of_id(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("me") {
            Some(Self::Me)
        } else if text.eq_ignore_ascii_case("delta") {
            Some(Self::Delta)
        } else if text.strip_prefix(':').is_some_and(is_name) {
            Some(Self::Template)
        } else {
            Self::of_part(text)
        }
    }

    /// Finds out whether a part of an id is a placeholder, such as the part of a session id behind
    /// the application. `me`, `delta` and `:name` have no meaning there.
    #[must_use]
    pub fn of_part(text: &str) -> Option<Self> {
        if let Some(guid) = parse_guid(text) {
            return guid.is_nil().then_some(Self::NilGuid);
        }
        if text == "*" {
            Some(Self::Wildcard)
        } else if UNSET.iter().any(|unset| text.eq_ignore_ascii_case(unset))
            || enclosed(text, "[object ", "]")
        {
            Some(Self::Unset)
        } else {
            is_template(text).then_some(Self::Template)
        }
    }
}

/// Whether the text begins and ends with these texts, in any case.
fn enclosed(text: &str, open: &str, close: &str) -> bool {
    let begins = text.get(..open.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(open));
    let end = text.len().checked_sub(close.len()).and_then(|at| text.get(at..));
    begins && end.is_some_and(|end| end.eq_ignore_ascii_case(close))
}

/// Whether the text is `{name}`, `${name}`, `{{name}}`, `<name>`, or `%7Bname%7D`, which was encoded
/// twice.
fn is_template(text: &str) -> bool {
    enclosed(text.trim_start_matches(['$', '#', '@']), "{", "}")
        || enclosed(text, "<", ">")
        || enclosed(text, "%7b", "%7d")
}

/// Whether a program may name a variable so, as in `:name`.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_in_any_case_and_ids_are_not_placeholders() {
        for (text, expected) in [
            ("*", Placeholder::Wildcard),
            ("me", Placeholder::Me),
            ("ME", Placeholder::Me),
            ("delta", Placeholder::Delta),
            ("undefined", Placeholder::Unset),
            ("null", Placeholder::Unset),
            ("NULL", Placeholder::Unset),
            ("(null)", Placeholder::Unset),
            ("None", Placeholder::Unset),
            ("NaN", Placeholder::Unset),
            ("<nil>", Placeholder::Template),
            ("[object Object]", Placeholder::Unset),
            ("[object Promise]", Placeholder::Unset),
            ("{user-id}", Placeholder::Template),
            ("{}", Placeholder::Template),
            ("{{userId}}", Placeholder::Template),
            ("${userId}", Placeholder::Template),
            ("#{user_id}", Placeholder::Template),
            ("{fa8bf3dc}", Placeholder::Template),
            ("%7Bid%7D", Placeholder::Template),
            ("<user-id>", Placeholder::Template),
            (":id", Placeholder::Template),
            ("00000000-0000-0000-0000-000000000000", Placeholder::NilGuid),
            ("{00000000-0000-0000-0000-000000000000}", Placeholder::NilGuid),
        ] {
            assert_eq!(Placeholder::of_id(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "**",
            "men",
            "nobody",
            "nullable",
            "a{b}",
            "{a}b",
            "$count",
            ":",
            ":1",
            "1:id",
            "<",
            "{",
            "{fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
        ] {
            assert_eq!(Placeholder::of_id(text), None, "{text}");
        }
        for text in ["me", "delta", ":id"] {
            assert_eq!(Placeholder::of_part(text), None, "{text}");
        }
    }
}
