//! Waits until a user is shown with one of some availabilities.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    presence::{Availability, USER_IDS_MAX},
    service::{
        Caller, Error, Field, Input, Operation, Presence, ReadFrom, Rule, Service, View, WatchedUsers,
    },
    store::UserKey,
    watch::Update,
};

/// The longest wait.
pub const WAIT_MAX: Duration = Duration::from_hours(1);
/// The range of waits.
const WAIT_RANGE: Rule = Rule::Duration { min: Duration::from_millis(1), max: WAIT_MAX };
/// The wait of a request that states none.
const WAIT_DEFAULT: Duration = Duration::from_mins(1);

/// A request to wait.
#[derive(Debug)]
pub struct WaitForPresence {
    /// The users of whom any may be the first: 1 to 650, or everybody.
    pub users: WatchedUsers,
    /// The availabilities to wait for; required.
    pub availabilities: Input<Vec<Input<Availability>>>,
    /// How long to wait.
    pub wait_duration: Input<Duration>,
    /// The fields of the presence.
    pub view: Input<View>,
}

impl Service {
    /// Returns the presence of the first user who is shown with one of the availabilities: at once, or
    /// when it happens. The error after `wait_duration` is that of a deadline; the others are those
    /// that end a stream of `WatchPresences`.
    pub async fn wait_for_presence(
        self: &Arc<Self>,
        caller: &Caller,
        request: WaitForPresence,
    ) -> Result<Presence, Error> {
        let WaitForPresence { users, availabilities, wait_duration, view } = request;
        let mut validator = self.validator();
        let users = validator.watched_users(users, USER_IDS_MAX);
        let availabilities = validator.required_availabilities(availabilities);
        let wait = validator.duration(Field::WaitDuration, wait_duration, WAIT_DEFAULT, WAIT_RANGE);
        let view = validator.view(view);
        let valid = users.zip(availabilities).zip(wait.zip(view));
        let ((users, availabilities), (wait, view)) = validator.finish(valid)?;
        let mut watched = self.watch(caller, Operation::WaitForPresence, users).await?;
        let mut end = self.streams.end(caller, &self.clock);
        let first = async {
            loop {
                let update = match watched.watcher.next().await {
                    Update::Presence(update) => update,
                    Update::SnapshotComplete => continue,
                    Update::Exceeded(exceeded) => return Err(Error::too_many_watched(exceeded)),
                };
                let presence = watched.changed(update, caller);
                if let Some(presence) = presence
                    && availabilities.contains(&presence.pair.availability)
                {
                    return Ok(presence);
                }
            }
        };
        let presence = tokio::select! {
            biased;
            first = first => first?,
            error = &mut end => return Err(error),
            () = sleep(wait) => return Err(Error::wait_ended(wait)),
        };
        match view {
            View::Basic => Ok(presence),
            View::Full => self.with_times(caller, watched.tenant_id, presence).await,
        }
    }

    /// Adds the times from the history, if the user is still shown so.
    async fn with_times(
        &self,
        caller: &Caller,
        tenant_id: Uuid,
        presence: Presence,
    ) -> Result<Presence, Error> {
        let key = UserKey { tenant_id, user_id: presence.user_id.clone() };
        let full = self.full_presences(ReadFrom::Primary, vec![key]).await?;
        let same = full.into_iter().find(|full| full.pair == presence.pair);
        Ok(same.map_or(presence, |full| full.visible_to(caller)))
    }
}
