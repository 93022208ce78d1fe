//! Holds a session for clients that can't stream messages.

use std::{future::pending, sync::Arc};

use futures_util::{
    StreamExt,
    stream::{Stream, once},
};

use crate::service::{Caller, Error, HoldEvent, HoldPresence, Operation, Service};

impl Service {
    /// Holds one session while the caller reads the returned stream. It differs from
    /// [`Service::hold_presence`] in its end: the service can't tell a client that has finished from
    /// one that broke down, so it never clears the session. The session then expires after the grace,
    /// unless a call clears it.
    pub async fn keep_presence(
        self: &Arc<Self>,
        caller: &Caller,
        request: HoldPresence,
    ) -> Result<impl Stream<Item = Result<HoldEvent, Error>> + Send + use<>, Error> {
        let end = self.streams.end(caller, &self.clock);
        let no_messages = once(pending()).boxed();
        self.hold(caller, Operation::KeepPresence, request, no_messages, end).await
    }
}
