//! The ids of a request: the service's and the client's.

use std::{borrow::Cow, convert::Infallible};

use axum::{extract::FromRequestParts, http::request::Parts};
use http::HeaderMap;

use super::matched::Matched;
use crate::telemetry::{Api, CLIENT_REQUEST_ID, ClientRequestId, REQUEST_ID, RequestId};

/// Both ids of a request. A client that sends none gets the service's id twice.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) own: RequestId,
    pub(super) client: Option<ClientRequestId>,
}

impl Ids {
    /// The ids of a request with these headers.
    pub(super) fn of(own: RequestId, headers: &HeaderMap) -> Self {
        Self { own, client: ClientRequestId::of(Api::Http, headers) }
    }

    /// New ids, for a response that belongs to no request.
    pub(super) fn new() -> Self {
        Self { own: RequestId::new(), client: None }
    }

    /// The client's id as text.
    pub(super) fn client(&self) -> Cow<'_, str> {
        match &self.client {
            Some(id) => id.text(),
            None => self.own.to_string().into(),
        }
    }

    /// Adds both ids to the headers of a response.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        let own = self.own.header();
        let client = self.client.map_or_else(|| own.clone(), |client| client.header());
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
