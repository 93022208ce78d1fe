//! The paths of the API, and the canonical spelling of a path, which is routed:
//!
//! * `/users('{id}')/presence`, OData's key syntax, is `/users/{id}/presence`;
//! * `…/microsoft.graph.setPresence`, as Graph PowerShell writes it, is
//!   `…/setPresence`;
//! * `…/presence/`, with a slash at the end, is `…/presence`.

use std::borrow::Cow;

use axum::extract::Request;
use http::{Uri, uri::PathAndQuery};

/// The versions of Graph's API. Both have the same operations.
pub(super) const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// The stream of presences, which a batch cannot contain.
pub(super) const WATCH_PATH: &str = "/communications/watchPresences";

/// The path of batches.
pub(super) const BATCH_PATH: &str = "/$batch";

/// The segments that a key may follow.
const KEYED: [&str; 2] = ["users", "presences"];
const NAMESPACE: &str = "microsoft.graph.";
/// A percent-encoded quotation mark.
const QUOTE: &str = "%27";

/// Gives the request the canonical spelling of its path.
pub(super) fn canonicalize<B>(mut request: Request<B>) -> Request<B> {
    if let Some(uri) = canonical(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The canonical spelling; `None` if the path has it already.
fn canonical(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len()
        && !path.contains('(')
        && !path.contains("%28")
        && !path.contains(NAMESPACE)
    {
        return None;
    }
    let mut canonical = String::with_capacity(path.len());
    let mut previous = "";
    for segment in trimmed.split('/').skip(1) {
        canonical.push('/');
        match key(segment) {
            Some((name, id)) => {
                canonical.push_str(name);
                canonical.push('/');
                canonical.push_str(&id);
            }
            // The segment behind these is an id, even one that begins with the namespace.
            None if KEYED.contains(&previous) => canonical.push_str(segment),
            None => canonical.push_str(segment.strip_prefix(NAMESPACE).unwrap_or(segment)),
        }
        previous = segment;
    }
    if let Some(query) = uri.query() {
        canonical.push('?');
        canonical.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(canonical).ok()?);
    Uri::from_parts(parts).ok()
}

/// Splits `users('{id}')` into the name and the id, still percent-encoded. A quotation
/// mark in an id is doubled.
fn key(segment: &str) -> Option<(&str, Cow<'_, str>)> {
    let (name, rest) = segment.split_once('(').or_else(|| segment.split_once("%28"))?;
    let quoted = rest.strip_suffix(')').or_else(|| rest.strip_suffix("%29"))?;
    let quoted = quoted.strip_prefix('\'').or_else(|| quoted.strip_prefix(QUOTE))?;
    let id = quoted.strip_suffix('\'').or_else(|| quoted.strip_suffix(QUOTE))?;
    let id = if id.contains(['\'', '$']) || id.contains(QUOTE) {
        // A key is always an id, even `$count`.
        Cow::Owned(id.replace(QUOTE, "'").replace("''", QUOTE).replace('$', "%24"))
    } else {
        Cow::Borrowed(id)
    };
    // An empty id would lead to another path.
    (KEYED.contains(&name) && !id.is_empty()).then_some((name, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonicalized(uri: &str) -> String {
        canonicalize(Request::builder().uri(uri).body(()).unwrap()).uri().to_string()
    }

    #[test]
    fn every_spelling_becomes_the_canonical_one() {
        for (uri, expected) in [
            ("/v1.0/users/a/presence", "/v1.0/users/a/presence"),
            ("/v1.0/users/a/presence/", "/v1.0/users/a/presence"),
            ("/v1.0/users('a')/presence", "/v1.0/users/a/presence"),
            ("/v1.0/users(%27a%27)/presence/?x=(1)", "/v1.0/users/a/presence?x=(1)"),
            ("/v1.0/users%28%27a%27%29/presence", "/v1.0/users/a/presence"),
            ("/beta/communications/presences('a%40b')", "/beta/communications/presences/a%40b"),
            ("/v1.0/users('o''hara')/presence", "/v1.0/users/o%27hara/presence"),
            ("/v1.0/communications/presences('$count')", "/v1.0/communications/presences/%24count"),
            (
                "/v1.0/users/microsoft.graph.x/presence/microsoft.graph.y",
                "/v1.0/users/microsoft.graph.x/presence/y",
            ),
            ("/v1.0/users/a/presence/microsoft.graph.setPresence", "/v1.0/users/a/presence/setPresence"),
            ("http://host/v1.0/users('a')/presence", "http://host/v1.0/users/a/presence"),
        ] {
            assert_eq!(canonicalized(uri), expected);
        }
    }

    #[test]
    fn segments_that_are_not_keys_stay_unchanged() {
        for uri in [
            "/v1.0/users/a('b')/presence",
            "/v1.0/users('')/presence",
            "/v1.0/users(a)/presence",
            "/v1.0/users('a'/presence",
            "/v1.0/others('a')/presence",
            "/v1.0/users/microsoft.graph.bot/presence",
            "/v1.0/communications/presences/microsoft.graph.bot",
        ] {
            assert_eq!(canonicalized(uri), uri);
        }
    }
}
