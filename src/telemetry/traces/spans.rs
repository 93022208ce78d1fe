//! The spans: one of a request, and below it, of each statement that it needed,
//! one of the wait for it and one of the statement.
//!
//! A statement serves many requests. Each of them that is sampled shows it as its
//! own, because each of them waited for all of it; `db.operation.batch.size`
//! says how many shared it. Attributes are OpenTelemetry's where it has a name for
//! the thing; none holds an id of a user, a session or a tenant, or a text.

use std::{borrow::Cow, pin::Pin, sync::Arc};

use http::Method;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::Span;

use super::Tracing;
use crate::telemetry::{Api, RequestId};

tokio::task_local! {
    /// The trace of the request that this task works for; `None` while that one is
    /// not sampled.
    static CURRENT: Option<Trace>;
}

/// What spans below another one need; small, because there is a place for it in
/// every call.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Above>);

#[derive(Debug)]
struct Above {
    tracing: Arc<Tracing>,
    span: SpanContext,
}

impl Trace {
    /// The trace of the request that this task works for, if that one is sampled.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// The span above.
    pub(super) fn above(&self) -> &SpanContext {
        &self.0.span
    }

    fn start(&self, builder: SpanBuilder) -> Span {
        self.0.tracing.start(builder, &self.0.span)
    }

    /// A statement begins that does what the request waits for, beside others.
    #[must_use]
    pub fn statement(&self, name: &'static str, members: usize) -> StatementSpan {
        let system = KeyValue::new("db.system.name", self.0.tracing.database);
        let mut attributes = vec![system, KeyValue::new("db.operation.name", name)];
        if members > 1 {
            attributes.push(KeyValue::new("db.operation.batch.size", number(members)));
        }
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_attributes(attributes);
        StatementSpan(self.start(builder))
    }
}

/// Whether this task works for a request, sampled or not.
pub(super) fn is_at_work() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// Works for a request, of this trace if it is sampled.
pub(super) async fn within<F: Future + ?Sized>(trace: Option<Trace>, work: Pin<&mut F>) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// A call waits for its statement.
#[derive(Debug)]
pub struct QueueSpan {
    /// Ended when it is dropped.
    span: Span,
    trace: Trace,
}

impl QueueSpan {
    /// A call of the current request begins to wait; nothing if that one is not sampled.
    #[must_use]
    pub fn start(statement: &'static str) -> Option<Box<Self>> {
        let trace = Trace::current()?;
        let span = trace.start(SpanBuilder::from_name(format!("{statement} queue")));
        Some(Box::new(Self { span, trace }))
    }

    /// It waits no longer.
    #[must_use]
    pub fn finish(mut self) -> Trace {
        self.span.end();
        self.trace
    }
}

/// A statement runs.
#[derive(Debug)]
pub struct StatementSpan(Span);

impl StatementSpan {
    /// The statement has ended; if it failed, so.
    pub fn finish(mut self, error: Option<&'static str>) {
        if let Some(error) = error {
            fail(&mut self.0, error);
        }
        self.0.end();
    }
}

/// A request is answered.
#[derive(Debug)]
pub struct RequestSpan {
    span: Span,
    tracing: Arc<Tracing>,
}

impl RequestSpan {
    pub(super) fn start(tracing: &Arc<Tracing>, parent: &SpanContext) -> Self {
        // The name is not known yet.
        let span = tracing.start(SpanBuilder::from_name("").with_kind(SpanKind::Server), parent);
        Self { span, tracing: Arc::clone(tracing) }
    }

    pub(super) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    /// What is below it.
    pub(in crate::telemetry) fn trace(&self) -> Trace {
        Trace(Arc::new(Above { tracing: Arc::clone(&self.tracing), span: self.context().clone() }))
    }

    /// It calls the method at this path, which is one that there is.
    pub fn grpc(&mut self, path: &'static str) {
        if let Some((service, method)) = path.trim_start_matches('/').split_once('/') {
            self.set("rpc.service", service);
            self.set("rpc.method", method);
        }
    }

    /// It is of this verb, and its path matches this one, if any.
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

    /// It has ended with this code of its API's, or without one: its client went
    /// away.
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
                if is_fault(api, code) {
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

/// Whether the service is at fault, rather than the caller, by the numbers of the
/// API's codes; as OpenTelemetry sees it.
const fn is_fault(api: Api, code: u16) -> bool {
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

fn number(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

impl Tracing {
    fn start(&self, builder: SpanBuilder, parent: &SpanContext) -> Span {
        let parent = if parent.is_valid() {
            Context::new().with_remote_span_context(parent.clone())
        } else {
            Context::new()
        };
        self.tracer.build_with_context(builder, &parent)
    }
}
