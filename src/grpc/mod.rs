//! The gRPC API: decodes a request, calls one method of the service, encodes the result.

mod api;
mod convert;
mod health;
mod holds;
mod layer;
mod lists;
mod messages;
mod methods;
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb;
mod presence_service;
mod protocol;
mod routes;
mod state;
mod status;
mod subscriptions;
mod web;

pub use api::GrpcApi;
pub use health::Serving;
/// The name of the service, for health checks.
pub use pb::presence_service_server::SERVICE_NAME;
pub use state::GrpcState;
pub use status::RETRY_PUSHBACK;
pub use web::Web;
