//! The paths of the API, and the canonical spelling of a path, which is routed:
//!
//! * `/users('{id}')/presence`, OData's key syntax, is `/users/{id}/presence`;
//! * `…/microsoft.graph.setPresence`, as Graph PowerShell writes it, is
//!   `…/setPresence`;
//! * `…/presence/`, with a slash at the end, is `…/presence`;
//! * `/V1.0/Users/{id}/Presence` is `/v1.0/users/{id}/presence`, with the id as it is.

use std::borrow::Cow;

use axum::extract::Request;
use http::{Uri, uri::PathAndQuery};

/// The versions of Graph's API. Both have the same operations.
pub(super) const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// The stream of presences, which a batch cannot contain.
pub(super) const WATCH_PATH: &str = "/communications/watchPresences";

/// The path of the user of the access token.
pub(super) const ME_PATH: &str = "/me";

/// The path of batches.
pub(super) const BATCH_PATH: &str = "/$batch";

/// The segments that a key may follow.
const KEYED: [&str; 3] = ["users", "presences", "subscriptions"];
/// The segment behind `presences` that is no id.
const COUNT: &str = "$count";
/// The words of all paths of the API; a test compares them with the table of operations.
const WORDS: [&str; 27] = [
    "v1.0",
    "beta",
    "$batch",
    "users",
    "me",
    "presence",
    "communications",
    "presences",
    COUNT,
    "getPresencesByUserId",
    "watchPresences",
    "setPresence",
    "clearPresence",
    "holdPresence",
    "setUserPreferredPresence",
    "clearUserPreferredPresence",
    "setStatusMessage",
    "setManualLocation",
    "setAutomaticLocation",
    "clearAutomaticLocation",
    "clearLocation",
    "explain",
    "history",
    "erase",
    "export",
    "subscriptions",
    "reauthorize",
];
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
    let is_canonical = |(is_id, segment)| key(segment).is_none() && spelled(is_id, segment) == segment;
    if trimmed.len() == path.len() && segments(trimmed).all(is_canonical) {
        return None;
    }
    let mut canonical = String::with_capacity(path.len());
    for (is_id, segment) in segments(trimmed) {
        canonical.push('/');
        match key(segment) {
            Some((name, id)) => {
                canonical.push_str(name);
                canonical.push('/');
                canonical.push_str(&id);
            }
            None => canonical.push_str(spelled(is_id, segment)),
        }
    }
    if let Some(query) = uri.query() {
        canonical.push('?');
        canonical.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(canonical).ok()?);
    Uri::from_parts(parts).ok()
}

/// The segments of a path, each with whether it is an id.
fn segments(path: &str) -> impl Iterator<Item = (bool, &str)> {
    let (mut segments, mut behind_keyed) = (path.split('/').skip(1).peekable(), false);
    std::iter::from_fn(move || {
        let segment = segments.next()?;
        let is_count = segments.peek().is_none() && segment.eq_ignore_ascii_case(COUNT);
        let is_id = behind_keyed && !is_count;
        // An id may be `users`.
        behind_keyed = !is_id && keyed(segment).is_some();
        Some((is_id, segment))
    })
}

/// The canonical spelling of a segment; an id stays as it is.
fn spelled(is_id: bool, segment: &str) -> &str {
    if is_id { segment } else { word(without_namespace(segment)) }
}

/// The word of the API's paths that a segment is in another case; else the segment.
fn word(segment: &str) -> &str {
    WORDS.iter().find(|word| word.eq_ignore_ascii_case(segment)).unwrap_or(&segment)
}

fn without_namespace(segment: &str) -> &str {
    match segment.split_at_checked(NAMESPACE.len()) {
        Some((namespace, name)) if namespace.eq_ignore_ascii_case(NAMESPACE) => name,
        _ => segment,
    }
}

/// The canonical spelling of a segment that a key may follow.
fn keyed(segment: &str) -> Option<&'static str> {
    KEYED.into_iter().find(|keyed| keyed.eq_ignore_ascii_case(segment))
}

/// Splits `users('{id}')` into the name and the id, still percent-encoded. A quotation
/// mark in an id is doubled.
fn key(segment: &str) -> Option<(&'static str, Cow<'_, str>)> {
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
    keyed(name).filter(|_| !id.is_empty()).map(|name| (name, id))
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
            ("/V1.0/Users/Ada/Presence/SetPresence", "/v1.0/users/Ada/presence/setPresence"),
            ("/BETA/USERS('Ada')/PRESENCE?X=Y", "/beta/users/Ada/presence?X=Y"),
            ("/v1.0/Communications/Presences/$Count", "/v1.0/communications/presences/$count"),
            ("/v1.0/me/presence/Microsoft.Graph.ClearPresence", "/v1.0/me/presence/clearPresence"),
            ("/v1.0/$Batch", "/v1.0/$batch"),
            ("/v1.0/users/Users/Presence", "/v1.0/users/Users/presence"),
            ("/v1.0/users/$COUNT/Presence", "/v1.0/users/$COUNT/presence"),
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
            "/v1.0/users/ME/presence",
            "/v1.0/Other/Ada",
        ] {
            assert_eq!(canonicalized(uri), uri);
        }
    }
}
