//! How many connections a API may have at once.

use std::{io, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::telemetry::ConnectionMetrics;

/// The files that the process needs beside its clients' connections: the
/// database's connections, logs, certificates.
const OTHER_FILES: u64 = 512;

/// Room for the connections of one API; clones are the same.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    metrics: ConnectionMetrics,
}

impl Slots {
    /// Room for so many connections.
    #[must_use]
    pub fn new(max: u32, metrics: ConnectionMetrics) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(usize::MAX))), metrics }
    }

    /// Room for one more, if there is any.
    pub(super) fn take(&self) -> Option<Slot> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            self.metrics.refused.inc();
            return None;
        };
        self.metrics.open.inc();
        Some(Slot { _permit: permit, metrics: self.metrics.clone() })
    }
}

/// The room that one connection takes, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    metrics: ConnectionMetrics,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}

/// So many connections, or as many as the two APIs can have with the files
/// that the process may open: it is allowed as many as the system lets it have.
/// Connections must never take the last file, which the database may need.
#[must_use]
pub fn connections_max(wanted: u32) -> u32 {
    let (files, possible) = match connections_possible() {
        Ok(possible) => possible,
        Err(error) => {
            warn!(%error, "the limit of open files is not known");
            return wanted;
        }
    };
    if possible < wanted {
        warn!(
            files,
            connections_max = possible,
            "fewer connections than set: the process may open too few files"
        );
    }
    wanted.min(possible)
}

/// The files that the process may open, and the connections that each of the two
/// APIs can have with them.
pub fn connections_possible() -> io::Result<(u64, u32)> {
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let possible = u32::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(u32::MAX).max(1);
    Ok((files, possible))
}

/// The files that it takes to have so many.
#[must_use]
pub fn files_needed(connections: u32) -> u64 {
    u64::from(connections) * 2 + OTHER_FILES
}
