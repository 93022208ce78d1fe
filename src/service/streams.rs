//! What all streams have in common.

use std::future::pending;

use futures_util::future::BoxFuture;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Caller, Error};
use crate::{
    clock::{Clock, about},
    settings::StreamSettings,
    watch::Hub,
};

/// What streams need.
#[derive(Clone, Debug)]
pub struct Streams {
    /// What tells those that watch of changes.
    pub hub: Hub,
    /// How many hold a session.
    pub held: Gauge,
    /// How long they live, and when they say that they do.
    pub settings: StreamSettings,
    /// Ends them all.
    pub stop: CancellationToken,
}

impl Streams {
    /// Resolves when a stream of the caller that begins now must end, and says why:
    /// the service stops, the caller is let in no longer, or the stream has lived as
    /// long as one may.
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
