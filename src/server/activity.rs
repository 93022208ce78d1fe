//! Tracks the activity on one connection and decides when its client has timed out.
//!
//! A client that does nothing, or almost nothing, must not hold a connection:
//!
//! * Within the header timeout the client must show which protocol it uses, and
//!   complete each HTTP/1 header that it began.
//! * The idle timeout limits the time without an active request.
//! * The send timeout limits the time in which the client reads nothing of a pending
//!   response. Time in which the service has nothing to send does not count: a stream
//!   may be quiet for hours.
//! * A limit bounds the requests that the client cancels within 10 s.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{clock::Stopwatch, settings::LimitSettings};

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI";
/// The bytes of an HTTP/2 client's opening: the preface and the first frame's header.
const OPENING_BYTES: usize = 24 + 9;
/// The window in which cancelled requests are counted.
const RESETS_WINDOW: Duration = Duration::from_secs(10);
/// The time for which a draining connection must have no request before it is closed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which a client may stall a draining connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// The number of active requests.
    active: watch::Sender<usize>,
    progress: Mutex<Progress>,
    /// Notified when the client has cancelled too many requests.
    too_many_resets: Notify,
    resets_max: u32,
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
    /// Active requests whose response has begun.
    responding: usize,
    /// Those of them whose client has read everything and waits for the service.
    quiet: usize,
    /// The last time at which the socket accepted a write.
    written: Stopwatch,
    /// The time since which the socket accepts no write.
    blocked: Option<Stopwatch>,
    /// Whether the connection has reached its maximum age.
    old: bool,
    /// Requests cancelled in the current window.
    resets: u32,
    resets_since: Stopwatch,
}

impl ConnectionActivity {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        let now = Stopwatch::start();
        Self(Arc::new(Shared {
            active: watch::Sender::new(0),
            progress: Mutex::new(Progress {
                received: 0,
                http2: true,
                advanced: now,
                header_begun: None,
                responding: 0,
                quiet: 0,
                written: now,
                blocked: None,
                old: false,
                resets: 0,
                resets_since: now,
            }),
            too_many_resets: Notify::new(),
            resets_max: limits.resets_max,
        }))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, which is active until the returned value is dropped.
    pub(super) fn begin_request(&self) -> ActiveRequest {
        self.0.active.send_modify(|requests| *requests += 1);
        let mut progress = self.progress();
        (progress.advanced, progress.header_begun) = (Stopwatch::start(), None);
        drop(progress);
        ActiveRequest { activity: self.clone(), phase: Phase::Requested }
    }

