//! The ids of users, sessions and places.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The longest id, in characters (which are ASCII).
pub const ID_MAX_CHARS: usize = 128;

/// A text that is no id: see [`UserId::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct InvalidId;

/// Declares a type of id, which differs from the others only in what it must
/// not contain.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $allows:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads an id: 1 to 128 visible ASCII characters. A GUID is
            /// lower-cased, so that its case makes no difference.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let allows: fn(u8) -> bool = $allows;
                let allowed = |byte: u8| byte.is_ascii_graphic() && allows(byte);
                if text.is_empty() || text.len() > ID_MAX_CHARS || !text.bytes().all(allowed) {
                    return Err(InvalidId);
                }
                Ok(Self(if is_guid(text) { text.to_ascii_lowercase() } else { text.to_owned() }))
            }

            /// The id as a text.
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
    /// A user: opaque, without `/`. There is no directory of users: every
    /// well-formed id is one.
    UserId, |byte| byte != b'/'
}

id! {
    /// The id under which an application keeps its session, usually its client
    /// id.
    SessionId, |_| true
}

id! {
    /// A place that a work location names, e.g. a building or a desk; opaque.
    PlaceId, |_| true
}

/// Whether the text is a GUID as everybody writes it, `8-4-4-4-12` digits.
fn is_guid(text: &str) -> bool {
    text.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_lower_cased_and_nothing_else() {
        let guid = UserId::parse("FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3").unwrap();
        assert_eq!(guid.as_str(), "fa8bf3dc-eca7-46b7-bad1-db199b62afc3");
        assert_eq!(UserId::parse("Megan@Contoso.com").unwrap().as_str(), "Megan@Contoso.com");
        assert_eq!(SessionId::parse("Graph-MCP").unwrap().as_str(), "Graph-MCP");
        assert_eq!(SessionId::parse("A/b").unwrap().as_str(), "A/b");
    }

    #[test]
    fn refuses_what_is_empty_long_invisible_or_foreign() {
        let longest = "x".repeat(ID_MAX_CHARS);
        assert!(UserId::parse(&longest).is_ok());
        for text in ["", " ", "a b", "a\0", "a\n", "\u{7f}", "müller", "a/b", &format!("{longest}x")] {
            assert_eq!(UserId::parse(text), Err(InvalidId), "{text:?}");
        }
    }
}
