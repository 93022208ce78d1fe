//! The ids of a request: ours, and what its caller calls it.

use std::{borrow::Cow, convert::Infallible};

use axum::{extract::FromRequestParts, http::request::Parts};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::matched::Matched;
use crate::telemetry::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
/// What a client may have us echo, in bytes.
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// Both ids; the caller's is ours if it has none.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) own: RequestId,
    client: Option<HeaderValue>,
}

impl Ids {
    /// Of a request that came with these headers.
    pub(super) fn of(own: RequestId, headers: &HeaderMap) -> Self {
        let client = headers.get(CLIENT_REQUEST_ID).filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX);
        Self { own, client: client.cloned() }
    }

    /// Of what never was a request.
    pub(super) fn new() -> Self {
        Self { own: RequestId::new(), client: None }
    }

    /// The caller's as a text.
    pub(super) fn client(&self) -> Cow<'_, str> {
        match &self.client {
            Some(id) => String::from_utf8_lossy(id.as_bytes()),
            None => self.own.to_string().into(),
        }
    }

    /// Puts both into the headers of the answer.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        let own = header(self.own);
        let client = self.client.unwrap_or_else(|| own.clone());
        headers.insert(REQUEST_ID, own);
        headers.insert(CLIENT_REQUEST_ID, client);
    }
}

impl<S: Sync> FromRequestParts<S> for Ids {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let own = parts.extensions.get().map_or_else(RequestId::new, |path: &Matched| path.request_id);
        Ok(Self::of(own, &parts.headers))
    }
}

fn header(id: RequestId) -> HeaderValue {
    let mut header = HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
    // It comes once, so a client of HTTP/2 has nothing to gain by remembering it,
    // and would forget headers that come each time.
    header.set_sensitive(true);
    header
}
