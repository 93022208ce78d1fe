//! Tracks the activity on one connection, and decides when its client has timed out.
//!
//! A client that does nothing, or almost nothing, must not hold resources:
//!
//! * Within the header timeout the client must show which protocol it uses, and complete each
//!   HTTP/1 header that it began.
//! * The idle timeout limits the time without an active request.
//! * The send timeout limits the time in which a client takes 16 KiB of a response, or all of it
//!   that is ready. It holds for each request by itself: an HTTP/2 stream that stalls is reset, and
//!   its connection goes on. Time in which the service has nothing to send does not count: a stream
//!   may be quiet for hours.
//! * A request has the body timeout, or the send timeout if that is longer, until its response
//!   begins.
//! * A rate limits the requests that the client cancels.

mod request;
mod timeouts;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    faults::{Fault, Faults},
    memory::RequestMemory,
    resets::ResetRate,
};
use crate::{clock::Stopwatch, settings::LimitSettings};
pub(super) use request::ActiveRequest;

/// The bytes of a response that are handed to HTTP at a time.
pub(super) const PIECE_BYTES: usize = 16 * 1_024;
/// The bytes that are read of one HTTP/2 client before the requests and other connections get a turn:
/// about forty requests.
const TURN_BYTES: usize = 4 * 1_024;
/// The same of a client that has cancelled many requests a short time ago: about five requests. Each
/// costs the worker as much as one that the client waits for.
const CANCELLING_TURN_BYTES: usize = 512;
/// The first bytes of an HTTP/2 connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The bytes of an HTTP/2 client's opening: the preface and the first frame's header.
const OPENING_BYTES: usize = PREFACE.len() + 9;

/// The reason for which the service closes a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// The client did not complete a header, or the opening of the connection, in time.
    Header,
    /// The client had no active request for the idle timeout.
    Idle,
    /// The client did not read a pending response.
    Send,
    /// The client cancelled too many requests.
    Resets,
}

impl TimedOut {
    /// The label in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header_timeout",
            Self::Idle => "idle_timeout",
            Self::Send => "send_timeout",
            Self::Resets => "resets",
        }
    }
}

/// The activity on one connection. Clones share one state.
#[derive(Clone, Debug)]
pub(super) struct ConnectionActivity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    progress: Mutex<Progress>,
    /// The bytes that may still be read in this turn.
    turn_left: AtomicUsize,
    /// Notified when the client has cancelled too many requests.
    too_many_resets: Notify,
    limits: LimitSettings,
    faults: Faults,
}

#[derive(Debug)]
struct Progress {
    /// Bytes received; counted until the protocol is known.
    received: usize,
    /// False once a byte contradicts the HTTP/2 preface.
    http2: bool,
    /// The last time at which a request began, advanced or ended; at first, the time
    /// at which the connection began.
    advanced: Stopwatch,
    /// The time of the first byte after the last HTTP/1 request.
    header_begun: Option<Stopwatch>,
    /// The requests under way.
    requests: Slab<Request>,
    /// The request that began last, until its task is known.
    newest: Option<usize>,
    /// What the socket did not accept.
    unsent: Option<Unsent>,
    /// Whether the connection has reached its maximum age.
    old: bool,
    /// Whether the service stops.
    stopping: bool,
    closing: Closing,
    resets: ResetRate,
}

/// How far the service has closed the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// It discards what the client sends.
    Discards,
    /// It also says why.
    SaysWhy,
}

/// A request from its header until its response has been sent.
#[derive(Debug)]
struct Request {
    begun: Stopwatch,
    responded: bool,
    /// Whether the response has no end of its own.
    endless: bool,
    /// The bytes of the response that wait for the client.
    waiting: usize,
    /// The time since which the client could have taken bytes and took none.
    stalled: Option<Stopwatch>,
    /// Its task, in HTTP/2.
    task: Option<AbortHandle>,
    /// Whether the service has ended it, because its client stalled.
    cut: bool,
}

/// Writes that the socket did not accept.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    since: Stopwatch,
    /// The bytes that it accepted since.
    written: usize,
}

