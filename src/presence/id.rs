//! The ids of users, sessions and places.
//!
//! An id is normalised once, where it is read: [`UserId::parse`], [`SessionId::parse`] and
//! [`PlaceId::parse`] serve paths, bodies, tokens, streams and stored rows. Two ids are the same
//! if their normal forms are.
//!
//! * A GUID in any spelling becomes lower case with dashes.
//! * A user id with an `@` inside becomes lower case.
//! * In a session id `APPLICATION:suffix`, the application is normalised and the suffix is not.
//! * All else stays byte for byte.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use super::{
    Placeholder,
    guid::{URN, parse_guid, without_urn},
};

/// The longest id, in characters (which are ASCII).
pub const ID_MAX_CHARS: usize = 128;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty or too long, or has a character that ids do not have.
    #[error("not 1 to 128 visible ASCII characters, or with a `/`")]
    Characters,
    /// The text was sent instead of an id by mistake.
    #[error("a placeholder instead of an id: {0:?}")]
    Placeholder(Placeholder),
}

/// Declares a type of id, whose clones share the text. The types differ in the characters that
/// they allow, in their normal form, and in the placeholders that they refuse.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $allows:expr, $normal:expr, $placeholder:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id and normalises it. The normal form has 1 to 128 visible ASCII
            /// characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let normal: fn(&str) -> Cow<'_, str> = $normal;
                let placeholder: fn(&str) -> Option<Placeholder> = $placeholder;
                let normal = normal(text);
                if let Some(placeholder) = placeholder(&normal) {
                    return Err(InvalidId::Placeholder(placeholder));
                }
                Self::from_normal(&normal)
            }

            /// Reads an id in its normal form, such as a stored one.
            pub fn from_normal(text: &str) -> Result<Self, InvalidId> {
                let allows: fn(u8) -> bool = $allows;
                let allowed = |byte: u8| byte.is_ascii_graphic() && allows(byte);
                if text.is_empty() || text.len() > ID_MAX_CHARS || !text.bytes().all(allowed) {
                    return Err(InvalidId::Characters);
                }
                Ok(Self(text.into()))
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
    UserId, |byte| byte != b'/', normal_user, Placeholder::of_id
}

id! {
    /// The id of a session: `APPLICATION`, usually the application's client id, or
    /// `APPLICATION:suffix` for one of its tabs, devices or calls.
    SessionId, |_| true, normal_session, placeholder_in_session
}

id! {
    /// The id of a place that a work location names, e.g. a building or a desk; opaque.
    PlaceId, |_| true, normal_guid, |_| None
}

impl UserId {
    /// Whether the id has this form.
    #[must_use]
    pub fn has_form(&self, form: UserIdForm) -> bool {
        match form {
            UserIdForm::Any => true,
            UserIdForm::Guid => parse_guid(&self.0).is_some(),
            UserIdForm::Email => is_email(&self.0),
        }
    }
}

impl SessionId {
    /// The application: the part before the first colon, or all of the id.
    #[must_use]
    pub fn application(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(application, _)| application)
    }

    /// Whether this is the session of the application with this id, or one with a suffix:
    /// `APPLICATION` or `APPLICATION:suffix`.
    #[must_use]
    pub fn is_of(&self, application: &Self) -> bool {
        match self.0.strip_prefix(application.as_str()) {
            Some("") => true,
            Some(rest) => rest.strip_prefix(':').is_some_and(|suffix| !suffix.is_empty()),
            None => false,
        }
    }
}

/// The form of the ids of all users of a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UserIdForm {
    /// A GUID, such as the object id of a user in Entra ID.
    Guid,
    /// A text with an @ inside, such as a user principal name or an email address.
    Email,
    /// Any id.
    #[default]
    Any,
}

impl UserIdForm {
    /// The value of `--user-ids`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guid => "guid",
            Self::Email => "email",
            Self::Any => "any",
        }
    }
}

