//! Watches the presences of users.

use std::{collections::VecDeque, mem, pin::Pin, sync::Arc, time::Duration};

use crate::{
    service::{
        Caller, Error, Input, Operation, Presence, ReadFrom, Service, View, WatchedUsers,
        stream_end::StreamEnd, watched::Watched,
    },
    store::UserKey,
    watch::Update,
};
use futures_util::{
    future::BoxFuture,
    stream::{Stream, unfold},
};
use tokio::time::{Sleep, sleep};
use tracing::debug;

/// The number of users that a stream reads together, to add the times from the history.
const READ_TOGETHER: usize = 100;

/// The delay before the retry of such a read.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The presence of a user: first of each user, then after each change.
    Presence(Presence),
    /// The stream has sent the presence of every user.
    SnapshotComplete,
    /// The stream had no other event for the heartbeat interval.
    Heartbeat,
}

impl Service {
    /// Watches up to `max` users, or everybody. The stream sends the current presence of each distinct
    /// user, in no order, then a marker, then the latest presence of each user that changes. The
    /// presences of one user are in the order of time. A slow reader receives fewer of them.
    ///
    /// Everybody is every user of the tenant: first those with a live session, later any user that
    /// changes. A user who is not in the snapshot is offline.
    ///
    /// The stream ends with an error when the caller's token expires, when it reaches its maximum
    /// age, when everybody is more than the limit of watched users, and when the service stops.
    pub async fn watch_presences(
        self: &Arc<Self>,
        caller: &Caller,
        users: WatchedUsers,
        max: usize,
        view: Input<View>,
    ) -> Result<impl Stream<Item = Result<WatchEvent, Error>> + Send + use<>, Error> {
        let mut validator = self.validator();
        let (users, view) = (validator.watched_users(users, max), validator.view(view));
        let (users, view) = validator.finish(users.zip(view))?;
        let watched = self.watch(caller, Operation::WatchPresences, users).await?;
        let stream = WatchStream {
            caller: caller.clone(),
            service: Arc::clone(self),
            view,
            untimed: Vec::new(),
            ready: VecDeque::new(),
            is_complete: false,
            watched,
            heartbeat: self.streams.settings.watch_heartbeat,
            end: self.streams.end(caller, &self.clock),
            counted: self.streams.count(Operation::WatchPresences),
        };
        Ok(unfold(Some(stream), async |stream| {
            let mut stream = stream?;
            match stream.next().await {
                Ok(event) => Some((Ok(event), Some(stream))),
                Err(error) => {
                    stream.counted.set_error(&error);
                    Some((Err(error), None))
                }
            }
        }))
    }
}

/// The state of a stream.
struct WatchStream {
    caller: Caller,
    service: Arc<Service>,
    view: View,
    /// Presences whose times have to be read from the history.
    untimed: Vec<Presence>,
    /// Presences that the next calls return.
    ready: VecDeque<Presence>,
    /// Whether the marker follows the presences in `untimed` and `ready`.
    is_complete: bool,
    watched: Watched,
    heartbeat: Duration,
    end: BoxFuture<'static, Error>,
    counted: StreamEnd,
}

impl WatchStream {
    /// The next event. The API asks for it after it sent the one before, so the heartbeat interval
    /// starts there.
    async fn next(&mut self) -> Result<WatchEvent, Error> {
        if let Some(presence) = self.ready.pop_front() {
            return Ok(WatchEvent::Presence(presence));
        }
        let quiet = sleep(self.heartbeat);
        tokio::pin!(quiet);
        loop {
            if !self.untimed.is_empty() {
                return self.add_times(quiet).await;
            }
            if mem::take(&mut self.is_complete) {
                return Ok(WatchEvent::SnapshotComplete);
            }
            tokio::select! {
                biased;
                error = &mut self.end => return Err(error),
                update = self.watched.watcher.next() => {
                    self.add(update)?;
                    self.add_waiting()?;
                    if self.view == View::Basic && let Some(presence) = self.untimed.pop() {
                        return Ok(WatchEvent::Presence(presence));
                    }
                }
                () = &mut quiet => return Ok(WatchEvent::Heartbeat),
            }
        }
    }

    /// Adds an update to what is sent.
    fn add(&mut self, update: Update) -> Result<(), Error> {
        match update {
            Update::Presence(update) => self.untimed.extend(self.watched.changed(update, &self.caller)),
            Update::SnapshotComplete => self.is_complete = true,
            Update::Exceeded(exceeded) => return Err(Error::too_many_watched(exceeded)),
        }
        Ok(())
    }

    /// Adds the presences of further updates that wait, to read their times together.
    fn add_waiting(&mut self) -> Result<(), Error> {
        while self.view == View::Full
            && !self.is_complete
            && self.untimed.len() < READ_TOGETHER
            && let Some(update) = self.watched.watcher.try_next()
        {
            self.add(update)?;
        }
        Ok(())
    }

    /// Reads the presences in `untimed` again with the times from the history. While the database is
    /// unavailable the stream sends heartbeats. Presences that can't be read are sent without times.
    async fn add_times(&mut self, quiet: Pin<&mut Sleep>) -> Result<WatchEvent, Error> {
        let tenant_id = self.watched.tenant_id;
        let key = |presence: &Presence| UserKey { tenant_id, user_id: presence.user_id.clone() };
        let keys: Vec<_> = self.untimed.iter().map(key).collect();
        let Self { service, end, .. } = self;
        let read = async {
            loop {
                match service.full_presences(ReadFrom::Primary, keys.clone()).await {
                    Err(error) if error.retry_after.is_some() => {
                        debug!(%error, "reading the history for a watcher failed");
                        sleep(RETRY_DELAY).await;
                    }
                    read => return read,
                }
            }
        };
        let read = tokio::select! {
            biased;
            error = &mut *end => return Err(error),
            read = read => read,
            () = quiet => return Ok(WatchEvent::Heartbeat),
        };
        let untimed = mem::take(&mut self.untimed);
        self.ready = match read {
            Ok(presences) => {
                presences.into_iter().map(|presence| presence.visible_to(&self.caller)).collect()
            }
            Err(error) => {
                debug!(%error, "the presences are sent without the times from the history");
                untimed.into()
            }
        };
        self.ready
            .pop_front()
            .map(WatchEvent::Presence)
            .ok_or_else(|| Error::internal("a read returned no presence"))
    }
}
