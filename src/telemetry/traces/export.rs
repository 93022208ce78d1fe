//! Sends spans to a collector by OTLP over gRPC.
//!
//! A thread of the SDK sends them in batches and drops those that its queue cannot hold.
//! The connection belongs to the runtime that creates the provider.

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

/// The timeout of a batch, and of a connection attempt.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Creates a provider that exports every span; sampling happens before a span is made.
/// It connects when it sends the first batch.
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

/// Logs the first failure of an export, and the recovery.
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
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                info!(endpoint, "trace export recovered");
            }
            Ok(()) => {}
            Err(error) if self.failing.swap(true, Ordering::Relaxed) => {
                debug!(endpoint, spans, %error, "failed to export traces");
            }
            Err(error) => {
                warn!(endpoint, spans, %error, "failed to export traces; further failures are logged at debug");
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
