//! The way of one request from HTTP to the API, and of its response back.

use std::{convert::Infallible, future::ready, sync::Arc};

use axum::{body::Body, response::Response};
use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Uri, Version, header::CONNECTION};
use hyper::body::{Body as _, Incoming};

use super::{
    activity::{ActiveRequest, PIECE_BYTES},
    bodies::{RequestBody, ResponseBody},
    connection::{ApiService, Connection, Connections},
    faults::{Fault, Faults},
    memory::{MemoryFull, REQUEST_BYTES, RequestMemory},
};

/// Marks a response that sends the newest state until its client or the service ends it. It has no last
/// byte that the client waits for, so a stop does not wait long for a client that does not read it.
#[derive(Clone, Copy, Debug)]
pub struct Endless;

/// A request whose response may take as long as its caller asks. It is among the request's extensions.
#[derive(Clone, Debug)]
pub struct LongWait(Arc<ActiveRequest>);

impl LongWait {
    /// From now on no timeout ends the request before its response.
    pub fn begin(&self) {
        self.0.set_responded(true);
    }
}

impl<S: ApiService> Connection<S> {
    /// Responds to a request.
    pub(super) fn respond(
        &self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<S> {
        let http2 = request.version() == Version::HTTP_2;
        let bytes = REQUEST_BYTES + header_bytes(request.uri(), request.headers());
        let (memory, full) = match self.memory.request(bytes) {
            Ok(memory) => (Some(memory), None),
            Err(full) => (None, Some(full)),
        };
        let active = Arc::new(self.activity.begin_request(memory));
        let body_of = Arc::clone(&active);
        let mut request =
            request.map(|body| Body::new(RequestBody::new(body, http2, self.activity.clone(), body_of)));
        let Connections { service, refuse, .. } = &self.of;
        let refusal = Refusal { service: service.clone(), refuse: *refuse, faults: self.faults.clone() };
        // Both APIs' services are always ready.
        let response = if let Some(full) = full {
            Either::Left(ready(Ok(refusal.response(full))))
        } else {
            if let Some(memory) = active.memory() {
                request.extensions_mut().insert(memory.clone());
            }
            request.extensions_mut().insert(LongWait(Arc::clone(&active)));
            Either::Right(service.clone().call(request))
        };
        async move {
            let mut response = response.await?;
            active.set_responded(response.extensions().get::<Endless>().is_some());
            if let Some(full) = active.memory().and_then(RequestMemory::refused) {
                // The API has refused it.
                refusal.record(full);
            } else if let Some(full) = take_memory(&response, &active) {
                response = refusal.response(full);
            }
            if !http2 && active.is_last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let memory = REQUEST_BYTES + exact_bytes(&response).unwrap_or_default();
            Ok(response.map(|body| ResponseBody::new(body, memory, active)))
        }
    }
}

/// Refuses requests for which there is no memory.
struct Refusal<S> {
    service: S,
    refuse: fn(&S, MemoryFull) -> Response,
    faults: Faults,
}

impl<S> Refusal<S> {
    fn response(&self, full: MemoryFull) -> Response {
        self.record(full);
        (self.refuse)(&self.service, full)
    }

    fn record(&self, full: MemoryFull) {
        self.faults.record(match full {
            MemoryFull::Connection => Fault::ConnectionMemory,
            MemoryFull::Process => Fault::RequestMemory,
        });
    }
}

/// Takes the memory of a response in place of the request's. A small one is always sent; a large
/// one is not if there is too little memory.
fn take_memory(response: &Response, active: &ActiveRequest) -> Option<MemoryFull> {
    let memory = active.memory()?;
    memory.shrink_to(REQUEST_BYTES);
    let bytes = exact_bytes(response)?;
    memory.grow(bytes).err().filter(|_| bytes > PIECE_BYTES)
}

/// The length of the body, unless it is a stream.
fn exact_bytes(response: &Response) -> Option<usize> {
    usize::try_from(response.body().size_hint().exact()?).ok()
}

/// The bytes of a request's header.
fn header_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    path + headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}
