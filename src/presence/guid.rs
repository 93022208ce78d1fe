//! The spellings of a GUID.

use uuid::Uuid;

/// The prefix of a GUID as a URN (RFC 9562), in any case.
pub(super) const URN: &str = "urn:uuid:";

/// Parses a GUID in any spelling: with or without dashes, in braces or parentheses, as a
/// `urn:uuid:`, in any case.
#[must_use]
pub fn parse_guid(text: &str) -> Option<Uuid> {
    let bare = match text.as_bytes() {
        [b'{', .., b'}'] | [b'(', .., b')'] => text.get(1..text.len() - 1)?,
        _ => without_urn(text).unwrap_or(text),
    };
    let is_bare = matches!(bare.len(), uuid::fmt::Simple::LENGTH | uuid::fmt::Hyphenated::LENGTH);
    Uuid::try_parse(bare).ok().filter(|_| is_bare)
}

/// The text behind `urn:uuid:`.
pub(super) fn without_urn(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_at_checked(URN.len())?;
    prefix.eq_ignore_ascii_case(URN).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_in_every_spelling_and_nothing_else_is() {
        let guid = Uuid::try_parse("fa8bf3dc-eca7-46b7-bad1-db199b62afc3").ok();
        for text in [
            "FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3",
            "fa8bf3dceca746b7bad1db199b62afc3",
            "{fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
            "(fa8bf3dceca746b7bad1db199b62afc3)",
            "urn:uuid:fa8bf3dc-eca7-46b7-bad1-db199b62afc3",
            "URN:UUID:fa8bf3dceca746b7bad1db199b62afc3",
        ] {
            assert_eq!(parse_guid(text), guid, "{text}");
        }
        for text in [
            "",
            "{}",
            "{",
            "é",
            "(fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
            "fa8bf3dc-eca7-46b7-bad1-db199b62afc",
            "fa8bf3dc-eca746b7-bad1-db199b62afc3",
            "{urn:uuid:fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
            "urn:uuid:{fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
            "urn:uuid:x",
        ] {
            assert_eq!(parse_guid(text), None, "{text}");
        }
    }
}
