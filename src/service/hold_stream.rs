//! The stream of an operation that holds a session.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, Stream, iter, unfold},
};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
    time::{Sleep, sleep},
};
use tracing::debug;
use uuid::Uuid;

use super::{
    Caller, Error, Operation, Service, hold_message::HoldPresence, holds::HoldPlace, stream_end::StreamEnd,
};
use crate::{
    batch::{BatchError, Results, SetSessions},
    presence::{Author, Timestamp},
    store::{
        ClearOutcome, ClearSession, ExtendSession, Hold, Observed, SessionChange, SessionKey, SetSession,
    },
    watch::HeldUser,
};

/// The pause between two messages of a stream, which bounds the writes of one stream.
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// The delay before the retry of a failed extension, or of a failed check of the ownership.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// An event of the stream, with the time at which the session expires unless it is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEvent {
    /// A message was written to the session.
    Set(Timestamp),
    /// The session was extended.
    Extended(Timestamp),
}

/// The messages of a stream.
pub(super) type Messages = BoxStream<'static, Result<HoldPresence, Error>>;

impl Service {
    /// Opens the session of `first`, and holds it while `messages` is open; see
    /// [`Service::hold_presence`].
    pub(super) async fn hold(
        self: &Arc<Self>,
        caller: &Caller,
        operation: Operation,
        first: HoldPresence,
        messages: Messages,
        end: BoxFuture<'static, Error>,
    ) -> Result<impl Stream<Item = Result<HoldEvent, Error>> + Send + use<>, Error> {
        let mut validator = self.validator();
        let first = first.validate_first(&mut validator, self.clock.now());
        let first = validator.finish(first)?;
        let key = caller.authorize_session(operation, first.user_id, first.session_id)?;
        let mut stream = HoldStream {
            end,
            service: Arc::clone(self),
            messages,
            // Before the set, so that the stream hears of every later write.
            held_user: self.streams.hub.held_users().add(key.user.clone()),
            key,
            holder: Uuid::new_v4(),
            author: caller.author(),
            grace: first.grace,
            extend_at: self.clock.now(),
            pause: Box::pin(sleep(MESSAGE_PAUSE)),
            opening: None,
            is_over: false,
            counted: None,
            _place: self.streams.holds.open(caller)?,
        };
        let opened = stream.open(first.value).await;
        stream.is_over = opened.is_err();
        let opened = opened?;
        stream.counted = Some(self.streams.count(operation));
        let further = unfold(Some(stream), async |stream| {
            let mut stream = stream?;
            let event = stream.next().await?;
            let stream = event.is_ok().then_some(stream);
            Some((event, stream))
        });
        Ok(iter([Ok(opened)]).chain(further))
    }
}

/// The state of a stream that holds a session.
struct HoldStream {
    service: Arc<Service>,
    messages: Messages,
    key: SessionKey,
    /// The token of the stream. The session is the stream's as long as its row has the token.
    holder: Uuid,
    held_user: HeldUser,
    author: Author,
    grace: Duration,
    /// The time of the next extension.
    extend_at: Timestamp,
    /// The pause before the next message.
    pause: Pin<Box<Sleep>>,
    end: BoxFuture<'static, Error>,
    /// The task that opens the session.
    opening: Option<JoinHandle<Result<Results<SetSessions>, BatchError>>>,
    /// Whether the stream has ended, so that dropping it must not clear the session.
    is_over: bool,
    /// Counts the end of the stream, once it has begun.
    counted: Option<StreamEnd>,
    _place: HoldPlace,
}

/// What a stream does next.
enum Step {
    /// Write a message; clear the session if there is none left.
    Message(Option<Result<HoldPresence, Error>>),
    /// Extend the session.
    Extend,
    /// Check that the session is still the stream's.
    Check,
    /// End the stream with an error.
    End(Error),
}

impl HoldStream {
    /// The next event; `None` after the messages ended and the session was cleared.
    async fn next(&mut self) -> Option<Result<HoldEvent, Error>> {
        let event = self.next_event().await;
        self.is_over |= !matches!(event, Some(Ok(_)));
        if let (Some(Err(error)), Some(counted)) = (&event, &mut self.counted) {
            counted.set_error(error);
        }
        event
    }

