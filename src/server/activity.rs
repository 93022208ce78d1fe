//! What happens on a connection, and for how long it may not.
//!
//! A client that does nothing, or next to nothing, must not hold a connection:
//!
//! * it has to say what it speaks, and in HTTP/1 to end a header that it began,
//!   within the header time-out;
//! * with no request under way it may stay for the idle time-out;
//! * of an answer that is ready it has to take something within the send
//!   time-out; one that we have yet to go on with is none of its fault, however
//!   long that takes: a stream may be quiet;
//! * it may cancel so many requests in so long.

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

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI";
/// The bytes with which HTTP/2 has begun: the preface and the header of the
/// frame behind it.
const BEGUN_BYTES: usize = 24 + 9;
/// For how long cancelled requests are counted.
const RESETS_WINDOW: Duration = Duration::from_secs(10);
/// How long an idle client may take to leave once it was told to.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client may then take nothing of the answers that are ready.
const STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a connection is ended that its client keeps open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// It did not say in time what it wants.
    Header,
    /// It wanted nothing for long.
    Idle,
    /// It does not take its answer.
    Send,
    /// It cancelled too many requests.
    Resets,
}

impl TimedOut {
    /// As the metrics name it.
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

/// What happens on one connection; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct ConnectionActivity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    under_way: watch::Sender<usize>,
    marks: Mutex<Marks>,
    /// Told when too many requests were cancelled.
    resets: Notify,
    resets_max: u32,
}

#[derive(Debug)]
struct Marks {
    /// The bytes that were received until it was clear what is spoken.
    received: usize,
    http2: bool,
    /// When a request last began, went on or ended; at first, when the
    /// connection did.
    progress: Stopwatch,
    /// When the first byte came behind the last request.
    header: Option<Stopwatch>,
    /// The answers that have begun, and those of them that wait for us.
    answering: usize,
    waiting: usize,
    /// When the client last took anything.
    taken: Stopwatch,
    /// Since when it takes nothing of what is ready for it.
    blocked: Option<Stopwatch>,
    /// Whether its client is to open another connection.
    old: bool,
    resets: u32,
    resets_since: Stopwatch,
}

