//! Holds a session while a stream is open.

use std::sync::Arc;

use futures_util::{
    StreamExt,
    stream::{BoxStream, Stream},
};

use crate::service::{Caller, Error, HoldEvent, HoldPresence, Operation, Service};

impl Service {
    /// Holds one session while `messages` is open. The first message opens the session, and each
    /// further one changes its pair and its text. In between the session is extended every half of `grace`,
    /// each time until the next extension plus `grace`.
    ///
    /// When `messages` ends, the session is cleared, also if the caller drops the returned stream
    /// at the same time. When `messages` fails, or the caller drops the returned stream before
    /// `messages` ends, the session stays and expires by itself.
    ///
    /// The returned stream ends with an error after an invalid or failed message, when another
    /// call or stream set or cleared the session, when the caller's token expires, when the
    /// stream reaches its maximum age, and when the service stops. A stream that lost its session
    /// writes nothing any more.
    pub async fn hold_presence(
        self: &Arc<Self>,
        caller: &Caller,
        mut messages: BoxStream<'static, Result<HoldPresence, Error>>,
    ) -> Result<impl Stream<Item = Result<HoldEvent, Error>> + Send + use<>, Error> {
        let mut end = self.streams.end(caller, &self.clock);
        let first = tokio::select! {
            error = &mut end => return Err(error),
            first = messages.next() => first,
        };
        let Some(first) = first else {
            return Err(Error::message_malformed("The stream ended before its first message."));
        };
        self.hold(caller, Operation::HoldPresence, first?, messages, end).await
    }
}
