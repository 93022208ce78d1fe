//! Watches the presences of users.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    future::BoxFuture,
    stream::{Stream, unfold},
};
use tokio::time::{Sleep, sleep};
use tracing::debug;
use uuid::Uuid;

use crate::{
    service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, View, stream_end::StreamEnd},
    store::UserKey,
    watch::{PresenceUpdate, Watcher},
};

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
    /// Watches up to `max` users. The stream sends the current presence of each distinct user, in
    /// no order, then a marker, then the latest presence of each user that changes. The presences
    /// of one user are in the order of time. A slow reader receives fewer of them.
    ///
    /// The stream ends with an error when the caller's token expires, when it reaches its maximum
    /// age, and when the service stops.
    pub fn watch_presences(
        self: &Arc<Self>,
        caller: &Caller,
        user_ids: Input<Vec<Input<String>>>,
        max: usize,
        view: Input<View>,
    ) -> Result<impl Stream<Item = Result<WatchEvent, Error>> + Send + use<>, Error> {
        let (user_ids, view) = self.validate_user_ids(user_ids, max, view)?;
        let keys: Result<Vec<_>, _> = user_ids
            .into_iter()
            .map(|user_id| caller.authorize(Operation::WatchPresences, user_id))
            .collect();
        let (keys, hub) = (keys?, &self.streams.hub);
        let tenant_id = keys.first().map_or_else(Uuid::nil, |key| key.tenant_id);
        let stream = WatchStream {
            caller: caller.clone(),
            service: Arc::clone(self),
            view,
            tenant_id,
            untimed: Vec::new(),
            ready: VecDeque::new(),
            sent: HashMap::with_capacity(keys.len()),
            unsent: keys.len(),
            snapshot_complete: false,
            watcher: hub.watch(tenant_id, keys).map_err(Error::too_many_watched)?,
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
    /// The tenant of all users.
    tenant_id: Uuid,
    /// Presences whose times have to be read from the history.
    untimed: Vec<Presence>,
    /// Presences that the next calls return.
    ready: VecDeque<Presence>,
    watcher: Watcher,
    /// The presence that was last sent of each user, by the user's number.
    sent: HashMap<usize, Arc<Presence>>,
    /// The number of users whose presence has not been sent.
    unsent: usize,
    /// Whether the marker has been sent.
    snapshot_complete: bool,
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
        if self.unsent == 0 && !self.snapshot_complete && self.untimed.is_empty() {
            self.snapshot_complete = true;
            return Ok(WatchEvent::SnapshotComplete);
        }
        let quiet = sleep(self.heartbeat);
        tokio::pin!(quiet);
        loop {
            if !self.untimed.is_empty() {
                return self.add_times(quiet).await;
            }
            tokio::select! {
                biased;
                error = &mut self.end => return Err(error),
                update = self.watcher.next() => {
                    let Some(presence) = self.changed(update) else { continue };
                    if self.view == View::Basic {
                        return Ok(WatchEvent::Presence(presence));
                    }
                    self.untimed.push(presence);
                    self.add_waiting();
                }
                () = &mut quiet => return Ok(WatchEvent::Heartbeat),
            }
        }
    }

    /// Adds the presences of further updates that wait, to read their times together.
    fn add_waiting(&mut self) {
        while self.untimed.len() < READ_TOGETHER
            && let Some(update) = self.watcher.try_next()
        {
            let changed = self.changed(update);
            self.untimed.extend(changed);
        }
    }

    /// Reads the presences in `untimed` again with the times from the history. While the database is
    /// unavailable the stream sends heartbeats. Presences that can't be read are sent without times.
    async fn add_times(&mut self, quiet: Pin<&mut Sleep>) -> Result<WatchEvent, Error> {
        let tenant_id = self.tenant_id;
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
        let untimed = std::mem::take(&mut self.untimed);
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

    /// The part of the presence that the caller can see, if that differs from the last one that
    /// was sent of this user.
    fn changed(&mut self, PresenceUpdate { slot, presence, noticed }: PresenceUpdate) -> Option<Presence> {
        let visible = Presence::clone(&presence).visible_to(&self.caller);
        match self.sent.insert(slot, presence) {
            None => self.unsent = self.unsent.saturating_sub(1),
            Some(sent) if Presence::clone(&sent).visible_to(&self.caller) == visible => return None,
            Some(_) => {}
        }
        self.watcher.count_sent(noticed);
        Some(visible)
    }
}
