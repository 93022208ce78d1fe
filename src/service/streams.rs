//! State and rules that all streams share.

use std::future::pending;

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Caller, Error, Holds, Operation, stream_end::StreamEnd};
use crate::{
    clock::{Clock, about},
    settings::StreamSettings,
    telemetry::StreamMetrics,
    watch::Hub,
};

/// The state that all streams share.
#[derive(Clone, Debug)]
pub struct Streams {
    /// The source of changes for watchers.
    pub hub: Hub,
    /// The streams that hold a session.
    pub holds: Holds,
    /// Counts ended streams.
    pub metrics: StreamMetrics,
    /// The maximum age and the heartbeat.
    pub settings: StreamSettings,
    /// Ends all streams.
    pub stop: CancellationToken,
}

impl Streams {
    /// Counts a stream that begins now when it has ended.
    pub(super) fn count(&self, operation: Operation) -> StreamEnd {
        StreamEnd::new(self.metrics.clone(), operation)
    }

    /// Resolves with an error when a stream that begins now must end: the service stops, the
    /// caller's token expires, or the stream reaches its maximum age.
    pub(super) fn end(&self, caller: &Caller, clock: &Clock) -> BoxFuture<'static, Error> {
        let (stop, expires_at, clock) = (self.stop.clone(), caller.expires_at(), clock.clone());
        let max_age = about(self.settings.stream_max_age);
        Box::pin(async move {
            let expiry = async {
                match expires_at {
                    Some(at) => clock.wait_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => Error::stopping(),
                () = expiry => Error::token_expired(),
                () = sleep(max_age) => Error::stream_too_old(),
            }
        })
    }
}
