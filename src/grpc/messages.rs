//! The messages of a call on their way to tonic: takes memory for them, and refuses a further message
//! of a method that takes one. tonic does neither.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tower::BoxError;

use super::status::to_status;
use crate::{server::RequestMemory, service::Error, telemetry::RequestIds};

/// The bytes before each message: a flag, and the length of the message.
const HEAD_BYTES: usize = 5;

/// The number of messages that a call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cardinality {
    /// Exactly one. Other calls fail with UNIMPLEMENTED.
    One,
    /// Any number.
    Many,
}

/// The body of a call.
///
/// Each message takes memory while it arrives, and returns it when the next one begins: until then,
/// the method may still use it.
pub(super) struct Messages {
    body: Body,
    ids: RequestIds,
    cardinality: Cardinality,
    position: Position,
    /// The memory, and how much of it the call had before its messages.
    memory: Option<(RequestMemory, usize)>,
}

/// The position in the messages.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    head: [u8; HEAD_BYTES],
    /// The bytes of the head so far.
    head_bytes: usize,
    /// The bytes that the message lacks.
    left: usize,
    /// Whether a message has begun.
    begun: bool,
    /// Whether a second message has begun.
    more: bool,
}

impl Position {
    /// Moves on by these bytes. Returns whether a message began.
    fn advance(&mut self, mut data: &[u8]) -> bool {
        let mut begins = false;
        while !data.is_empty() {
            if self.left == 0 && self.head_bytes == 0 {
                begins = true;
                self.more = self.begun;
                self.begun = true;
            }
            let wanted = if self.left > 0 { self.left } else { HEAD_BYTES - self.head_bytes };
            let (taken, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            if self.left > 0 {
                self.left -= taken.len();
                continue;
            }
            for (place, byte) in self.head.iter_mut().skip(self.head_bytes).zip(taken) {
                *place = *byte;
            }
            self.head_bytes += taken.len();
            if self.head_bytes == HEAD_BYTES {
                let [_, length @ ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.head_bytes = 0;
            }
        }
        begins
    }
}

impl Messages {
    pub(super) fn new(
        body: Body,
        ids: RequestIds,
        cardinality: Cardinality,
        memory: Option<RequestMemory>,
    ) -> Self {
        let memory = memory.map(|memory| (memory.clone(), memory.bytes()));
        Self { body, ids, cardinality, position: Position::default(), memory }
    }

    /// Takes the memory of these bytes, unless the call has too many messages.
    fn accept(&mut self, data: &[u8]) -> Result<(), Error> {
        let begins = self.position.advance(data);
        if self.cardinality == Cardinality::One && self.position.more {
            return Err(Error::not_supported("This method takes one message, and the call sent another."));
        }
        let Some((memory, before)) = &self.memory else { return Ok(()) };
        if begins {
            memory.shrink_to(*before);
        }
        Ok(memory.grow(data.len())?)
    }

    fn refuse(&self, error: &Error) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Err(to_status(error, &self.ids).into())))
    }
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref().map_or(Ok(()), |data| self.accept(data)) {
                Ok(()) => Poll::Ready(Some(Ok(frame))),
                Err(error) => self.refuse(&error),
            },
            None if self.cardinality == Cardinality::One && !self.position.begun => {
                let text = "This method takes one message, and the call sent none.";
                self.refuse(&Error::not_supported(text))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        (self.cardinality == Cardinality::Many || self.position.begun) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_beginning_of_each_message_in_pieces_of_any_size() {
        let one: Vec<u8> = [0, 0, 0, 1, 2].into_iter().chain([7; 258]).collect();
        let empty = [0; HEAD_BYTES];
        for size in [1, 2, 3, 4, 5, 6, 100, 263] {
            let mut position = Position::default();
            for (message, more) in [(&one[..], false), (&empty, true), (&one, true)] {
                let begun = message.chunks(size).filter(|piece| position.advance(piece)).count();
                assert_eq!((begun, position.more), (1, more), "{size}");
                assert_eq!((position.left, position.head_bytes), (0, 0), "{size}");
            }
        }
    }
}
