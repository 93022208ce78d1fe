//! The memory that clients may use, in bytes, for the process and for each connection.
//!
//! Counts of connections and requests do not bound memory: a request may be a few bytes or a
//! megabyte. So each connection and request takes its bytes from a budget before it uses them, and
//! returns them when it ends. Work for which nothing is left is refused or waits; work under way
//! goes on. When memory is short, clients that do not read their responses have less time
//! ([`Memory::is_short`]).

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::warn;

use crate::clock::Stopwatch;

/// The bytes of the process itself: code, caches, database connections.
const OWN_BYTES: u64 = 48 * 1_024 * 1_024;
/// The memory of a process whose limit cannot be read.
const DEFAULT_LIMIT_BYTES: u64 = 1_024 * 1_024 * 1_024;
/// The smallest budget. A process with less memory than this needs could not serve anybody.
const BUDGET_MIN_BYTES: u64 = 16 * 1_024 * 1_024;
/// The most that the requests of one connection may take.
const CONNECTION_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// The time for which memory counts as short after a request waited for it or was refused.
const SHORT_TIME: Duration = Duration::from_secs(5);

/// An idle HTTP/1 connection, or one whose protocol is not known yet.
pub(super) const IDLE_CONNECTION_BYTES: usize = 5 * 1_024;
/// What TLS adds to a connection.
pub(super) const TLS_BYTES: usize = 16 * 1_024;
/// An HTTP/2 connection, with its buffers and without its requests.
pub(super) const HTTP_2_CONNECTION_BYTES: usize = 20 * 1_024;
/// The buffers of an HTTP/1 connection while it is in use.
pub(super) const HTTP_1_BUFFERS_BYTES: usize = 16 * 1_024;
/// A request without its header and body.
pub(super) const REQUEST_BYTES: usize = 8 * 1_024;

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFull {
    /// The requests of this connection take as much as one connection may.
    Connection,
    /// All clients together take as much as they may.
    Process,
}

/// The memory that the process may use, in bytes: `wanted`, or the limit of its container, or else
/// the machine's memory.
#[must_use]
pub fn memory_limit(wanted: Option<u64>) -> u64 {
    wanted
        .or_else(|| {
            let limit = effective_limits::memory_limit();
            limit
                .inspect_err(|error| warn!(%error, "cannot read the limit of memory; see --memory-max-bytes"))
                .ok()
        })
        .unwrap_or(DEFAULT_LIMIT_BYTES)
}

/// The budget of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    connections: Pool,
    requests: Pool,
    connection_max: usize,
    /// Notified when memory becomes short.
    shortage: watch::Sender<()>,
    started: Stopwatch,
    /// The milliseconds from the start until the last shortage is over.
    short_until: AtomicU64,
}

/// A part of the budget.
#[derive(Debug)]
struct Pool {
    max: usize,
    taken: AtomicUsize,
}

impl Pool {
    const fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

/// The bytes that each part of the budget has, and that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// The part: `connections` or `requests`.
    pub part: &'static str,
    /// Its bytes.
    pub max: usize,
    /// Those that are taken.
    pub taken: usize,
}

impl Memory {
    /// The budget of a process that may use `limit` bytes. Clients get two fifths of what the process
    /// itself leaves, because buffers grow by doubling, the allocator needs room, and watched users are
    /// counted elsewhere (`--watch-users-max`); connections and requests get half of that each.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let budget = (limit.saturating_sub(OWN_BYTES) / 5 * 2).max(BUDGET_MIN_BYTES);
        let part = usize::try_from(budget / 2).unwrap_or(usize::MAX);
        Self(Arc::new(Budget {
            connections: Pool::new(part),
            requests: Pool::new(part),
            connection_max: CONNECTION_MAX_BYTES.min(part / 4),
            shortage: watch::Sender::new(()),
            started: Stopwatch::start(),
            short_until: AtomicU64::new(0),
        }))
    }

    /// What is taken of each part.
    #[must_use]
    pub fn parts(&self) -> [MemoryUse; 2] {
        [("connections", &self.0.connections), ("requests", &self.0.requests)].map(|(part, pool)| MemoryUse {
            part,
            max: pool.max,
            taken: pool.taken.load(Relaxed),
        })
    }

    /// Takes the bytes of a connection; `None` if too few are left.
    pub(super) fn connection(&self, bytes: usize) -> Option<ConnectionMemory> {
        let taken = self.0.connections.take(bytes);
        taken.then(|| ConnectionMemory { budget: Arc::clone(&self.0), bytes, requests: Arc::default() })
    }

    /// Whether a request waited for memory, or was refused, a short time ago.
    pub(super) fn is_short(&self) -> bool {
        self.0.millis() < self.0.short_until.load(Relaxed)
    }

    /// Waits until memory becomes short.
    pub(super) async fn becomes_short(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.shortage.subscribe().changed().await;
    }
}

