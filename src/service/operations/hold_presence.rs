//! Holds a session for as long as a stream lives.

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

use crate::service::{Caller, Error, Field, Input, Operation, Service, validate::Checks};
use crate::{
    presence::{Activity, Availability, Pair, SessionId, Timestamp, UserId},
    store::{SessionKey, SetSession},
};

/// The pause before another message of a stream is read: what one stream has
/// written is bounded, as calls are.
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// How soon an extension that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A session to hold, and what it shows from now on, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPresence {
    /// Required at first.
    pub user_id: Input<String>,
    /// Required at first.
    pub session_id: Input<String>,
    /// Required: one of five pairs with the activity.
    pub availability: Input<Availability>,
    /// Required.
    pub activity: Input<Activity>,
    /// How long the session outlives a broken stream: 5 s to 5 min; 15 s if missing.
    pub grace: Input<Duration>,
}

/// What became of the session, and when it expires unless it is extended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It shows what a message said.
    Set(Timestamp),
    /// It lives on.
    Extended(Timestamp),
}

impl Service {
    /// Holds one session for as long as `messages` come, or could come: the first
    /// opens the session, and each further one changes what it shows. Between them
    /// the session is extended every half of `grace`, each time until the next
    /// extension and `grace` after that.
    ///
    /// When `messages` ends, the session is cleared. When it fails, or what this
    /// returns is dropped, nothing is done, and the session expires by itself.
    ///
    /// The stream ends with an error: when a message failed, or is wrong; when
    /// another has cleared the session or changed what it shows; when the caller is
    /// let in no longer, the stream has lived as long as one may, and when the
    /// service stops.
    pub async fn hold_presence(
        self: &Arc<Self>,
        caller: &Caller,
        mut messages: BoxStream<'static, Result<HoldPresence, Error>>,
    ) -> Result<impl Stream<Item = Result<Held, Error>> + Send + use<>, Error> {
        let mut end = self.streams.end(caller, &self.clock);
        let first = tokio::select! {
            error = &mut end => return Err(error),
            first = messages.next() => first,
        };
        let Some(first) = first else {
            return Err(Error::message_malformed("The stream ended before its first message."));
        };
        let mut checks = Checks::new();
        let checked = first?.check(&mut checks);
        let (user_id, session_id, pair, grace) = checks.finish(checked)?;
        let key = caller.may_to_session(Operation::HoldPresence, user_id, session_id)?;
        let mut hold = Hold {
            end,
            service: Arc::clone(self),
            messages,
            key,
            pair,
            grace,
            extend_at: self.clock.now(),
            pause: Box::pin(sleep(MESSAGE_PAUSE)),
            _counted: Counted::one(&self.streams.held),
        };
        let opened = hold.set().await?;
        let goes_on = unfold(Some(hold), async |hold| {
            let mut hold = hold?;
            let said = hold.next().await?;
            let hold = said.is_ok().then_some(hold);
            Some((said, hold))
        });
        Ok(iter([Ok(opened)]).chain(goes_on))
    }
}

impl HoldPresence {
    /// What the first message asks for; `None` if `checks` found something wrong.
    fn check(self, checks: &mut Checks) -> Option<(UserId, SessionId, Pair, Duration)> {
        let user_id = checks.user_id(self.user_id);
        let session_id = checks.session_id(self.session_id);
        let pair = checks.session_pair(self.availability, self.activity);
        let grace = checks.grace(&self.grace);
        Some((user_id?, session_id?, pair?, grace?))
    }

    /// What a later message asks for.
    fn check_later(self, checks: &mut Checks, hold: &Hold) -> Option<Pair> {
        let user = checks.same(Field::UserId, &self.user_id.parse(), &hold.key.user.user_id);
        let session = checks.same(Field::SessionId, &self.session_id.parse(), &hold.key.session_id);
        let pair = checks.session_pair(self.availability, self.activity);
        let grace = checks.same(Field::Grace, &self.grace, &hold.grace);
        user.and(session).and(grace).and(pair)
    }
}

/// A session that is held.
struct Hold {
    service: Arc<Service>,
    messages: BoxStream<'static, Result<HoldPresence, Error>>,
    key: SessionKey,
    pair: Pair,
    grace: Duration,
    /// When it is extended next.
    extend_at: Timestamp,
    /// Before the next message is read.
    pause: Pin<Box<Sleep>>,
    end: BoxFuture<'static, Error>,
    _counted: Counted,
}

/// What happens next to a session that is held.
enum Next {
    Message(Option<Result<HoldPresence, Error>>),
    Extend,
    End(Error),
}

impl Hold {
    /// What to say next; `None` once the session has been cleared because the
    /// messages have ended.
    async fn next(&mut self) -> Option<Result<Held, Error>> {
        loop {
            match self.wait().await {
                Next::Message(None) => return self.clear().await.err().map(Err),
                Next::Message(Some(message)) => return Some(self.change(message).await),
                Next::Extend => {
                    if let Some(said) = self.extend().await {
                        return Some(said);
                    }
                }
                Next::End(error) => return Some(Err(error)),
            }
        }
    }

    async fn wait(&mut self) -> Next {
        let Self { service, messages, extend_at, pause, end, .. } = self;
        let message = pin!(async {
            pause.await;
            messages.next().await
        });
        tokio::select! {
            biased;
            error = end => Next::End(error),
            message = message => Next::Message(message),
            () = service.clock.wait_until(*extend_at) => Next::Extend,
        }
    }

    /// The session, until `grace` after the next extension.
    fn session(&self) -> SetSession {
        SetSession { key: self.key.clone(), pair: self.pair, expires_after: self.interval() + self.grace }
    }

    fn interval(&self) -> Duration {
        self.grace / 2
    }

    /// Notes that the session was written at `now`; when it expires.
    fn written(&mut self, now: Timestamp) -> Timestamp {
        self.extend_at = now + self.interval();
        self.extend_at + self.grace
    }

    async fn set(&mut self) -> Result<Held, Error> {
        let (now, _) = self.service.batches.set_sessions.call(vec![self.session()]).await?;
        Ok(Held::Set(self.written(now)))
    }

    async fn change(&mut self, message: Result<HoldPresence, Error>) -> Result<Held, Error> {
        self.pause.set(sleep(MESSAGE_PAUSE));
        let mut checks = Checks::new();
        let pair = message?.check_later(&mut checks, self);
        self.pair = checks.finish(pair)?;
        self.set().await
    }

    /// Nothing to say if it failed: the stream outlives a database that is away.
    async fn extend(&mut self) -> Option<Result<Held, Error>> {
        match self.service.batches.extend_sessions.call(vec![self.session()]).await {
            Ok((now, extended)) if extended == [true] => Some(Ok(Held::Extended(self.written(now)))),
            Ok(_) => Some(Err(Error::session_taken())),
            Err(error) => {
                debug!(%error, "a session that is held can't be extended");
                self.extend_at = self.service.clock.now() + RETRY;
                None
            }
        }
    }

    /// It may have ended already. A client may close its connection once it has said
    /// that it ends: then nobody waits for this.
    async fn clear(&mut self) -> Result<(), Error> {
        let (service, key) = (Arc::clone(&self.service), self.key.clone());
        let cleared = tokio::spawn(async move { service.batches.clear_sessions.call_one(key).await });
        cleared.await.map_err(|error| Error::internal(error.to_string()))??;
        Ok(())
    }
}

/// One of the streams that hold a session, in the metric.
struct Counted(Gauge);

impl Counted {
    fn one(streams: &Gauge) -> Self {
        streams.inc();
        Self(streams.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
