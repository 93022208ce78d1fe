//! A trace collector, in place of OpenTelemetry's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// A collector that keeps all that it receives. It runs on this test's runtime.
pub struct Collector {
    pub url: String,
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

struct Keeper(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::default();
        let service = TraceServiceServer::new(Keeper(Arc::clone(&received)));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        Self { url, received }
    }

    /// The received spans, in the order of their starts. They are complete once the service
    /// has stopped.
    pub fn spans(&self) -> Vec<Sent> {
        let received = self.received.lock().unwrap();
        let mut spans: Vec<_> = received
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|of| &of.scope_spans)
            .flat_map(|of| &of.spans)
            .collect();
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.name.len()));
        spans.into_iter().map(Sent::from).collect()
    }

    /// All received requests, as text to search.
    pub fn text(&self) -> String {
        format!("{:?}", self.received.lock().unwrap())
    }
}

/// A received span, in a form that tests can compare.
#[derive(Clone, Debug)]
pub struct Sent {
    pub name: String,
    pub kind: SpanKind,
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root span.
    pub parent_id: String,
    pub state: String,
    /// Attributes, with all values as text.
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    /// Start and end, in nanoseconds since 1970.
    pub times: (u64, u64),
}

impl From<&Span> for Sent {
    fn from(span: &Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Self {
            name: span.name.clone(),
            kind: span.kind(),
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            attributes: span.attributes.iter().map(attribute).collect(),
            failed: span.status.as_ref().is_some_and(|status| status.code == 2),
            times: (span.start_time_unix_nano, span.end_time_unix_nano),
        }
    }
}

fn attribute(attribute: &KeyValue) -> (String, String) {
    let value = match &attribute.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text.clone(),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key.clone(), value)
}