impl Budget {
    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn report_shortage(&self) {
        let now = self.millis();
        let until = now.saturating_add(u64::try_from(SHORT_TIME.as_millis()).unwrap_or_default());
        if self.short_until.swap(until, Relaxed) <= now {
            self.shortage.send_replace(());
        }
    }
}

/// The bytes of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionMemory {
    budget: Arc<Budget>,
    bytes: usize,
    /// The bytes of its requests.
    requests: Arc<AtomicUsize>,
}

impl ConnectionMemory {
    /// Takes more for the connection itself. Returns whether it could.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.budget.connections.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Takes the bytes of a request.
    pub(super) fn request(&self, bytes: usize) -> Result<RequestMemory, MemoryFull> {
        let request = Share {
            budget: Arc::clone(&self.budget),
            connection: Arc::clone(&self.requests),
            bytes: AtomicUsize::new(0),
            refused: OnceLock::new(),
        };
        let request = RequestMemory(Arc::new(request));
        request.grow(bytes).map(|()| request)
    }
}

impl Drop for ConnectionMemory {
    fn drop(&mut self) {
        self.budget.connections.give_back(self.bytes);
    }
}

/// The bytes of one request, until all clones are dropped. An API takes more for a body before it
/// keeps it.
#[derive(Clone, Debug)]
pub struct RequestMemory(Arc<Share>);

#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    connection: Arc<AtomicUsize>,
    bytes: AtomicUsize,
    /// Why it could not take more, if that happened.
    refused: OnceLock<MemoryFull>,
}

impl RequestMemory {
    /// Takes more bytes.
    pub fn grow(&self, bytes: usize) -> Result<(), MemoryFull> {
        self.try_grow(bytes).inspect_err(|full| {
            let _ = self.0.refused.set(*full);
        })
    }

    /// Why it could not take more, if that happened.
    pub(super) fn refused(&self) -> Option<MemoryFull> {
        self.0.refused.get().copied()
    }

    fn try_grow(&self, bytes: usize) -> Result<(), MemoryFull> {
        let Share { budget, connection, bytes: own, .. } = &*self.0;
        let max = budget.connection_max;
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= max);
        if connection.fetch_update(Relaxed, Relaxed, more).is_err() {
            return Err(MemoryFull::Connection);
        }
        if !budget.requests.take(bytes) {
            connection.fetch_sub(bytes, Relaxed);
            budget.report_shortage();
            return Err(MemoryFull::Process);
        }
        own.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// The bytes that it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Returns what it has beyond `bytes`.
    pub fn shrink_to(&self, bytes: usize) {
        let before = self.0.bytes.fetch_min(bytes, Relaxed);
        self.0.give_back(before.saturating_sub(bytes));
    }
}

impl Share {
    fn give_back(&self, bytes: usize) {
        self.connection.fetch_sub(bytes, Relaxed);
        self.budget.requests.give_back(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1_024 * 1_024;

    #[test]
    fn a_connection_and_the_process_have_limits_and_everything_is_returned() {
        // 16 MiB for connections and 16 MiB for requests, of which a connection may have 4.
        let memory = Memory::new(OWN_BYTES + 80 * 1_024 * 1_024);
        let [one, two, three, four, five] = [(); 5].map(|()| memory.connection(MIB).unwrap());
        let request = one.request(3 * MIB).unwrap();
        assert_eq!(request.grow(2 * MIB), Err(MemoryFull::Connection));
        assert_eq!(request.grow(MIB), Ok(()));
        assert!(!memory.is_short());
        let others = [&two, &three, &four].map(|connection| connection.request(4 * MIB).unwrap());
        assert_eq!(five.request(1).err(), Some(MemoryFull::Process));
        assert!(memory.is_short());
        request.shrink_to(MIB);
        request.shrink_to(2 * MIB);
        assert_eq!(memory.parts().map(|part| part.taken), [5 * MIB, 13 * MIB]);
        drop(five.request(3 * MIB).unwrap());
        drop((one, two, three, four, five, others, request));
        assert_eq!(memory.parts().map(|part| part.taken), [0, 0]);
    }

    #[test]
    fn connections_are_limited_by_their_bytes() {
        let memory = Memory::new(0);
        let mut one = memory.connection(4 * MIB).unwrap();
        assert!(one.grow(4 * MIB) && !one.grow(1));
        assert!(memory.connection(1).is_none());
        drop(one);
        assert!(memory.connection(8 * MIB).is_some());
    }
}
