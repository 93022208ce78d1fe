//! The layer around every gRPC call, in this order: request ids, metrics and log; the rules of the
//! protocol; deadline; authentication; corrections of the status codes that tonic chooses.

use std::{pin::pin, time::Duration};

use axum::{extract::Request, response::Response};
use http::{HeaderName, StatusCode};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{
    methods::{self, Method},
    presence_service::CallContext,
    protocol,
    routes::Routes,
    state::GrpcState,
    status::{to_status, unreadable},
};
use crate::{
    batch::CALL_TIMEOUT,
    server::{Endless, LongWait},
    service::{Error, WAIT_MAX},
    telemetry::{Api, RequestIds, RequestTimer},
};

/// The compressions that the service can read.
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The layer and the services behind it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) state: GrpcState,
    pub(super) routes: Routes,
}

impl Layer {
    /// Handles one call. The deadline ends the wait, not the work: a statement runs in a task of
    /// its own. A call without a deadline has one too: the client must send its message in time,
    /// and the response takes a few seconds at most.
    pub(super) async fn handle(&self, mut request: Request) -> Response {
        let Self { state, routes } = self;
        let mut timer = RequestTimer::start(&state.metrics, &state.traces, Api::Grpc, request.headers());
        let ids = timer.ids();
        let path = request.uri().path();
        let method = Method::find(path, state.reflection);
        let message_max = routes.message_max(path);
        if let Some(Method { path, operation, .. }) = method {
            timer.operation = operation;
            if let Some(span) = &mut timer.span {
                span.grpc(path);
            }
        }
        if let Some(refused) = protocol::refuse(&request) {
            let status = refused.status();
            let name = if status == StatusCode::METHOD_NOT_ALLOWED { "405" } else { "415" };
            timer.finish(name, number(Code::InvalidArgument));
            return refused;
        }

        let wait = if method.is_some_and(Method::waits) { WAIT_MAX } else { Duration::ZERO };
        let longest = state.limits.body_timeout + CALL_TIMEOUT + wait;
        let deadline = protocol::deadline(request.headers());
        let is_public = method.is_some_and(Method::is_public);
        // Two timeouts instead of one around both steps, which would copy the request into the
        // future of both.
        let admitted = match deadline.map(|given| given.map_or(longest, |given| given.min(longest))) {
            Ok(deadline) if is_public => Ok((deadline, None)),
            Ok(deadline) => with_timeout(deadline, state.authenticator.authenticate(request.headers()))
                .await
                .flatten()
                .map(|caller| (deadline, Some(caller))),
            Err(error) => Err(error),
        };
        // Only an authenticated caller learns which methods exist.
        let admitted = admitted.and_then(|(deadline, caller)| {
            let unknown = || methods::unknown(request.uri().path(), state.reflection);
            method.map(|method| (deadline, caller, method)).ok_or_else(unknown)
        });
        let response = match admitted {
            Ok((deadline, caller, method)) => {
                request.extensions_mut().insert(CallContext { ids: ids.clone(), caller });
                if method.waits()
                    && let Some(wait) = request.extensions().get::<LongWait>()
                {
                    wait.begin();
                }
                let work = pin!(routes.call(request, method, &ids));
                with_timeout(deadline.saturating_sub(timer.elapsed()), timer.work(work)).await
            }
            Err(error) => Err(error),
        };
        let mut response = match response {
            Ok(response) => correct_status(response, message_max, &ids),
            Err(error) => to_status(&error, &ids).into_http(),
        };
        ids.add_to(response.headers_mut());
        if method.is_some_and(Method::is_endless) {
            response.extensions_mut().insert(Endless);
        }
        let code = code(&response);
        timer.finish(code_name(code), number(code));
        response
    }
}

async fn with_timeout<F: Future>(deadline: Duration, work: F) -> Result<F::Output, Error> {
    timeout(deadline, work).await.map_err(|_| Error::deadline_exceeded())
}

/// Replaces a status that tonic made: of a message that is too large, which is `OUT_OF_RANGE`, or
/// `RESOURCE_EXHAUSTED` if it was compressed; of one that cannot be decoded, which is `INTERNAL`; and
/// of an unknown compression. Our own statuses have details.
fn correct_status(response: Response, message_max: usize, ids: &RequestIds) -> Response {
    let headers = response.headers();
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    let error = match code(&response) {
        Code::Unimplemented => {
            Error::not_supported("The compression `grpc-encoding` of the messages must be gzip or identity.")
        }
        code => match unreadable(code, message_max) {
            Some(error) => error,
            None => return response,
        },
    };
    let mut status = to_status(&error, ids).into_http();
    if let Some(encodings) = headers.get(ACCEPT_ENCODING) {
        status.headers_mut().insert(ACCEPT_ENCODING, encodings.clone());
    }
    status
}

/// The status code of a response; `OK` for a stream that is still open.
fn code(response: &Response) -> Code {
    response.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The number of the code.
fn number(code: Code) -> u16 {
    u16::try_from(i32::from(code)).unwrap_or_default()
}

/// The name of the code in gRPC's documentation.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