    fn record_read(&self, bytes: &[u8]) {
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

    /// Records whether the socket accepted a write.
    fn record_write(&self, accepted: bool) {
        let mut progress = self.progress();
        if accepted {
            (progress.written, progress.blocked) = (Stopwatch::start(), None);
        } else if progress.blocked.is_none() {
            progress.blocked = Some(Stopwatch::start());
        }
    }

    /// Records that the connection has reached its maximum age. Returns whether it
    /// uses HTTP/2.
    pub(super) fn set_old(&self) -> bool {
        let mut progress = self.progress();
        progress.old = true;
        progress.http2
    }

    /// Whether the connection has reached its maximum age.
    pub(super) fn is_old(&self) -> bool {
        self.progress().old
    }

    /// Counts a request that the client cancelled.
    pub(super) fn record_reset(&self) {
        let mut progress = self.progress();
        if progress.resets_since.elapsed() > RESETS_WINDOW {
            (progress.resets, progress.resets_since) = (0, Stopwatch::start());
        }
        progress.resets += 1;
        if progress.resets > self.0.resets_max {
            self.0.too_many_resets.notify_one();
        }
    }

    /// Resolves when the client has timed out.
    pub(super) async fn timed_out(&self, limits: &LimitSettings) -> TimedOut {
        loop {
            let (reason, left) = self.next_timeout(limits);
            if left.is_zero() {
                return reason;
            }
            // A request or a header that begins meanwhile may have a shorter timeout.
            let shortest = limits.header_timeout.min(limits.send_timeout).min(left);
            tokio::select! {
                () = sleep(shortest) => {}
                () = self.0.too_many_resets.notified() => return TimedOut::Resets,
            }
        }
    }

    /// The timeout that ends next if nothing happens, and the time until then.
    fn next_timeout(&self, limits: &LimitSettings) -> (TimedOut, Duration) {
        let active = *self.0.active.borrow();
        let progress = self.progress();
        if let Some(blocked) = progress.blocked {
            return (TimedOut::Send, limits.send_timeout.saturating_sub(blocked.elapsed()));
        }
        if active > 0 && active == progress.quiet {
            return (TimedOut::Send, limits.send_timeout);
        }
        let (reason, limit, since) = match (active > 0, progress.header_begun) {
            // The client may still be sending the body.
            (true, _) => (TimedOut::Send, limits.send_timeout.max(limits.body_timeout), progress.advanced),
            (false, Some(begun)) => (TimedOut::Header, limits.header_timeout, begun),
            (false, None)
                if progress.received < OPENING_BYTES && (progress.http2 || progress.received == 0) =>
            {
                (TimedOut::Header, limits.header_timeout, progress.advanced)
            }
            (false, None) => (TimedOut::Idle, limits.idle_timeout, progress.advanced),
        };
        (reason, limit.saturating_sub(since.elapsed()))
    }

    /// Waits until a draining connection can be closed: it had no request for
    /// [`LEAVE_TIMEOUT`], or its client stalls every response that is left. hyper would
    /// wait without limit for a client that hangs, never sent anything, or does not
    /// read a stream, and delay shutdown.
    pub(super) async fn drained(&self) {
        let mut active = self.0.active.subscribe();
        loop {
            let unchanged = timeout(LEAVE_TIMEOUT, active.changed()).await.is_err();
            let requests = *active.borrow_and_update();
            let progress = self.progress();
            let idle = requests == 0 && unchanged && progress.blocked.is_none();
            let stalled = progress.advanced.elapsed().min(progress.written.elapsed()) > STALL_TIMEOUT;
            if idle || (stalled && requests == progress.responding) {
                return;
            }
        }
    }
}

/// A request from its header until its response has been sent.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    activity: ConnectionActivity,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The response has not begun.
    Requested,
    /// The client can read a part of the response.
    Sending,
    /// The client has read everything and waits for the service.
    Quiet,
}

impl ActiveRequest {
    /// Records that the response, or more of it, is ready.
    pub(super) fn set_sending(&mut self) {
        self.set_phase(Phase::Sending);
    }

    /// Records that the service has nothing more to send for now.
    pub(super) fn set_quiet(&mut self) {
        self.set_phase(Phase::Quiet);
    }

    /// Whether its response is the last one on the connection.
    pub(super) fn is_last(&self) -> bool {
        self.activity.is_old()
    }

    fn set_phase(&mut self, phase: Phase) {
        let before = std::mem::replace(&mut self.phase, phase);
        let mut progress = self.activity.progress();
        progress.advanced = Stopwatch::start();
        progress.responding += usize::from(before == Phase::Requested);
        progress.quiet += usize::from(phase == Phase::Quiet);
        progress.quiet -= usize::from(before == Phase::Quiet);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.activity.0.active.send_modify(|requests| *requests -= 1);
        let mut progress = self.activity.progress();
        (progress.advanced, progress.header_begun) = (Stopwatch::start(), None);
        progress.responding -= usize::from(self.phase != Phase::Requested);
        progress.quiet -= usize::from(self.phase == Phase::Quiet);
        drop(progress);
        if self.phase == Phase::Requested {
            self.activity.record_reset();
        }
    }
}

/// A socket whose reads and writes are recorded.
#[derive(Debug)]
pub(super) struct TrackedIo<S> {
    stream: S,
    activity: ConnectionActivity,
    /// The end of the connection, or its failure, which the next read returns. h2 forgets that a
    /// client ended its side of a request once it reads the end of the connection; so the requests
    /// get a turn before that.
    end: Option<std::io::Result<()>>,
}

impl<S> TrackedIo<S> {
    pub(super) const fn new(stream: S, activity: ConnectionActivity) -> Self {
        Self { stream, activity, end: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(end);
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let received = buffer.filled().get(before..).unwrap_or_default();
        if received.is_empty() && buffer.remaining() > 0 {
            self.end = Some(read);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.activity.record_read(received);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.record_write(written.is_ready());
        written
    }

    /// With vectored writes, h2 sends each body of 256 bytes or more with its own
    /// system call. Without them, it copies bodies of up to 1 KiB into one buffer, which
    /// suits small responses.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