impl ConnectionActivity {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        let now = Stopwatch::start();
        Self(Arc::new(Shared {
            under_way: watch::Sender::new(0),
            marks: Mutex::new(Marks {
                received: 0,
                http2: true,
                progress: now,
                header: None,
                answering: 0,
                waiting: 0,
                taken: now,
                blocked: None,
                old: false,
                resets: 0,
                resets_since: now,
            }),
            resets: Notify::new(),
            resets_max: limits.resets_max,
        }))
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; it is under way until what is returned is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.under_way.send_modify(|requests| *requests += 1);
        let mut marks = self.marks();
        (marks.progress, marks.header) = (Stopwatch::start(), None);
        drop(marks);
        UnderWay { activity: self.clone(), state: State::Requested }
    }

    /// Bytes have come in.
    fn received(&self, bytes: &[u8]) {
        let mut marks = self.marks();
        if marks.received < BEGUN_BYTES {
            let preface = PREFACE.get(marks.received..).unwrap_or_default();
            marks.http2 &= preface.iter().zip(bytes).all(|(expected, byte)| expected == byte);
            marks.received += bytes.len();
        }
        if !marks.http2 && marks.header.is_none() {
            marks.header = Some(Stopwatch::start());
        }
    }

    /// The connection has lived as long as one may; says whether HTTP/2 is spoken on
    /// it.
    pub(super) fn grow_old(&self) -> bool {
        let mut marks = self.marks();
        marks.old = true;
        marks.http2
    }

    /// Whether it has lived as long as one may.
    pub(super) fn is_old(&self) -> bool {
        self.marks().old
    }

    /// A request was given up by its client.
    pub(super) fn cancelled(&self) {
        let mut marks = self.marks();
        if marks.resets_since.elapsed() > RESETS_WINDOW {
            (marks.resets, marks.resets_since) = (0, Stopwatch::start());
        }
        marks.resets += 1;
        if marks.resets > self.0.resets_max {
            self.0.resets.notify_one();
        }
    }

    /// Whether the client took what was written to it.
    fn wrote(&self, taken: bool) {
        let mut marks = self.marks();
        if taken {
            (marks.taken, marks.blocked) = (Stopwatch::start(), None);
        } else if marks.blocked.is_none() {
            marks.blocked = Some(Stopwatch::start());
        }
    }

    /// Resolves when the client has timed out, and says how.
    pub(super) async fn timed_out(&self, limits: &LimitSettings) -> TimedOut {
        loop {
            let (why, left) = self.next_limit(limits);
            if left.is_zero() {
                return why;
            }
            // What begins meanwhile may have a shorter limit.
            let shortest = limits.header_timeout.min(limits.send_timeout).min(left);
            tokio::select! {
                () = sleep(shortest) => {}
                () = self.0.resets.notified() => return TimedOut::Resets,
            }
        }
    }

    /// The limit that will be reached next if nothing happens, and when.
    fn next_limit(&self, limits: &LimitSettings) -> (TimedOut, Duration) {
        let under_way = *self.0.under_way.borrow();
        let marks = self.marks();
        if let Some(blocked) = marks.blocked {
            return (TimedOut::Send, limits.send_timeout.saturating_sub(blocked.elapsed()));
        }
        if under_way > 0 && under_way == marks.waiting {
            return (TimedOut::Send, limits.send_timeout);
        }
        let (why, limit, since) = match (under_way > 0, marks.header) {
            // It may be the request's body that is on its way.
            (true, _) => (TimedOut::Send, limits.send_timeout.max(limits.body_timeout), marks.progress),
            (false, Some(header)) => (TimedOut::Header, limits.header_timeout, header),
            (false, None) if marks.received < BEGUN_BYTES && (marks.http2 || marks.received == 0) => {
                (TimedOut::Header, limits.header_timeout, marks.progress)
            }
            (false, None) => (TimedOut::Idle, limits.idle_timeout, marks.progress),
        };
        (why, limit.saturating_sub(since.elapsed()))
    }

    /// Waits until no request has been under way for a while. A client that has
    /// been told to leave and does not, because it hangs or never spoke, must not
    /// hold up the stop: hyper would wait for it for ever. Nor must one that takes
    /// nothing of answers that have all begun, such as a stream's.
    pub(super) async fn idle(&self) {
        let mut requests = self.0.under_way.subscribe();
        loop {
            let quiet = timeout(LEAVE_TIMEOUT, requests.changed()).await.is_err();
            let under_way = *requests.borrow_and_update();
            let marks = self.marks();
            let idle = under_way == 0 && quiet && marks.blocked.is_none();
            let stalled = marks.progress.elapsed().min(marks.taken.elapsed()) > STALL_TIMEOUT;
            if idle || (stalled && under_way == marks.answering) {
                return;
            }
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct UnderWay {
    activity: ConnectionActivity,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no answer yet.
    Requested,
    /// There is something for the client to take.
    Ready,
    /// The client has taken all there is, and waits for more.
    Waiting,
}

impl UnderWay {
    /// There is an answer, or more of it.
    pub(super) fn goes_on(&mut self) {
        self.turn(State::Ready);
    }

    /// The client wants more of the answer than there is.
    pub(super) fn waits(&mut self) {
        self.turn(State::Waiting);
    }

    /// Whether its answer is to be the last on the connection.
    pub(super) fn is_last(&self) -> bool {
        self.activity.is_old()
    }

    fn turn(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        let mut marks = self.activity.marks();
        marks.progress = Stopwatch::start();
        marks.answering += usize::from(before == State::Requested);
        marks.waiting += usize::from(state == State::Waiting);
        marks.waiting -= usize::from(before == State::Waiting);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.activity.0.under_way.send_modify(|requests| *requests -= 1);
        let mut marks = self.activity.marks();
        (marks.progress, marks.header) = (Stopwatch::start(), None);
        marks.answering -= usize::from(self.state != State::Requested);
        marks.waiting -= usize::from(self.state == State::Waiting);
        drop(marks);
        if self.state == State::Requested {
            self.activity.cancelled();
        }
    }
}

/// A stream whose bytes are noticed.
#[derive(Debug)]
pub(super) struct TrackedIo<S> {
    pub(super) stream: S,
    pub(super) activity: ConnectionActivity,
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let received = buffer.filled().get(before..).unwrap_or_default();
        if !received.is_empty() {
            self.activity.received(received);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.wrote(written.is_ready());
        written
    }

    /// One buffer after the other: answers are small. Where several can be written
    /// at once, h2 sends each body of 256 bytes or more with a system call of its
    /// own; so it copies bodies of up to 1 KiB behind each other.
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
