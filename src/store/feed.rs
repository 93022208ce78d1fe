//! The feed of invalidations of one database, from every process that writes to it.

use std::future::pending;

use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    UserKey,
    invalidation::{Invalidation, Notifier},
    postgres::Listener,
};

/// The invalidations of one database, from now on.
#[derive(Debug)]
pub struct InvalidationFeed(Source);

#[derive(Debug)]
enum Source {
    /// A connection that listens for notifications of all replicas.
    Postgres(Box<Listener>),
    /// A channel in this process, the only one that uses the SQLite database.
    Process { receiver: broadcast::Receiver<Vec<UserKey>>, started: bool },
}

impl InvalidationFeed {
    pub(super) fn from_listener(listener: Listener) -> Self {
        Self(Source::Postgres(Box::new(listener)))
    }

    pub(super) fn from_notifier(notifier: &Notifier) -> Self {
        Self(Source::Process { receiver: notifier.receiver(), started: false })
    }

    /// Waits for the next invalidation.
    ///
    /// 1. The first is [`Invalidation::AllUsers`]. From then on every change is in the feed.
    /// 2. An invalidation follows the commit, so a read that starts afterwards sees the
    ///    write. It may come early only if the caller of the write stopped waiting.
    /// 3. If an invalidation may have been lost, [`Invalidation::AllUsers`] follows, and
    ///    from then on every change is in the feed again.
    pub async fn next(&mut self) -> Invalidation {
        match &mut self.0 {
            Source::Postgres(listener) => listener.next().await,
            Source::Process { started: started @ false, .. } => {
                *started = true;
                Invalidation::AllUsers
            }
            Source::Process { receiver, .. } => match receiver.recv().await {
                Ok(users) => Invalidation::Users(users),
                Err(RecvError::Lagged(_)) => Invalidation::AllUsers,
                // The database is closed, so no write can follow.
                Err(RecvError::Closed) => pending().await,
            },
        }
    }
}
