//! The many spellings of a path, made one before it is routed:
//!
//! * `/users('{id}')/presence`, OData's key syntax, is `/users/{id}/presence`;
//! * `…/microsoft.graph.setPresence`, as Graph PowerShell writes it, is
//!   `…/setPresence`;
//! * `…/presence/`, with a slash at the end, is `…/presence`.

use std::borrow::Cow;

use axum::extract::Request;
use http::{Uri, uri::PathAndQuery};

/// The versions of Graph's API; both offer the same.
pub(super) const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// Where presences are followed: no item of a batch.
pub(super) const WATCH_PATH: &str = "/communications/watchPresences";

/// Where batches are posted.
pub(super) const BATCH_PATH: &str = "/$batch";

/// What holds users, and so takes keys.
const KEYED: [&str; 2] = ["users", "presences"];
const NAMESPACE: &str = "microsoft.graph.";
/// The quotation mark, percent-encoded.
const QUOTE: &str = "%27";

/// The request with the one spelling of its path.
pub(super) fn rewrite<B>(mut request: Request<B>) -> Request<B> {
    if let Some(uri) = plain(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The one spelling; `None` if it is that already.
fn plain(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len()
        && !path.contains('(')
        && !path.contains("%28")
        && !path.contains(NAMESPACE)
    {
        return None;
    }
    let mut plain = String::with_capacity(path.len());
    let mut before = "";
    for segment in trimmed.split('/').skip(1) {
        plain.push('/');
        match key(segment) {
            Some((name, id)) => {
                plain.push_str(name);
                plain.push('/');
                plain.push_str(&id);
            }
            // What stands behind these is an id, whatever it looks like.
            None if KEYED.contains(&before) => plain.push_str(segment),
            None => plain.push_str(segment.strip_prefix(NAMESPACE).unwrap_or(segment)),
        }
        before = segment;
    }
    if let Some(query) = uri.query() {
        plain.push('?');
        plain.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(plain).ok()?);
    Uri::from_parts(parts).ok()
}

/// `users('{id}')` as its name and the id, still percent-encoded. A quotation
/// mark in an id stands there twice.
fn key(segment: &str) -> Option<(&str, Cow<'_, str>)> {
    let (name, rest) = segment.split_once('(').or_else(|| segment.split_once("%28"))?;
    let quoted = rest.strip_suffix(')').or_else(|| rest.strip_suffix("%29"))?;
    let quoted = quoted.strip_prefix('\'').or_else(|| quoted.strip_prefix(QUOTE))?;
    let id = quoted.strip_suffix('\'').or_else(|| quoted.strip_suffix(QUOTE))?;
    let id = if id.contains(['\'', '$']) || id.contains(QUOTE) {
        // A key is an id, even where `$count` would be something else.
        Cow::Owned(id.replace(QUOTE, "'").replace("''", QUOTE).replace('$', "%24"))
    } else {
        Cow::Borrowed(id)
    };
    // An empty id would make another path of it.
    (KEYED.contains(&name) && !id.is_empty()).then_some((name, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(uri: &str) -> String {
        rewrite(Request::builder().uri(uri).body(()).unwrap()).uri().to_string()
    }

    #[test]
    fn every_spelling_becomes_one() {
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
            assert_eq!(rewritten(uri), expected);
        }
    }

    #[test]
    fn what_only_looks_like_a_key_stays() {
        for uri in [
            "/v1.0/users/a('b')/presence",
            "/v1.0/users('')/presence",
            "/v1.0/users(a)/presence",
            "/v1.0/users('a'/presence",
            "/v1.0/others('a')/presence",
            "/v1.0/users/microsoft.graph.bot/presence",
            "/v1.0/communications/presences/microsoft.graph.bot",
        ] {
            assert_eq!(rewritten(uri), uri);
        }
    }
}
