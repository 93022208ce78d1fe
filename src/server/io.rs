//! The socket below HTTP: records reads and writes, finds out the protocol, and says why a
//! connection is closed.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    activity::{ConnectionActivity, PREFACE},
    faults::Fault,
    frames::Frames,
};

/// The bytes that are discarded of a closing connection before other connections get a turn.
const DISCARD_TURN_BYTES: usize = 64 * 1_024;

/// The HTTP version that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A socket whose reads and writes are recorded.
#[derive(Debug)]
pub(super) struct TrackedIo<S> {
    stream: S,
    activity: ConnectionActivity,
    /// Bytes that were read to find out the protocol.
    unread: Vec<u8>,
    /// The end of the connection, or its failure, which the next read returns. h2 forgets that a
    /// client ended its side of a request once it reads the end of the connection; so the requests
    /// get a turn before that.
    end: Option<std::io::Result<()>>,
    /// Reads the frames that the service sends, in HTTP/2.
    frames: Option<Frames>,
    /// What is left to send of the last frame of a connection that the service closes.
    farewell: Farewell,
}

/// The last frame of a connection.
#[derive(Debug)]
enum Farewell {
    /// The connection is not being closed.
    None,
    /// These bytes are left.
    Sending(&'static [u8]),
    Sent,
}

/// A GOAWAY with the code `ENHANCE_YOUR_CALM`, and the reason as text.
const GOAWAY: &[u8] = b"\0\0\x24\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0btoo many or stalled requests";

impl<S> TrackedIo<S> {
    pub(super) const fn new(stream: S, activity: ConnectionActivity) -> Self {
        Self { stream, activity, unread: Vec::new(), end: None, frames: None, farewell: Farewell::None }
    }

    /// Puts bytes back that HTTP has read and did not use.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.unread.splice(..0, bytes.iter().copied());
    }

    /// Reads the frames that the service sends from now on.
    pub(super) fn set_http2(&mut self) {
        self.frames = Some(Frames::default());
    }
}

impl<S: AsyncRead + Unpin> TrackedIo<S> {
    /// Waits until the client shows which protocol it uses. `None` if the connection has ended. The
    /// bytes read for this are read again later.
    pub(super) async fn version(&mut self) -> Option<Version> {
        loop {
            let same = PREFACE.iter().zip(&self.unread).take_while(|(expected, byte)| expected == byte);
            let same = same.count();
            if same < self.unread.len().min(PREFACE.len()) {
                return Some(Version::Http1);
            }
            if same == PREFACE.len() {
                return Some(Version::Http2);
            }
            let mut bytes = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(bytes.get_mut(same..)?);
            poll_fn(|context| Pin::new(&mut self.stream).poll_read(context, &mut buffer)).await.ok()?;
            if buffer.filled().is_empty() {
                return None;
            }
            self.activity.record_read(buffer.filled());
            self.unread.extend_from_slice(buffer.filled());
        }
    }

    /// Discards what the client sends.
    fn discard(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let mut discarded = 0;
        while discarded < DISCARD_TURN_BYTES {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let read = buffer.filled().len() - before;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            discarded += read;
            buffer.set_filled(before);
        }
        context.waker().wake_by_ref();
        Poll::Pending
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
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(self.unread.get(..length).unwrap_or_default());
            self.unread.drain(..length);
            if self.unread.is_empty() {
                self.unread = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if self.activity.is_closing() {
            return self.discard(context, buffer);
        }
        let turn = self.activity.turn_left();
        if turn == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = if turn < buffer.remaining() {
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(turn));
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut limited));
            let length = limited.filled().len();
            buffer.advance(length);
            read
        } else {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))
        };
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
        match &written {
            Poll::Pending => self.activity.record_write(None),
            Poll::Ready(Ok(length)) => {
                self.activity.record_write(Some(*length));
                let Self { frames, activity, .. } = &mut *self;
                let sent = bytes.get(..*length).unwrap_or_default();
                for _ in 0..frames.as_mut().map_or(0, |frames| frames.read(sent)) {
                    activity.record_fault(Fault::MalformedRequest);
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    /// With vectored writes, h2 sends each body of 256 bytes or more with its own
    /// system call. Without them, it copies bodies of up to 1 KiB into one buffer, which
    /// suits small responses.
    fn is_write_vectored(&self) -> bool {
        false
    }

    /// h2 flushes when it has no byte of a frame left, so the last frame fits in here.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if let Farewell::None = self.farewell
            && self.activity.says_farewell()
        {
            self.farewell = Farewell::Sending(GOAWAY);
        }
        while let Farewell::Sending(left) = self.farewell {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
            self.farewell = match left.get(written..) {
                Some(left) if written > 0 && !left.is_empty() => Farewell::Sending(left),
                _ => Farewell::Sent,
            };
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.activity.record_flush();
        }
        if let Farewell::Sent = self.farewell {
            ready!(flushed)?;
            return Pin::new(&mut self.stream).poll_shutdown(context);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_has_the_length_that_its_header_says() {
        let (header, payload) = GOAWAY.split_at(9);
        assert_eq!(usize::from(header[2]), payload.len());
        assert_eq!(payload[4..8], [0, 0, 0, 0x0b], "ENHANCE_YOUR_CALM");
    }
}