impl ConnectionActivity {
    pub(super) fn new(limits: LimitSettings, faults: Faults) -> Self {
        let now = Stopwatch::start();
        Self(Arc::new(Shared {
            progress: Mutex::new(Progress {
                received: 0,
                http2: true,
                advanced: now,
                header_begun: None,
                requests: Slab::new(),
                newest: None,
                unsent: None,
                old: false,
                stopping: false,
                closing: Closing::No,
                resets: ResetRate::new(limits.resets_per_second),
            }),
            turn_left: AtomicUsize::new(usize::MAX),
            too_many_resets: Notify::new(),
            limits,
            faults,
        }))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, which is active until the returned value is dropped.
    pub(super) fn begin_request(&self, memory: Option<RequestMemory>) -> ActiveRequest {
        self.0.faults.under_way().inc();
        let mut progress = self.progress();
        let now = Stopwatch::start();
        (progress.advanced, progress.header_begun) = (now, None);
        let request = Request {
            begun: now,
            responded: false,
            endless: false,
            waiting: 0,
            stalled: None,
            task: None,
            cut: false,
        };
        let index = progress.requests.insert(request);
        progress.newest = Some(index);
        let is_full = progress.http2 && progress.requests.len() == self.0.limits.streams_max();
        drop(progress);
        if is_full {
            self.0.faults.record(Fault::StreamsMax);
        }
        ActiveRequest { activity: self.clone(), index, memory, taken: AtomicWaker::new() }
    }

    /// Records the task of the request that began last.
    pub(super) fn set_task(&self, task: AbortHandle) {
        let mut progress = self.progress();
        if let Some(request) = progress.newest.take().and_then(|index| progress.requests.get_mut(index)) {
            request.task = Some(task);
        }
    }

    /// Begins a turn of an HTTP/2 connection. Without turns, h2 reads all that there is, and hands on the
    /// thousands of requests in it, before anything else runs on the worker.
    pub(super) fn begin_turn(&self) {
        let cancels = self.progress().resets.are_many();
        self.0.turn_left.store(if cancels { CANCELLING_TURN_BYTES } else { TURN_BYTES }, Relaxed);
    }

    /// The bytes that may still be read in this turn. HTTP/1 has no turns: it reads a request at a time.
    pub(super) fn turn_left(&self) -> usize {
        self.0.turn_left.load(Relaxed)
    }

    /// Records bytes that the client sent.
    pub(super) fn record_read(&self, bytes: &[u8]) {
        self.0.turn_left.fetch_sub(bytes.len(), Relaxed);
        let mut progress = self.progress();
        if progress.received < OPENING_BYTES {
            let preface = PREFACE.get(progress.received..).unwrap_or_default();
            progress.http2 &= preface.iter().zip(bytes).all(|(expected, byte)| expected == byte);
            progress.received += bytes.len();
        }
        if !progress.http2 && progress.header_begun.is_none() {
            progress.header_begun = Some(Stopwatch::start());
        }
    }

    /// Records how many bytes the socket accepted; `None` if it accepted none.
    pub(super) fn record_write(&self, accepted: Option<usize>) {
        let mut progress = self.progress();
        let now = || Unsent { since: Stopwatch::start(), written: 0 };
        match (accepted, &mut progress.unsent) {
            (None, unsent) => drop(unsent.get_or_insert_with(now)),
            (Some(bytes), Some(unsent)) => {
                unsent.written += bytes;
                if unsent.written >= PIECE_BYTES {
                    *unsent = now();
                }
            }
            (Some(_), None) => {}
        }
    }

    /// Records that the socket accepted everything.
    pub(super) fn record_flush(&self) {
        self.progress().unsent = None;
    }

    /// Records a request that the service refused before it became one, or for which it had no
    /// room.
    pub(super) fn record_fault(&self, fault: Fault) {
        self.0.faults.record(fault);
    }

    /// Records that the connection has reached its maximum age.
    pub(super) fn set_old(&self) {
        self.progress().old = true;
    }

    /// Whether the connection has reached its maximum age.
    pub(super) fn is_old(&self) -> bool {
        self.progress().old
    }

    /// From now on, an endless response that stalls is cut soon.
    pub(super) fn set_stopping(&self) {
        self.progress().stopping = true;
    }

    /// From now on, what the client sends is discarded.
    pub(super) fn set_closing(&self) {
        self.progress().closing = Closing::Discards;
    }

    /// Whether what the client sends is discarded.
    pub(super) fn is_closing(&self) -> bool {
        self.progress().closing != Closing::No
    }

    /// From now on, the last frame says why the connection is closed.
    pub(super) fn say_farewell(&self) {
        self.progress().closing = Closing::SaysWhy;
    }

    /// Whether the last frame says why the connection is closed.
    pub(super) fn says_farewell(&self) -> bool {
        self.progress().closing == Closing::SaysWhy
    }

    /// Counts a request that the client cancelled.
    pub(super) fn record_reset(&self) {
        if self.progress().resets.record() {
            self.0.too_many_resets.notify_one();
        }
    }
}
