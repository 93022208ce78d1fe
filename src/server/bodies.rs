//! The bodies of requests and responses on their way between HTTP and the APIs.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use bytes::Buf;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep, timeout};

use super::activity::{ActiveRequest, ConnectionActivity, PIECE_BYTES};

/// The bytes read from one body before other connections get a turn.
pub const TURN_BYTES: usize = 64 * 1_024;

/// The bytes that are read and discarded of a body that the service does not need. A
/// client that is still sending when its connection closes may lose the response.
const DISCARD_MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// The time for discarding a body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The most that a stream makes ready at a time: tonic's limit for messages that it sends together.
const STREAM_PART_BYTES: usize = 32 * 1_024;
/// The time after which a response asks again for memory.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

/// The body of a request; reports an error if the client cancels it.
pub(super) struct RequestBody {
    /// `None` once the rest is to be discarded.
    body: Option<Incoming>,
    /// The bytes read since other connections had a turn.
    read: usize,
    http2: bool,
    activity: ConnectionActivity,
    /// Once the response has begun, a client may cancel the rest of a stream at any time, so that
    /// does not count as a cancelled request.
    request: Arc<ActiveRequest>,
}

impl RequestBody {
    pub(super) const fn new(
        body: Incoming,
        http2: bool,
        activity: ConnectionActivity,
        request: Arc<ActiveRequest>,
    ) -> Self {
        Self { body: Some(body), read: 0, http2, activity, request }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    /// For a held session it matters whether the client ended or cancelled its side. hyper reports
    /// a body that was reset without an error code as complete, and tonic one that was cancelled; so
    /// this returns an error that has no cause.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.read > TURN_BYTES {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let http2 = self.http2;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(Err(error)) if !http2 => Some(Err(axum::Error::new(error))),
            Some(Ok(frame)) => Some(Ok(frame)),
            None if !http2 || body.is_end_stream() => None,
            _ => Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionReset)))),
        };
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) if !self.request.has_responded() => self.activity.record_reset(),
            Some(Err(_)) | None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            // HTTP/1 needs the connection for it, and HTTP/2 only tells the client to stop.
            let active = (!self.http2).then(|| self.activity.begin_request(None));
            if let Some(active) = &active {
                active.set_responded(false);
            }
            tokio::spawn(async move {
                let _ = timeout(DISCARD_TIMEOUT, Limited::new(body, DISCARD_MAX_BYTES).collect()).await;
                drop(active);
            });
        }
    }
}

/// The body of a response. It hands out pieces, and goes on when the client has taken them, so that
/// hyper and h2 buffer little, and the request stays active until its last byte is on its way.
///
/// A response of one piece is handed out whole: waiting would cost each response a turn of its
/// connection.
pub(super) struct ResponseBody {
    body: Body,
    /// The bytes that come next.
    next: Bytes,
    /// Whether more than one piece was handed out.
    is_large: bool,
    /// Whether the length is unknown, so that memory is taken for each part.
    is_stream: bool,
    /// The memory that the request had when its response began.
    memory: usize,
    /// When to ask for memory again.
    retry: Option<Pin<Box<Sleep>>>,
    request: Arc<ActiveRequest>,
}

impl ResponseBody {
    /// `memory` is what the request keeps until the response ends.
    pub(super) fn new(body: Body, memory: usize, request: Arc<ActiveRequest>) -> Self {
        let is_stream = body.size_hint().exact().is_none();
        Self { body, next: Bytes::new(), is_large: false, is_stream, memory, retry: None, request }
    }

    /// The next bytes for the client.
    fn piece(&mut self) -> Piece {
        let bytes = self.next.split_to(self.next.len().min(PIECE_BYTES));
        self.is_large |= !self.next.is_empty() || self.request.bytes_waiting() > 0;
        self.request.bytes_ready(bytes.len());
        Piece { length: bytes.len(), bytes, request: Arc::clone(&self.request) }
    }

    /// Waits until the client has taken enough for the next piece.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let most = if self.is_large { 1 } else { PIECE_BYTES };
        let has_room = || self.request.bytes_waiting() < most;
        if has_room() {
            return Poll::Ready(());
        }
        self.request.taken.register(context.waker());
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits for the memory of a stream's next part.
    fn poll_memory(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(memory) = self.request.memory() else { return Poll::Ready(()) };
        if let Some(retry) = &mut self.retry {
            ready!(retry.as_mut().poll(context));
            self.retry = None;
        }
        memory.shrink_to(self.memory);
        if memory.grow(STREAM_PART_BYTES).is_ok() {
            return Poll::Ready(());
        }
        let mut retry = Box::pin(sleep(MEMORY_RETRY));
        let wait = retry.as_mut().poll(context);
        self.retry = Some(retry);
        wait
    }
}

impl HttpBody for ResponseBody {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        ready!(self.poll_room(context));
        if self.next.is_empty() {
            if self.is_stream {
                ready!(self.poll_memory(context));
            }
            let polled = Pin::new(&mut self.body).poll_frame(context);
            if self.is_stream {
                let ready = match &polled {
                    Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
                    _ => 0,
                };
                if let Some(memory) = self.request.memory() {
                    memory.shrink_to(self.memory + ready);
                }
            }
            match ready!(polled) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.next = bytes,
                    Err(frame) => {
                        // What is left is the trailers.
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                },
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty()
            && self.body.is_end_stream()
            && !(self.is_large && self.request.bytes_waiting() > 0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of a response. It is dropped when its last byte is in the buffer of the socket.
pub(super) struct Piece {
    bytes: Bytes,
    length: usize,
    request: Arc<ActiveRequest>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.request.bytes_taken(self.length);
    }
}
