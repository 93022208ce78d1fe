//! Properties and query options that an operation does not know. The response names them, or the
//! request is refused: see [`Unknown`].

use std::sync::{Arc, Mutex, PoisonError};

use http::{Extensions, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::refusal::Refusal;

/// The response header that names what was ignored.
pub(super) const IGNORED: HeaderName = HeaderName::from_static("presence-ignored");

/// The names that are collected of a body, and of a query.
pub(super) const COLLECTED_MAX: usize = 100;
/// The names in [`IGNORED`], which then ends with `...`.
const NAMES_MAX: usize = 20;
/// The bytes of a name in [`IGNORED`], which then ends with `...`.
const NAME_MAX_BYTES: usize = 100;

/// The characters that a name in [`IGNORED`] can't have as they are. Others than ASCII are always
/// encoded.
const ENCODED_IN_NAMES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',').add(b'\\');

/// The least similarity of a misspelt name, of at most 1.
const SIMILARITY_MIN: f64 = 0.8;

/// A name that an operation does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownName {
    /// The path to a property, or the query option behind `?`.
    path: String,
    problem: String,
}

impl UnknownName {
    /// A property of an object that has the properties `known`.
    pub(super) fn property(path: String, name: &str, known: &[&str]) -> Self {
        Self { path, problem: problem("property", name, known) }
    }

    /// A property in `$select` that the resource, which has the properties `known`, does not have.
    pub(super) fn selected(name: &str, known: &[&str]) -> Self {
        Self { path: format!("?$select={name}"), problem: problem("property", name, known) }
    }

    /// A query option of an operation that has the options `known`.
    pub(super) fn option(name: &str, known: &[&str]) -> Self {
        Self { path: format!("?{name}"), problem: problem("query option", name, known) }
    }
}

fn problem(kind: &str, name: &str, known: &[&str]) -> String {
    let name = name.to_ascii_lowercase();
    let similarity = |known: &&str| strsim::jaro_winkler(&name, &known.to_ascii_lowercase());
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match nearest {
        None => format!("is an unknown {kind}; there is none here"),
        Some(nearest) if similarity(nearest) >= SIMILARITY_MIN => {
            format!("is an unknown {kind}; the nearest known name is `{nearest}`")
        }
        Some(_) => format!("is an unknown {kind}; known here: {}", known.join(", ")),
    }
}

/// Collects what a request has that its operation does not know; an extension of the request.
/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Unknown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    strict: bool,
    ignored: Mutex<Vec<UnknownName>>,
}

impl Unknown {
    /// With `strict`, the request is refused because of an unknown name.
    pub(super) fn new(strict: bool) -> Self {
        Self(Arc::new(Inner { strict, ignored: Mutex::default() }))
    }

    /// The collection of a request.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// Adds names, or refuses the request.
    pub(super) fn add(&self, names: Vec<UnknownName>) -> Result<(), Refusal> {
        if names.is_empty() {
            return Ok(());
        }
        if self.0.strict {
            let fields = names.into_iter().map(|name| (name.path, name.problem));
            return Err(Refusal::fields(fields.collect()));
        }
        self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        Ok(())
    }

    /// The value of [`IGNORED`]; `None` if there is nothing to name.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let ignored = self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if ignored.is_empty() {
            return None;
        }
        let mut names: Vec<_> = ignored.iter().take(NAMES_MAX).map(|name| in_header(&name.path)).collect();
        if ignored.len() > NAMES_MAX {
            names.push("...".to_owned());
        }
        HeaderValue::try_from(names.join(", ")).ok()
    }
}

/// A name as visible ASCII characters of a limited number.
fn in_header(name: &str) -> String {
    let mut encoded = utf8_percent_encode(name, ENCODED_IN_NAMES).to_string();
    if encoded.len() > NAME_MAX_BYTES {
        encoded.truncate(NAME_MAX_BYTES);
        encoded.push_str("...");
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_few_short_names_of_visible_ascii() {
        let unknown = Unknown::new(false);
        assert_eq!(unknown.header(), None);
        let names = ["a", "b.c[3].d", "caf\u{e9}, \"x\"\r\n", &"y".repeat(200)];
        unknown.add(names.map(|name| UnknownName::property(name.to_owned(), name, &[])).into()).unwrap();
        let header = unknown.header().unwrap();
        let expected = format!("a, b.c[3].d, caf%C3%A9%2C%20%22x%22%0D%0A, {}...", "y".repeat(100));
        assert_eq!(header.to_str().unwrap(), expected);
        unknown.add(vec![UnknownName::option("o", &[]); 100]).unwrap();
        let header = unknown.header().unwrap();
        let names: Vec<_> = header.to_str().unwrap().split(", ").collect();
        assert_eq!((names.len(), names.last()), (21, Some(&"...")));
    }

    #[test]
    fn a_misspelt_name_has_a_suggestion_and_another_one_the_choice() {
        let known = ["sessionId", "availability", "activity", "expirationDuration"];
        for (name, expected) in [
            ("expirationDurations", "the nearest known name is `expirationDuration`"),
            ("expireDuration", "the nearest known name is `expirationDuration`"),
            ("SESION_ID", "the nearest known name is `sessionId`"),
            ("zzz", "known here: sessionId, availability, activity, expirationDuration"),
        ] {
            assert!(problem("property", name, &known).ends_with(expected), "{}", problem("", name, &known));
        }
        assert_eq!(problem("property", "x", &[]), "is an unknown property; there is none here");
    }
}
