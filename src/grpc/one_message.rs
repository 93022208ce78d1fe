//! The request of a method that takes one message. tonic ignores further messages.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tonic::Status;
use tower::BoxError;

use super::status::to_status;
use crate::{service::Error, telemetry::RequestIds};

/// The bytes before each message: a flag, and the length of the message.
const HEAD_BYTES: usize = 5;

/// A body that fails with UNIMPLEMENTED unless it has exactly one message.
pub(super) struct OneMessage {
    body: Body,
    ids: RequestIds,
    /// The first bytes.
    head: [u8; HEAD_BYTES],
    /// The number of bytes so far.
    received: u64,
}

impl OneMessage {
    pub(super) const fn new(body: Body, ids: RequestIds) -> Self {
        Self { body, ids, head: [0; HEAD_BYTES], received: 0 }
    }

    /// Counts bytes. Returns whether any of them is behind the first message.
    fn exceeds(&mut self, data: &[u8]) -> bool {
        let missing = usize::try_from(self.received)
            .map_or(&mut [][..], |received| self.head.get_mut(received..).unwrap_or_default());
        for (place, byte) in missing.iter_mut().zip(data) {
            *place = *byte;
        }
        self.received = self.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        let [_, length @ ..] = self.head;
        let head = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
        self.received > head && self.received - head > u64::from(u32::from_be_bytes(length))
    }

    fn refuse(&self, text: &str) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let status: Status = to_status(&Error::not_supported(text), &self.ids);
        Poll::Ready(Some(Err(status.into())))
    }
}

impl HttpBody for OneMessage {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) if self.exceeds(data) => {
                    self.refuse("This method takes one message, and the call sent another.")
                }
                _ => Poll::Ready(Some(Ok(frame))),
            },
            None if self.received == 0 => {
                self.refuse("This method takes one message, and the call sent none.")
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.received > 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RequestId;

    #[test]
    fn counts_bytes_in_pieces_of_any_size() {
        let message = [0, 0, 0, 1, 2].into_iter().chain([7; 258]).collect::<Vec<u8>>();
        for size in [1, 2, 3, 4, 5, 6, 100, 263] {
            let ids = RequestIds { own: RequestId::new(), client: None };
            let mut body = OneMessage::new(Body::empty(), ids);
            for piece in message.chunks(size) {
                assert!(!body.exceeds(piece), "{size}");
            }
            assert!(body.exceeds(&[0]), "{size}");
        }
    }
}
