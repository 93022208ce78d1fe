//! The spans: one for each request, and below it, for each statement, one for the wait in
//! the queue and one for the statement.
//!
//! A statement serves many requests. Each sampled request has its own span for the whole
//! statement; `db.operation.batch.size` is the number of calls that shared it. Attributes
//! have OpenTelemetry's names where it defines one. No attribute holds an id of a user, a
//! session or a tenant, or text from a request.

use std::{borrow::Cow, pin::Pin, sync::Arc};

use http::Method;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::telemetry::{Api, RequestId};

tokio::task_local! {
    /// The trace of the current task's request; `None` if it is not sampled.
    static CURRENT: Option<Trace>;
}

/// Starts spans.
#[derive(Debug)]
pub(super) struct SpanSource {
    pub(super) tracer: SdkTracer,
    /// The database, as OpenTelemetry names it.
    pub(super) database: &'static str,
}

impl SpanSource {
    fn start(&self, builder: SpanBuilder, parent: &SpanContext) -> Span {
        let parent = if parent.is_valid() {
            Context::new().with_remote_span_context(parent.clone())
        } else {
            Context::new()
        };
        self.tracer.build_with_context(builder, &parent)
    }
}

/// A request's trace, below which statements add their spans. It is one pointer, because
/// every call has room for one.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Parent>);

#[derive(Debug)]
struct Parent {
    source: Arc<SpanSource>,
    span: SpanContext,
}

impl Trace {
    /// The trace of the current task's request; `None` if it is not sampled.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// The request's span.
    pub(super) fn parent(&self) -> &SpanContext {
        &self.0.span
    }

    fn start(&self, builder: SpanBuilder) -> Span {
        self.0.source.start(builder, &self.0.span)
    }

    /// Starts the span of a statement that serves the request. `members` is the number of
    /// calls in the batch.
    #[must_use]
    pub fn statement(&self, name: &'static str, members: usize) -> StatementSpan {
        let system = KeyValue::new("db.system.name", self.0.source.database);
        let mut attributes = vec![system, KeyValue::new("db.operation.name", name)];
        if members > 1 {
            attributes.push(KeyValue::new("db.operation.batch.size", number(members)));
        }
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_attributes(attributes);
        StatementSpan(self.start(builder))
    }
}

/// Whether the current task works for a request, sampled or not.
pub(super) fn in_request() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// Runs a request's work in its trace; `None` if it is not sampled.
pub(super) async fn run_in<F: Future + ?Sized>(trace: Option<Trace>, work: Pin<&mut F>) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The span of a call that waits for its statement.
#[derive(Debug)]
pub struct QueueSpan {
    /// Ends when it is dropped.
    span: Span,
    trace: Trace,
}

impl QueueSpan {
    /// Starts the span of a call of the current request; `None` if it is not sampled.
    #[must_use]
    pub fn start(statement: &'static str) -> Option<Box<Self>> {
        let trace = Trace::current()?;
        let span = trace.start(SpanBuilder::from_name(format!("{statement} queue")));
        Some(Box::new(Self { span, trace }))
    }

    /// Ends the wait. Returns the trace for the statement's span.
    #[must_use]
    pub fn finish(mut self) -> Trace {
        self.span.end();
        self.trace
    }
}

/// The span of a running statement.
#[derive(Debug)]
pub struct StatementSpan(Span);

impl StatementSpan {
    /// Ends the span; `error` is the name of the failure, if any.
    pub fn finish(mut self, error: Option<&'static str>) {
        if let Some(error) = error {
            fail(&mut self.0, error);
        }
        self.0.end();
    }
}

/// The span of a request.
#[derive(Debug)]
pub struct RequestSpan {
    span: Span,
    source: Arc<SpanSource>,
}

impl RequestSpan {
    pub(super) fn start(source: &Arc<SpanSource>, parent: &SpanContext) -> Self {
        // `finish` sets the name: the operation is not known yet.
        let span = source.start(SpanBuilder::from_name("").with_kind(SpanKind::Server), parent);
        Self { span, source: Arc::clone(source) }
    }

    pub(super) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    /// The trace in which the request's work runs.
    pub(in crate::telemetry) fn trace(&self) -> Trace {
        Trace(Arc::new(Parent { source: Arc::clone(&self.source), span: self.context().clone() }))
    }

    /// Records the method of a gRPC request, by the path of an existing method.
    pub fn grpc(&mut self, path: &'static str) {
        if let Some((service, method)) = path.trim_start_matches('/').split_once('/') {
            self.set("rpc.service", service);
            self.set("rpc.method", method);
        }
    }

    /// Records the method of an HTTP request, and the template of its path, if one matches.
    pub fn http(&mut self, method: &Method, route: Option<&str>) {
        let known = matches!(
            *method,
            Method::GET
                | Method::POST
                | Method::PUT
                | Method::PATCH
                | Method::DELETE
                | Method::HEAD
                | Method::OPTIONS
        );
        self.set("http.request.method", if known { method.to_string() } else { "_OTHER".to_owned() });
        if let Some(route) = route {
            self.set("http.route", route.to_owned());
        }
    }

    /// Ends the span with the response's code; without a number, the client closed the
    /// request.
    pub(in crate::telemetry) fn finish(
        mut self,
        api: Api,
        operation: &'static str,
        id: RequestId,
        (name, code): (&'static str, Option<u16>),
    ) {
        self.span.update_name(Cow::Borrowed(operation));
        self.set("presence.request_id", id.to_string());
        let attribute = match api {
            Api::Grpc => {
                self.set("rpc.system", "grpc");
                "rpc.grpc.status_code"
            }
            Api::Http => "http.response.status_code",
        };
        match code {
            Some(code) => {
                self.set(attribute, i64::from(code));
                if is_failure(api, code) {
                    fail(&mut self.span, name);
                }
            }
            None => self.set("error.type", name),
        }
        self.span.end();
    }

    fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }
}

/// Whether a code reports a failure of the service, rather than of the caller, as
/// OpenTelemetry defines it.
const fn is_failure(api: Api, code: u16) -> bool {
    match api {
        // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
        Api::Grpc => matches!(code, 2 | 4 | 12..=15),
        Api::Http => code >= 500,
    }
}

fn fail(span: &mut Span, error: &'static str) {
    span.set_attribute(KeyValue::new("error.type", error));
    span.set_status(Status::error(""));
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
