//! Hears of writes, those of other replicas included, by LISTEN.

use std::time::Duration;

use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::store::{
    changes::{Invalidation, read_user},
    connection::limit,
};

/// Tells watchers of the users in `changed`, once the statement commits. A
/// notification costs all others a moment at their commit, so there are few: one
/// for 40 users, which is how many fit: a payload may be 8,000 bytes long.
macro_rules! tell_changed {
    () => {
        "
select pg_notify('presence_changes', array_to_string(users[part * 40 + 1:part * 40 + 40], E'\\n'))
from (select array_agg(tenant_id || ' ' || user_id) as users from changed) as told,
     generate_series(0, (cardinality(users) - 1) / 40) as part"
    };
}
pub(super) use tell_changed;

/// Where [`tell_changed`] notifies; the payload is a line `TENANT USER` for each
/// user.
const CHANNEL: &str = "presence_changes";

/// How long nothing may be heard before the connection is tried: a dead one
/// would be as quiet.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// How long listening may take.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How soon to try again when it failed, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A connection of its own that listens; it is replaced when anything goes
/// wrong.
#[derive(Debug)]
pub(in crate::store) struct Listener {
    options: PgConnectOptions,
    listening: Option<PgListener>,
}

impl Listener {
    pub(in crate::store) const fn new(options: PgConnectOptions) -> Self {
        Self { options, listening: None }
    }

    /// The next invalidation; see [`crate::store::Changes::next`]. What this future had
    /// begun is begun anew if it is dropped; nothing that was heard is lost.
    pub(in crate::store) async fn next(&mut self) -> Invalidation {
        loop {
            let Some(listener) = &mut self.listening else {
                self.listening = Some(self.listen().await);
                return Invalidation::Everything;
            };
            let lost = match timeout(QUIET_MAX, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => return invalidation(notification.payload()),
                Ok(Ok(None)) => "the connection was closed".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => match limit(listener.execute("select 1")).await {
                    Ok(Ok(_)) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the connection does not answer".to_owned(),
                },
            };
            warn!(because = lost, "hears of no changes until it listens again");
            self.listening = None;
        }
    }

    /// Tries until it listens.
    async fn listen(&self) -> PgListener {
        let mut pause = RETRY_MIN;
        loop {
            match timeout(LISTEN_TIMEOUT, self.try_to_listen()).await {
                Ok(Ok(listener)) => {
                    info!("hears of changes, those of other replicas included");
                    return listener;
                }
                Ok(Err(error)) => debug!(%error, "cannot listen"),
                Err(_) => debug!("cannot listen within {LISTEN_TIMEOUT:?}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// sqlx's listener wants a pool; this one is for it alone.
    async fn try_to_listen(&self) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        // What it would not hear meanwhile nobody would know of.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

fn invalidation(payload: &str) -> Invalidation {
    let users: Option<Vec<_>> = payload.lines().map(read_user).collect();
    users.map_or_else(
        || {
            warn!(payload, "a notification that can't be read");
            Invalidation::Everything
        },
        Invalidation::Users,
    )
}
