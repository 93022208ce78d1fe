//! The health checks of gRPC.

use std::collections::HashMap;

use futures_util::{
    StreamExt,
    stream::{BoxStream, unfold},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    pb::{
        health::{
            HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
            health_check_response::ServingStatus, health_server::Health,
        },
        presence_service_server::SERVICE_NAME,
    },
    status::without_retry,
};

/// The names that a health check can ask for: the whole server, and its service.
const NAMES: [&str; 2] = ["", SERVICE_NAME];

/// Whether the service accepts calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It does not, and may later.
    No,
    /// It does.
    Yes,
    /// It does not, and the streams of health checks end.
    Stopping,
}

impl Serving {
    const fn status(self) -> ServingStatus {
        match self {
            Self::Yes => ServingStatus::Serving,
            Self::No | Self::Stopping => ServingStatus::NotServing,
        }
    }
}

/// The implementation of `grpc.health.v1.Health`.
#[derive(Debug)]
pub(super) struct HealthHandler(pub(super) watch::Receiver<Serving>);

#[tonic::async_trait]
impl Health for HealthHandler {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !NAMES.contains(&&*request.get_ref().service) {
            let text = format!("There is no such service. The names are: `` (the server), `{SERVICE_NAME}`.");
            return Err(without_retry(Status::not_found(text)));
        }
        Ok(Response::new(response(self.0.borrow().status())))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let status = response(self.0.borrow().status());
        let statuses: HashMap<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), status)).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let is_known = NAMES.contains(&&*request.get_ref().service);
        let watching = Watching { serving: self.0.clone(), is_known, sent: None };
        let statuses = unfold(watching, async |mut watching| {
            let status = watching.next().await?;
            Some((Ok(response(status)), watching))
        });
        Ok(Response::new(statuses.boxed()))
    }
}

const fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

/// The state of a stream of health checks.
struct Watching {
    serving: watch::Receiver<Serving>,
    is_known: bool,
    /// The status that was sent last.
    sent: Option<ServingStatus>,
}

impl Watching {
    /// Waits for the next status that differs from the last one; `None` when the service stops.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let serving = *self.serving.borrow_and_update();
            let status = if self.is_known { serving.status() } else { ServingStatus::ServiceUnknown };
            if self.sent.replace(status) != Some(status) {
                return Some(status);
            }
            if serving == Serving::Stopping || self.serving.changed().await.is_err() {
                return None;
            }
        }
    }
}
