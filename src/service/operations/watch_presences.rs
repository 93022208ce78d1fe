//! Follows what users are shown as.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{
    future::BoxFuture,
    stream::{Stream, unfold},
};
use tokio::time::sleep;

use crate::service::{Caller, Error, Input, Operation, Presence, Service};
use crate::watch::{News, Subscription};

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What a user is shown as: at first of each user, then whenever it changes.
    Presence(Presence),
    /// The presence of every user has been sent.
    SnapshotComplete,
    /// Nothing has changed for a while.
    Heartbeat,
}

impl Service {
    /// Follows users, `max` at most: the current presence of each distinct one, in no order, then
    /// a marker, then the latest presence of whoever's changes. What is sent of a
    /// user never goes back in time; what changes faster than it is taken is sent
    /// less often.
    ///
    /// The stream ends with an error: when the caller is let in no longer, when it
    /// has lived as long as one may, and when the service stops.
    pub fn watch_presences(
        &self,
        caller: &Caller,
        user_ids: Input<Vec<Input<String>>>,
        max: usize,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Send + use<>, Error> {
        let user_ids = Self::distinct_user_ids(user_ids, max)?;
        let keys: Result<Vec<_>, _> =
            user_ids.into_iter().map(|user_id| caller.may(Operation::WatchPresences, user_id)).collect();
        let (keys, hub) = (keys?, &self.streams.hub);
        let watch = Watch {
            caller: caller.clone(),
            sent: HashMap::with_capacity(keys.len()),
            missing: keys.len(),
            marked: false,
            subscription: hub.subscribe(keys).ok_or_else(Error::too_many_watched)?,
            heartbeat: self.streams.settings.watch_heartbeat,
            end: self.streams.end(caller, &self.clock),
        };
        Ok(unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(event) => Some((Ok(event), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// A stream.
struct Watch {
    caller: Caller,
    subscription: Subscription,
    /// What was last sent of each user, by the user's number.
    sent: HashMap<usize, Arc<Presence>>,
    /// The users of whom nothing has been sent.
    missing: usize,
    /// Whether the marker has been sent.
    marked: bool,
    heartbeat: Duration,
    end: BoxFuture<'static, Error>,
}

impl Watch {
    /// What to send next. It is asked for when what was sent before has been
    /// taken: from then on the heartbeat counts.
    async fn next(&mut self) -> Result<Event, Error> {
        if self.missing == 0 && !self.marked {
            self.marked = true;
            return Ok(Event::SnapshotComplete);
        }
        let quiet = sleep(self.heartbeat);
        tokio::pin!(quiet);
        loop {
            tokio::select! {
                biased;
                error = &mut self.end => return Err(error),
                news = self.subscription.next() => {
                    if let Some(presence) = self.shown(news) {
                        return Ok(Event::Presence(presence));
                    }
                }
                () = &mut quiet => return Ok(Event::Heartbeat),
            }
        }
    }

    /// What the caller is shown, if that differs from what was last sent of the
    /// user.
    fn shown(&mut self, News { slot, presence, since }: News) -> Option<Presence> {
        let shown = Presence::clone(&presence).shown_to(&self.caller);
        match self.sent.insert(slot, presence) {
            None => self.missing = self.missing.saturating_sub(1),
            Some(sent) if Presence::clone(&sent).shown_to(&self.caller).shows_the_same_as(&shown) => {
                return None;
            }
            Some(_) => {}
        }
        self.subscription.count_sent(since);
        Some(shown)
    }
}
