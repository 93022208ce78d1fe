//! Receives invalidations from all replicas by LISTEN.

use std::time::Duration;

use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::common::CHANNEL;
use crate::store::{
    connection::with_timeout,
    invalidation::{Invalidation, parse_user},
};

/// The time without a notification after which the connection is tested. A broken connection
/// delivers none, just as an idle one.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);
/// The timeout of connecting and LISTEN.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(2_500);
/// The first and the longest pause before a retry.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A dedicated connection that listens. Any error replaces it.
#[derive(Debug)]
pub(in crate::store) struct Listener {
    options: PgConnectOptions,
    listening: Option<PgListener>,
}

impl Listener {
    pub(in crate::store) const fn new(options: PgConnectOptions) -> Self {
        Self { options, listening: None }
    }

    /// Waits for the next invalidation; see [`crate::store::InvalidationFeed::next`]. The
    /// future can be dropped without losing an invalidation.
    pub(in crate::store) async fn next(&mut self) -> Invalidation {
        loop {
            let Some(listener) = &mut self.listening else {
                self.listening = Some(self.listen().await);
                return Invalidation::AllUsers;
            };
            let reason = match timeout(TEST_AFTER_IDLE, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => return invalidation(notification.payload()),
                Ok(Ok(None)) => "the connection was closed".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => match with_timeout(listener.execute("select 1")).await {
                    Ok(Ok(_)) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the connection does not respond".to_owned(),
                },
            };
            warn!(reason, "lost the connection that listens for changes");
            self.listening = None;
        }
    }

    /// Connects and listens, with retries until it succeeds.
    async fn listen(&self) -> PgListener {
        let mut pause = RETRY_MIN;
        loop {
            match timeout(LISTEN_TIMEOUT, self.try_to_listen()).await {
                Ok(Ok(listener)) => {
                    info!("listening for changes of all replicas");
                    return listener;
                }
                Ok(Err(error)) => debug!(%error, "listening failed"),
                Err(_) => debug!("listening timed out after {LISTEN_TIMEOUT:?}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Connects and listens. sqlx's listener needs a pool; this one has no other user.
    async fn try_to_listen(&self) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        // A reconnect by sqlx would lose notifications without an error.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

fn invalidation(payload: &str) -> Invalidation {
    let users: Option<Vec<_>> = payload.lines().map(parse_user).collect();
    users.map_or_else(
        || {
            warn!(payload, "received an invalid notification");
            Invalidation::AllUsers
        },
        Invalidation::Users,
    )
}
