//! Holds a session while a stream is open.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{BoxStream, Stream, iter, unfold},
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Sleep, sleep};
use tracing::debug;

use crate::{
    presence::{Activity, Author, Availability, Pair, SessionId, Timestamp, UserId},
    service::{Caller, Error, Field, Input, Operation, Service, validator::Validator},
    store::{ClearSession, SessionKey, SetSession},
};

/// The pause between two messages of a stream, which bounds the writes of one stream.
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// The delay before the retry of a failed extension.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A message of the stream: the session to hold and its pair, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPresence {
    /// Required in the first message.
    pub user_id: Input<String>,
    /// Required in the first message.
    pub session_id: Input<String>,
    /// Required: forms one of five pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// How long the session outlives a broken stream: 5 s to 5 min; 15 s if missing.
    pub grace: Input<Duration>,
}

/// An event of the stream, with the time at which the session expires unless it is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEvent {
    /// A message was written to the session.
    Set(Timestamp),
    /// The session was extended.
    Extended(Timestamp),
}

impl Service {
    /// Holds one session while `messages` is open. The first message opens the session, and each
    /// further one changes its pair. In between the session is extended every half of `grace`,
    /// each time until the next extension plus `grace`.
    ///
    /// When `messages` ends, the session is cleared. When `messages` fails, or the caller drops
    /// the returned stream, the session stays and expires by itself.
    ///
    /// The returned stream ends with an error after an invalid or failed message, when another
    /// call or stream cleared or changed the session, when the caller's token expires, when the
    /// stream reaches its maximum age, and when the service stops.
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
        let mut validator = Validator::new();
        let first = first?.validate_first(&mut validator);
        let (user_id, session_id, pair, grace) = validator.finish(first)?;
        let key = caller.authorize_session(Operation::HoldPresence, user_id, session_id)?;
        let mut stream = HoldStream {
            end,
            service: Arc::clone(self),
            messages,
            key,
            author: caller.author(),
            pair,
            grace,
            extend_at: self.clock.now(),
            pause: Box::pin(sleep(MESSAGE_PAUSE)),
            _counted: CountedStream::new(&self.streams.held),
        };
        let opened = stream.set().await?;
        let further = unfold(Some(stream), async |stream| {
            let mut stream = stream?;
            let event = stream.next().await?;
            let stream = event.is_ok().then_some(stream);
            Some((event, stream))
        });
        Ok(iter([Ok(opened)]).chain(further))
    }
}

impl HoldPresence {
    /// The values of the first message; `None` if `validator` recorded a violation.
    fn validate_first(self, validator: &mut Validator) -> Option<(UserId, SessionId, Pair, Duration)> {
        let user_id = validator.user_id(self.user_id);
        let session_id = validator.session_id(self.session_id);
        let pair = validator.session_pair(self.availability, self.activity);
        let grace = validator.grace(self.grace);
        Some((user_id?, session_id?, pair?, grace?))
    }

    /// The pair of a later message; `None` if `validator` recorded a violation.
    fn validate_later(self, validator: &mut Validator, stream: &HoldStream) -> Option<Pair> {
        let user = validator.unchanged(Field::UserId, &self.user_id.parse(), &stream.key.user.user_id);
        let session = validator.unchanged(Field::SessionId, &self.session_id.parse(), &stream.key.session_id);
        let pair = validator.session_pair(self.availability, self.activity);
        let grace = validator.unchanged(Field::Grace, &self.grace, &stream.grace);
        user.and(session).and(grace).and(pair)
    }
}

/// The state of a stream that holds a session.
struct HoldStream {
    service: Arc<Service>,
    messages: BoxStream<'static, Result<HoldPresence, Error>>,
    key: SessionKey,
    author: Author,
    pair: Pair,
    grace: Duration,
    /// The time of the next extension.
    extend_at: Timestamp,
    /// The pause before the next message.
    pause: Pin<Box<Sleep>>,
    end: BoxFuture<'static, Error>,
    _counted: CountedStream,
}

/// What a stream does next.
enum Step {
    /// Write a message; clear the session if there is none left.
    Message(Option<Result<HoldPresence, Error>>),
    /// Extend the session.
    Extend,
    /// End the stream with an error.
    End(Error),
}

impl HoldStream {
    /// The next event; `None` after the messages ended and the session was cleared.
    async fn next(&mut self) -> Option<Result<HoldEvent, Error>> {
        loop {
            match self.wait().await {
                Step::Message(None) => return self.clear().await.err().map(Err),
                Step::Message(Some(message)) => return Some(self.change(message).await),
                Step::Extend => {
                    if let Some(event) = self.extend().await {
                        return Some(event);
                    }
                }
                Step::End(error) => return Some(Err(error)),
            }
        }
    }

    async fn wait(&mut self) -> Step {
        let Self { service, messages, extend_at, pause, end, .. } = self;
        let message = pin!(async {
            pause.await;
            messages.next().await
        });
        tokio::select! {
            biased;
            error = end => Step::End(error),
            message = message => Step::Message(message),
            () = service.clock.wait_until(*extend_at) => Step::Extend,
        }
    }

    /// The session until the next extension plus `grace`.
    fn session(&self) -> SetSession {
        SetSession {
            key: self.key.clone(),
            pair: self.pair,
            expires_after: self.interval() + self.grace,
            set_by: self.author.clone(),
        }
    }

    fn interval(&self) -> Duration {
        self.grace / 2
    }

    /// Schedules the next extension after a write at `now`, and returns when the session expires.
    fn schedule(&mut self, now: Timestamp) -> Timestamp {
        self.extend_at = now + self.interval();
        self.extend_at + self.grace
    }

    async fn set(&mut self) -> Result<HoldEvent, Error> {
        let (now, _) = self.service.batches.set_sessions.call(vec![self.session()]).await?;
        Ok(HoldEvent::Set(self.schedule(now)))
    }

    async fn change(&mut self, message: Result<HoldPresence, Error>) -> Result<HoldEvent, Error> {
        self.pause.set(sleep(MESSAGE_PAUSE));
        let mut validator = Validator::new();
        let pair = message?.validate_later(&mut validator, self);
        self.pair = validator.finish(pair)?;
        self.set().await
    }

    /// Extends the session. A failure is no event: the stream outlives an unavailable database.
    async fn extend(&mut self) -> Option<Result<HoldEvent, Error>> {
        match self.service.batches.extend_sessions.call(vec![self.session()]).await {
            Ok((now, extended)) if extended == [true] => Some(Ok(HoldEvent::Extended(self.schedule(now)))),
            Ok(_) => Some(Err(Error::session_taken())),
            Err(error) => {
                debug!(%error, "extending a held session failed");
                self.extend_at = self.service.clock.now() + RETRY_DELAY;
                None
            }
        }
    }

    /// Clears the session, which may have ended already. A client may close its connection as soon
    /// as it has ended its side, which drops this future; so the write runs in a task of its own.
    async fn clear(&mut self) -> Result<(), Error> {
        let service = Arc::clone(&self.service);
        let clear = ClearSession { key: self.key.clone(), cleared_by: self.author.clone() };
        let cleared = tokio::spawn(async move { service.batches.clear_sessions.call_one(clear).await });
        cleared.await.map_err(|error| Error::internal(error.to_string()))??;
        Ok(())
    }
}

/// Counts a stream in the metric of held sessions until it is dropped.
struct CountedStream(Gauge);

impl CountedStream {
    fn new(streams: &Gauge) -> Self {
        streams.inc();
        Self(streams.clone())
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
