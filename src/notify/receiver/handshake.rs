//! The handshake with a receiver, which shows that it wants the notifications. Graph: validation of
//! the notification endpoint.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Url;

use super::outcome::UnreachableKind;

/// Why a handshake failed: a sentence that says what the receiver did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// There was no response.
    #[error("There was no response: {}.", unreachable(*.kind, .words))]
    Unreachable {
        /// What failed.
        kind: UnreachableKind,
        /// The error.
        words: String,
    },
    /// The response has another status.
    #[error("The response was {0}.")]
    Status(StatusCode),
    /// The response has another content type.
    #[error("The content type of the response was {}, not text/plain.", .0.as_deref().unwrap_or("missing"))]
    ContentType(Option<String>),
    /// The response is another text.
    #[error("The response was not the decoded validation token.")]
    Token,
}

fn unreachable(kind: UnreachableKind, words: &str) -> String {
    if words.is_empty() { kind.to_string() } else { format!("{kind} ({words})") }
}

/// The URL of a handshake: that of the receiver with the token in its query.
pub(super) fn url_with_token(url: &Url, token: &str) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("validationToken", token);
    url
}

/// Checks the response, of whose body these are the first bytes.
pub(super) fn check(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: &str,
) -> Result<(), HandshakeError> {
    if status != StatusCode::OK {
        return Err(HandshakeError::Status(status));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    if !essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"text/plain")) {
        return Err(HandshakeError::ContentType(content_type.map(super::outcome::clean)));
    }
    if body == token.as_bytes() { Ok(()) } else { Err(HandshakeError::Token) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status: StatusCode, content_type: &'static str, body: &[u8]) -> Result<(), HandshakeError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        check(status, &headers, body, "a token")
    }

    #[test]
    fn the_token_extends_the_query() {
        for (url, expected) in [
            ("https://example.com", "https://example.com/?validationToken=a+b%26c%3D%C3%A9"),
            (
                "https://example.com/?code=a%20b",
                "https://example.com/?code=a%20b&validationToken=a+b%26c%3D%C3%A9",
            ),
            ("https://example.com/x?", "https://example.com/x?validationToken=a+b%26c%3D%C3%A9"),
        ] {
            assert_eq!(url_with_token(&Url::parse(url).unwrap(), "a b&c=é").as_str(), expected);
        }
    }

    #[test]
    fn only_200_with_the_decoded_token_as_plain_text_is_right() {
        for content_type in ["text/plain", "Text/Plain; charset=utf-8", "text/plain ;charset=x"] {
            assert_eq!(result(StatusCode::OK, content_type, b"a token"), Ok(()), "{content_type}");
        }
        let error = |status, content_type, body| result(status, content_type, body).unwrap_err().to_string();
        for (status, content_type, body, expected) in [
            (StatusCode::ACCEPTED, "text/plain", &b"a token"[..], "The response was 202 Accepted."),
            (StatusCode::FOUND, "text/plain", b"a token", "The response was 302 Found."),
            (
                StatusCode::OK,
                "text/html",
                b"a token",
                "The content type of the response was text/html, not text/plain.",
            ),
            (StatusCode::OK, "text/plain", b"a+token", "The response was not the decoded validation token."),
            (StatusCode::OK, "text/plain", b"", "The response was not the decoded validation token."),
        ] {
            assert_eq!(error(status, content_type, body), expected);
        }
        let missing =
            check(StatusCode::OK, &HeaderMap::new(), b"a token", "a token").unwrap_err().to_string();
        assert_eq!(missing, "The content type of the response was missing, not text/plain.");
    }
}
