//! Limits the connections of each API.

use std::{io, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::telemetry::ConnectionMetrics;

/// The open files that the process needs besides its clients' connections: database
/// connections, logs, certificates.
const OTHER_FILES: u64 = 512;

/// The connection limit of one API. Clones share one count.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    metrics: ConnectionMetrics,
}

impl Slots {
    /// Allows `max` connections at once.
    #[must_use]
    pub fn new(max: u32, metrics: ConnectionMetrics) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(usize::MAX))), metrics }
    }

    /// Takes a slot; `None` and a refused connection in the metrics if none is free.
    pub(super) fn take(&self) -> Option<Slot> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            self.metrics.refused.inc();
            return None;
        };
        self.metrics.open.inc();
        Some(Slot { _permit: permit, metrics: self.metrics.clone() })
    }
}

/// One connection's share of the limit, until it is dropped.
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

/// The connections that each API may have: `wanted`, or fewer if the process may not
/// open enough files. The limit keeps files free for the database.
#[must_use]
pub fn connections_max(wanted: u32) -> u32 {
    let (files, possible) = match connections_possible() {
        Ok(possible) => possible,
        Err(error) => {
            warn!(%error, "cannot read the limit of open files");
            return wanted;
        }
    };
    if possible < wanted {
        warn!(
            files,
            connections_max = possible,
            "connection limit reduced: the process may open too few files"
        );
    }
    wanted.min(possible)
}

/// Raises the limit of open files to its hard limit. Returns it, and the connections that
/// each of the two APIs can have with it.
pub fn connections_possible() -> io::Result<(u64, u32)> {
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let possible = u32::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(u32::MAX).max(1);
    Ok((files, possible))
}

/// The open files that the process needs for this many connections of each API.
#[must_use]
pub fn files_needed(connections: u32) -> u64 {
    u64::from(connections) * 2 + OTHER_FILES
}