/// Whether the text has an `@` that is neither its first nor its last character.
fn is_email(text: &str) -> bool {
    text.trim_start_matches('@').trim_end_matches('@').contains('@')
}

fn normal_guid(text: &str) -> Cow<'_, str> {
    parse_guid(text).map_or(Cow::Borrowed(text), |guid| Cow::Owned(guid.to_string()))
}

fn normal_user(text: &str) -> Cow<'_, str> {
    if is_email(text) { Cow::Owned(text.to_ascii_lowercase()) } else { normal_guid(text) }
}

fn normal_session(text: &str) -> Cow<'_, str> {
    // The colons of `urn:uuid:` separate nothing.
    let urn = without_urn(text).map_or(0, |_| URN.len());
    let colon = text.get(urn..).and_then(|rest| rest.find(':')).map(|index| urn + index);
    match colon.and_then(|colon| text.split_at_checked(colon)) {
        Some((application, suffix)) => match normal_guid(application) {
            Cow::Owned(guid) => Cow::Owned(guid + suffix),
            Cow::Borrowed(_) => Cow::Borrowed(text),
        },
        None => normal_guid(text),
    }
}

fn placeholder_in_session(text: &str) -> Option<Placeholder> {
    // `:id` has no application and `[object Object]` no colon: both are whole.
    Placeholder::of_id(text).or_else(|| {
        let (application, suffix) = text.split_once(':')?;
        Placeholder::of_id(application).or_else(|| Placeholder::of_part(suffix))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUID: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";

    /// Spellings of [`GUID`]: those of .NET's formats D, N, B and P, of RFC 9562, and in other cases.
    const SPELLINGS: [&str; 9] = [
        GUID,
        "FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3",
        "fa8bf3dceca746b7bad1db199b62afc3",
        "FA8BF3DCECA746B7BAD1DB199B62AFC3",
        "{fa8bf3dc-eca7-46b7-bad1-db199b62afc3}",
        "{FA8BF3DCECA746B7BAD1DB199B62AFC3}",
        "(fa8bf3dc-eca7-46b7-bad1-db199b62afc3)",
        "urn:uuid:fa8bf3dc-eca7-46b7-bad1-db199b62afc3",
        "URN:UUID:FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3",
    ];

    fn user(text: &str) -> String {
        UserId::parse(text).unwrap().to_string()
    }

    fn session(text: &str) -> String {
        SessionId::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_spelling_of_a_guid_is_one_id() {
        for spelling in SPELLINGS {
            assert_eq!(user(spelling), GUID);
            assert_eq!(session(spelling), GUID);
            assert_eq!(PlaceId::parse(spelling).unwrap().as_str(), GUID);
            assert_eq!(session(&format!("{spelling}:Tab:1")), format!("{GUID}:Tab:1"));
        }
    }

    #[test]
    fn an_email_of_a_user_becomes_lower_case_and_all_else_stays() {
        assert_eq!(user("Megan@Contoso.com"), "megan@contoso.com");
        for text in ["Megan", "@Megan", "Megan@", "@Megan@", "urn:uuid:X"] {
            assert_eq!(user(text), text);
        }
        for text in ["Graph-MCP", "A/b", "Megan@Contoso.com", "App:Tab", "urn:uuid:X:Y", "App:", "a::b"] {
            assert_eq!(session(text), text);
        }
        assert_eq!(PlaceId::parse("Desk@Floor").unwrap().as_str(), "Desk@Floor");
    }

    #[test]
    fn a_session_belongs_to_its_application() {
        let id = |text: &str| SessionId::parse(text).unwrap();
        for (text, application) in
            [("app", "app"), ("app:tab:1", "app"), ("urn:uuid:fa8bf3dceca746b7bad1db199b62afc3:1", GUID)]
        {
            assert_eq!(id(text).application(), application);
        }
        let own = id(GUID);
        for spelling in SPELLINGS {
            assert!(id(spelling).is_of(&own) && id(&format!("{spelling}:tab")).is_of(&own), "{spelling}");
        }
        let app = id("app");
        for text in ["app2", "app2:tab", "app:", "ap", "App", "App:tab", "b:app", "b:app:tab", "b", "app/tab"]
        {
            assert!(!id(text).is_of(&app), "{text}");
        }
    }

    #[test]
    fn placeholders_are_refused_in_each_part_of_an_id() {
        let refused = |invalid| Err(InvalidId::Placeholder(invalid));
        for (text, placeholder) in [
            ("*", Placeholder::Wildcard),
            ("Me", Placeholder::Me),
            ("undefined", Placeholder::Unset),
            ("[object Object]", Placeholder::Unset),
            ("{user-id}", Placeholder::Template),
            (":id", Placeholder::Template),
            ("{00000000000000000000000000000000}", Placeholder::NilGuid),
        ] {
            assert_eq!(UserId::parse(text).map(|_| ()), refused(placeholder), "{text}");
            assert_eq!(SessionId::parse(text).map(|_| ()), refused(placeholder), "{text}");
            assert!(!matches!(PlaceId::parse(text), Err(InvalidId::Placeholder(_))), "{text}");
            if placeholder != Placeholder::Me && text != ":id" {
                let suffixed = format!("app:{text}");
                assert_eq!(SessionId::parse(&suffixed).map(|_| ()), refused(placeholder), "{suffixed}");
            }
        }
        assert_eq!(SessionId::parse("undefined:tab").map(|_| ()), refused(Placeholder::Unset));
        assert_eq!(session("app:me"), "app:me");
        // A suffix stays as it is, also a GUID in braces.
        assert_eq!(session(&format!("app:{{{GUID}}}")), format!("app:{{{GUID}}}"));
    }

    #[test]
    fn refuses_empty_and_long_texts_and_invisible_and_non_ascii_characters() {
        let longest = "x".repeat(ID_MAX_CHARS);
        assert!(UserId::parse(&longest).is_ok());
        for text in ["", " ", "a b", "a\0", "a\n", "\u{7f}", "müller", "a/b", &format!("{longest}x")] {
            assert_eq!(UserId::parse(text), Err(InvalidId::Characters), "{text:?}");
        }
        // The limit is that of the normal form.
        let suffix = "x".repeat(ID_MAX_CHARS - GUID.len() - 1);
        assert_eq!(session(&format!("{{{GUID}}}:{suffix}")).len(), ID_MAX_CHARS);
        assert!(SessionId::parse(&format!("{}:{suffix}x", GUID.replace('-', ""))).is_err());
    }

    /// Texts near the rules: pieces of spellings in random order.
    fn text() -> impl Strategy<Value = String> {
        let pieces = SPELLINGS.iter().copied().chain([
            ":",
            "@",
            "{",
            "}",
            "(",
            ")",
            "urn:uuid:",
            "URN:",
            "-",
            "A",
            "b",
            "é",
            "/",
            "*",
            "me",
            "null",
            "%7B",
        ]);
        let piece = prop::sample::select(pieces.collect::<Vec<_>>());
        prop_oneof![
            prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat()),
            "\\PC{0,20}".prop_map(|text| text),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_normal_form_is_its_own_normal_form(text in text()) {
            if let Ok(id) = UserId::parse(&text) {
                prop_assert_eq!(UserId::parse(id.as_str()), Ok(id.clone()));
            }
            if let Ok(id) = SessionId::parse(&text) {
                prop_assert_eq!(SessionId::parse(id.as_str()), Ok(id.clone()));
                prop_assert!(id.as_str().starts_with(id.application()));
            }
            if let Ok(id) = PlaceId::parse(&text) {
                prop_assert_eq!(PlaceId::parse(id.as_str()), Ok(id.clone()));
            }
        }
    }
}
