//! The ids of a request: the service's and the client's.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::TraceId;
use tracing::field::DisplayValue;
use uuid::Uuid;

use super::Api;

/// The response header with the service's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The header with the client's id, in requests and responses.
pub const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
/// The header with the id that proxies give to a request.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a client that is used, in bytes.
const CLIENT_REQUEST_ID_MAX: usize = 128;

/// The service's id of a request. It is in the response, in the request's span, and in
/// log lines, there beside the id of the request's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    id: Uuid,
    trace_id: Option<TraceId>,
}

impl RequestId {
    /// Makes a new id, of a request without a trace.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every id is different")]
    pub fn new() -> Self {
        Self::in_trace(None)
    }

    /// Makes a new id, of a request in this trace.
    pub(super) fn in_trace(trace_id: Option<TraceId>) -> Self {
        Self { id: Uuid::new_v4(), trace_id }
    }

    /// The trace's id, as a field of a log line.
    #[must_use]
    pub fn trace_id(self) -> Option<DisplayValue<TraceId>> {
        self.trace_id.map(tracing::field::display)
    }
}

impl RequestId {
    /// The id as a header. It is sensitive, so that it stays out of HTTP/2's table of recent headers,
    /// where it would displace headers that repeat: each id is used once.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        let mut header =
            HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// The client's id of a request: it is in the response and in log lines.
#[derive(Clone, Debug)]
pub struct ClientRequestId(HeaderValue);

impl ClientRequestId {
    /// The id of a request with these headers: `client-request-id`, or in the gRPC API also
    /// `x-request-id`. An id that is empty or longer than 128 bytes is ignored.
    #[must_use]
    pub fn of(api: Api, headers: &HeaderMap) -> Option<Self> {
        let find = |name: HeaderName| {
            headers.get(name).filter(|id| !id.is_empty() && id.len() <= CLIENT_REQUEST_ID_MAX)
        };
        let id = match api {
            Api::Http => find(CLIENT_REQUEST_ID),
            Api::Grpc => find(CLIENT_REQUEST_ID).or_else(|| find(X_REQUEST_ID)),
        };
        id.cloned().map(Self)
    }

    /// The id as a header.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.0.as_bytes())
    }
}

/// Both ids of a request.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// The service's id.
    pub own: RequestId,
    /// The client's id, if it sent one.
    pub client: Option<ClientRequestId>,
}

impl RequestIds {
    /// Adds the ids to the headers of a response.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.own.header());
        if let Some(client) = &self.client {
            headers.insert(CLIENT_REQUEST_ID, client.header());
        }
    }
}
