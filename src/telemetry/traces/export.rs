//! Sends spans to a collector, by OTLP over gRPC.
//!
//! A thread of the SDK's own sends them in batches; what does not fit into its
//! queue is dropped. The connection lives on the runtime that starts this.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as Export},
};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tracing::{debug, info, warn};
use uuid::Uuid;

/// How long the collector may take for a batch, and for a connection.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// What exports every span that is made; whether one is made is decided before.
/// Nothing is connected to yet.
pub(super) fn provider(endpoint: &str) -> Result<SdkTracerProvider, String> {
    let wrong = |error: &dyn std::error::Error| format!("--otlp-endpoint {endpoint}: {error}");
    let mut channel = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|error| wrong(&error))?
        .connect_timeout(EXPORT_TIMEOUT)
        .timeout(EXPORT_TIMEOUT);
    if endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new().with_native_roots();
        channel = channel.tls_config(tls).map_err(|error| wrong(&error))?;
    }
    let otlp = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel.connect_lazy())
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| wrong(&error))?;
    let exporter = Exporter { otlp, endpoint: endpoint.to_owned(), failing: AtomicBool::new(false) };
    let resource = Resource::builder()
        .with_service_name("presenced")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// Says once when spans can't be sent, and once when they can again.
#[derive(Debug)]
struct Exporter {
    otlp: SpanExporter,
    endpoint: String,
    failing: AtomicBool,
}

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (endpoint, spans) = (&self.endpoint, batch.len());
        let outcome = self.otlp.export(batch).await;
        match &outcome {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => info!(endpoint, "traces are sent again"),
            Ok(()) => {}
            Err(error) if self.failing.swap(true, Ordering::Relaxed) => {
                debug!(endpoint, spans, %error, "traces are lost");
            }
            Err(error) => {
                warn!(endpoint, spans, %error, "traces are lost; more of the same is logged at debug");
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
