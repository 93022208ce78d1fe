//! The ids of a request: the service's and the client's.

use std::{borrow::Cow, convert::Infallible};

use axum::{extract::FromRequestParts, http::request::Parts};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::matched::Matched;
use crate::telemetry::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
/// The longest `client-request-id` that is echoed, in bytes.
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// Both ids of a request. A client that sends none gets the service's id twice.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) own: RequestId,
    client: Option<HeaderValue>,
}

impl Ids {
    /// The ids of a request with these headers.
    pub(super) fn of(own: RequestId, headers: &HeaderMap) -> Self {
        let client = headers.get(CLIENT_REQUEST_ID).filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX);
        Self { own, client: client.cloned() }
    }

    /// New ids, for a response that belongs to no request.
    pub(super) fn new() -> Self {
        Self { own: RequestId::new(), client: None }
    }

    /// The client's id as text.
    pub(super) fn client(&self) -> Cow<'_, str> {
        match &self.client {
            Some(id) => String::from_utf8_lossy(id.as_bytes()),
            None => self.own.to_string().into(),
        }
    }

    /// Adds both ids to the headers of a response.
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
        let matched = parts.extensions.get::<Matched>();
        let own = matched.map_or_else(RequestId::new, |matched| matched.request_id);
        Ok(Self::of(own, &parts.headers))
    }
}

fn header(id: RequestId) -> HeaderValue {
    let mut header = HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
    // Each id is used once. A sensitive header stays out of HTTP/2's table of recent
    // headers, where it would displace headers that repeat.
    header.set_sensitive(true);
    header
}