    async fn next_event(&mut self) -> Option<Result<HoldEvent, Error>> {
        loop {
            let event = match self.wait().await {
                Step::Message(None) => return self.clear().await.err().map(Err),
                Step::Message(Some(message)) => Some(self.change(message).await),
                Step::Extend => self.extend().await,
                Step::Check => self.check().await.err().map(Err),
                Step::End(error) => Some(Err(error)),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    async fn wait(&mut self) -> Step {
        let Self { service, messages, held_user, extend_at, pause, end, .. } = self;
        let message = pin!(async {
            pause.await;
            messages.next().await
        });
        tokio::select! {
            biased;
            error = end => Step::End(error),
            () = held_user.invalidated() => Step::Check,
            message = message => Step::Message(message),
            () = service.clock.wait_until(*extend_at) => Step::Extend,
        }
    }

    /// The time until the next extension plus `grace`.
    fn expires_after(&self) -> Duration {
        self.interval() + self.grace
    }

    fn interval(&self) -> Duration {
        self.grace / 2
    }

    /// Opens the session in a task of its own, so that a clear can wait for it if this future is
    /// dropped.
    async fn open(&mut self, value: SessionChange) -> Result<HoldEvent, Error> {
        let SessionChange { pair, message, observed } = value;
        let set = SetSession {
            key: self.key.clone(),
            pair,
            message,
            expires_after: self.expires_after(),
            set_by: self.author.clone(),
            observed,
            holder: Some(self.holder),
        };
        let service = Arc::clone(&self.service);
        let opening = tokio::spawn(async move { service.batches.set_sessions.call(vec![set]).await });
        let opened = self.opening.insert(opening).await;
        self.opening = None;
        let (now, outcomes) = opened.map_err(|error| task_failed(&error))??;
        outcomes.into_iter().try_for_each(Error::of_set)?;
        self.extend_at = now + self.interval();
        Ok(HoldEvent::Set(now + self.expires_after()))
    }

    async fn change(&mut self, message: Result<HoldPresence, Error>) -> Result<HoldEvent, Error> {
        self.pause.set(sleep(MESSAGE_PAUSE));
        let mut validator = self.service.validator();
        let change = message?.validate_later(&mut validator, &self.key, self.grace, self.service.clock.now());
        let change = validator.finish(change)?;
        let observed = change.observed;
        match self.write(Some(change)).await? {
            Some(expires_at) => Ok(HoldEvent::Set(expires_at)),
            None if observed != Observed::Now && self.is_mine().await? => Err(Error::stale_write()),
            None => Err(Error::session_taken()),
        }
    }

    /// Extends the session. A failure is no event: the stream outlives an unavailable database.
    async fn extend(&mut self) -> Option<Result<HoldEvent, Error>> {
        match self.write(None).await {
            Ok(Some(expires_at)) => Some(Ok(HoldEvent::Extended(expires_at))),
            Ok(None) => Some(Err(Error::session_taken())),
            Err(error) => {
                debug!(%error, "extending a held session failed");
                self.extend_at = self.service.clock.now() + RETRY_DELAY;
                None
            }
        }
    }

    /// Extends the session, with a new value if there is a `change`, and returns its expiry; `None` if
    /// the session is not the stream's any more, or the change is stale.
    async fn write(&mut self, change: Option<SessionChange>) -> Result<Option<Timestamp>, Error> {
        let (key, expires_after) = (self.key.clone(), self.expires_after());
        let extension = ExtendSession { key, holder: self.holder, expires_after, change };
        let (now, mut expiries) = self.service.batches.extend_sessions.call(vec![extension]).await?;
        self.extend_at = now + self.interval();
        Ok(expiries.pop().flatten())
    }

    /// Fails if the session is not the stream's any more. If the database is unavailable, the next
    /// extension finds out.
    async fn check(&mut self) -> Result<(), Error> {
        match self.is_mine().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::session_taken()),
            Err(error) => {
                debug!(%error, "checking a held session failed");
                self.extend_at = self.extend_at.min(self.service.clock.now() + RETRY_DELAY);
                Ok(())
            }
        }
    }

    async fn is_mine(&mut self) -> Result<bool, Error> {
        let hold = Hold { user: self.key.user.clone(), holder: self.holder };
        Ok(self.service.batches.current_holds.call_one(hold).await?)
    }

    /// Clears the session, unless it is not the stream's any more.
    async fn clear(&mut self) -> Result<(), Error> {
        self.start_clear(&Handle::current()).await.map_err(|error| task_failed(&error))??;
        Ok(())
    }

    /// Clears the session after it was opened. A message under way needs no wait: it does not apply to
    /// a session that was cleared. A client may close its connection as soon as it has ended its
    /// side, which drops the stream; so this runs in a task of its own.
    fn start_clear(&mut self, runtime: &Handle) -> JoinHandle<Result<ClearOutcome, BatchError>> {
        self.is_over = true;
        let (service, opening) = (Arc::clone(&self.service), self.opening.take());
        let clear = ClearSession {
            key: self.key.clone(),
            cleared_by: self.author.clone(),
            observed: Observed::Now,
            holder: Some(self.holder),
        };
        runtime.spawn(async move {
            if let Some(opening) = opening {
                // The clear follows whether or not the write succeeded.
                let _ = opening.await;
            }
            service.batches.clear_sessions.call_one(clear).await
        })
    }

    /// Whether the client has ended its side, and everything before that has arrived.
    fn client_has_ended(&mut self) -> bool {
        // The body of a request is pending once after some bytes, to give other connections a turn.
        let mut pending_left = 1;
        loop {
            match self.messages.next().now_or_never() {
                Some(None) => return true,
                Some(Some(Ok(_))) => {}
                Some(Some(Err(_))) => return false,
                None if pending_left == 0 => return false,
                None => pending_left -= 1,
            }
        }
    }
}

impl Drop for HoldStream {
    /// Clears the session if the client ended its side and cancelled the stream at once: hyper drops
    /// a cancelled stream before it reads the end of the messages.
    fn drop(&mut self) {
        if !self.is_over
            && self.client_has_ended()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(self.start_clear(&runtime));
        }
    }
}

fn task_failed(error: &JoinError) -> Error {
    Error::internal(error.to_string())
}
