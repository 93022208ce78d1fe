//! One request of a connection.

use futures_util::task::AtomicWaker;

use super::{ConnectionActivity, Request};
use crate::{clock::Stopwatch, server::memory::RequestMemory};

/// A request from its header until its response has been sent.
#[derive(Debug)]
pub(in crate::server) struct ActiveRequest {
    pub(super) activity: ConnectionActivity,
    pub(super) index: usize,
    pub(super) memory: Option<RequestMemory>,
    /// Wakes the response when the client has taken bytes.
    pub(in crate::server) taken: AtomicWaker,
}

impl ActiveRequest {
    /// Records that the response is ready, and whether it is [endless](crate::server::Endless).
    pub(in crate::server) fn set_responded(&self, endless: bool) {
        self.update(|request| (request.responded, request.endless) = (true, endless));
    }

    /// Whether the response has begun.
    pub(in crate::server) fn has_responded(&self) -> bool {
        self.update(|request| request.responded).unwrap_or(true)
    }

    /// Records bytes of the response that the client can take.
    pub(in crate::server) fn bytes_ready(&self, bytes: usize) {
        self.update(|request| {
            request.waiting += bytes;
            request.stalled.get_or_insert_with(Stopwatch::start);
        });
    }

    /// Records bytes that are on their way to the client.
    pub(in crate::server) fn bytes_taken(&self, bytes: usize) {
        self.update(|request| {
            request.waiting = request.waiting.saturating_sub(bytes);
            request.stalled = (request.waiting > 0).then(Stopwatch::start);
        });
        self.taken.wake();
    }

    /// The bytes of the response that wait for the client.
    pub(in crate::server) fn bytes_waiting(&self) -> usize {
        self.update(|request| request.waiting).unwrap_or_default()
    }

    /// Whether its response is the last one on the connection.
    pub(in crate::server) fn is_last(&self) -> bool {
        self.activity.is_old()
    }

    /// Its memory.
    pub(in crate::server) const fn memory(&self) -> Option<&RequestMemory> {
        self.memory.as_ref()
    }

    fn update<T>(&self, change: impl FnOnce(&mut Request) -> T) -> Option<T> {
        let mut progress = self.activity.progress();
        progress.advanced = Stopwatch::start();
        progress.requests.get_mut(self.index).map(change)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.activity.0.faults.under_way().dec();
        let mut progress = self.activity.progress();
        (progress.advanced, progress.header_begun) = (Stopwatch::start(), None);
        let request = progress.requests.try_remove(self.index);
        drop(progress);
        if request.is_some_and(|request| !request.responded && !request.cut) {
            self.activity.record_reset();
        }
    }
}
