//! The ids of users, sessions and places.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

/// The longest id, in characters (which are ASCII).
pub const ID_MAX_CHARS: usize = 128;

/// The text is not an id; see [`UserId::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct InvalidId;

/// Declares a type of id, whose clones share the text. The types differ only in the characters that they allow.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $allows:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id: 1 to 128 visible ASCII characters. A GUID becomes lower case,
            /// so that its case does not matter.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let allows: fn(u8) -> bool = $allows;
                let allowed = |byte: u8| byte.is_ascii_graphic() && allows(byte);
                if text.is_empty() || text.len() > ID_MAX_CHARS || !text.bytes().all(allowed) {
                    return Err(InvalidId);
                }
                Ok(Self(if is_guid(text) { text.to_ascii_lowercase().into() } else { text.into() }))
            }

            /// Returns a text that no caller can send. A statement for it finds no row.
            #[must_use]
            pub fn placeholder() -> Self {
                Self("/".into())
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of a user: opaque, without `/`. There is no directory, so every valid id is a
    /// user.
    UserId, |byte| byte != b'/'
}

id! {
    /// The id of an application's session, usually the application's client id.
    SessionId, |_| true
}

id! {
    /// The id of a place that a work location names, e.g. a building or a desk; opaque.
    PlaceId, |_| true
}

/// Whether the text is a GUID in its usual form, `8-4-4-4-12` digits.
fn is_guid(text: &str) -> bool {
    text.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_guid_becomes_lower_case() {
        let guid = UserId::parse("FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3").unwrap();
        assert_eq!(guid.as_str(), "fa8bf3dc-eca7-46b7-bad1-db199b62afc3");
        assert_eq!(UserId::parse("Megan@Contoso.com").unwrap().as_str(), "Megan@Contoso.com");
        assert_eq!(SessionId::parse("Graph-MCP").unwrap().as_str(), "Graph-MCP");
        assert_eq!(SessionId::parse("A/b").unwrap().as_str(), "A/b");
    }

    #[test]
    fn refuses_empty_and_long_texts_and_invisible_and_non_ascii_characters() {
        let longest = "x".repeat(ID_MAX_CHARS);
        assert!(UserId::parse(&longest).is_ok());
        for text in ["", " ", "a b", "a\0", "a\n", "\u{7f}", "müller", "a/b", &format!("{longest}x")] {
            assert_eq!(UserId::parse(text), Err(InvalidId), "{text:?}");
        }
    }
}
