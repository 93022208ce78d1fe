//! Invalidations that watchers must read users again, whichever process wrote.
//!
//! An invalidation says of whom, never what: whoever gets it reads. So it may come twice,
//! or for nothing, but it must not be lost in silence: where one may have been,
//! [`Invalidation::Everything`] is told.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::broadcast::{self, error::RecvError};
use uuid::Uuid;

use super::{UserKey, postgres::Listener};

/// The invalidations that may wait in this process for one who listens; past that they
/// become [`Invalidation::Everything`].
const WAITING_MAX: usize = 1_024;

/// Whom to read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// These users.
    Users(Vec<UserKey>),
    /// Whoever is watched: something may have been missed.
    Everything,
}

/// The invalidations of one database, from now on.
#[derive(Debug)]
pub struct Changes(Source);

#[derive(Debug)]
enum Source {
    Postgres(Box<Listener>),
    /// SQLite has one process. Whether the first invalidation was told stands beside it.
    Process(broadcast::Receiver<Vec<UserKey>>, bool, Wanted),
}

/// Whether invalidations are wanted, which they are unless it is said; clones are one.
///
/// To know of whom to tell costs SQLite a tenth of its sets.
#[derive(Clone, Debug)]
pub struct Wanted(Arc<AtomicBool>);

impl Wanted {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Says so. A write that commits after it was said that they are is told.
    pub fn set(&self, wanted: bool) {
        self.0.store(wanted, Ordering::SeqCst);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Changes {
    /// Those that a connection of its own listens for.
    pub(super) fn on_postgres(listener: Listener) -> Self {
        Self(Source::Postgres(Box::new(listener)))
    }

    /// To say whether these invalidations are wanted. PostgreSQL tells its replicas in any
    /// case.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        match &self.0 {
            Source::Postgres(_) => Wanted::new(),
            Source::Process(_, _, wanted) => wanted.clone(),
        }
    }

    /// The next invalidation, however long it takes.
    ///
    /// * The first is [`Invalidation::Everything`]: from then on it listens, and what
    ///   is written is told.
    /// * Invalidations come after the commit: a read that starts then sees the write. Of a
    ///   write whose end was not waited for they may come before.
    /// * If an invalidation may have been lost, [`Invalidation::Everything`] comes, and once more
    ///   it listens from then on.
    pub async fn next(&mut self) -> Invalidation {
        match &mut self.0 {
            Source::Postgres(listener) => listener.next().await,
            Source::Process(_, told @ false, _) => {
                *told = true;
                Invalidation::Everything
            }
            Source::Process(receiver, true, _) => match receiver.recv().await {
                Ok(users) => Invalidation::Users(users),
                Err(RecvError::Lagged(_)) => Invalidation::Everything,
                // The database is gone, and with it all who write.
                Err(RecvError::Closed) => pending().await,
            },
        }
    }
}

/// Tells the invalidations of this process to itself.
#[derive(Clone, Debug)]
pub(super) struct Notifier {
    sender: broadcast::Sender<Vec<UserKey>>,
    wanted: Wanted,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { sender: broadcast::Sender::new(WAITING_MAX), wanted: Wanted::new() }
    }

    /// Invalidations from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(Source::Process(self.sender.subscribe(), false, self.wanted.clone()))
    }

    /// Whether anybody wants to know. To be asked again after the commit.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// Tells that watchers must read these users again, if that is wanted.
    pub(super) fn tell(&self, users: impl FnOnce() -> Vec<UserKey>) {
        if !self.is_wanted() {
            return;
        }
        let users = users();
        if !users.is_empty() {
            // There may be nobody who listens.
            let _ = self.sender.send(users);
        }
    }
}

/// A user as invalidations are written: `TENANT USER`. An id has no blanks.
pub(super) fn read_user(text: &str) -> Option<UserKey> {
    let (tenant_id, user_id) = text.split_once(' ')?;
    Some(UserKey { tenant_id: Uuid::try_parse(tenant_id).ok()?, user_id: user_id.parse().ok()? })
}
