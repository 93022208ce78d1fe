//! The presences of a subscription's users.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::terms::Report;
use crate::{
    clock::Clock,
    presence::Presence,
    store::{ListUsers, Store, StoreError, Subscription, UserKey},
    watch::{Exceeded, Hub, PresenceUpdate, Update, Watcher},
};

/// The pause after a failure to follow users.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The users in one page, and in one read.
const PAGE: u32 = 500;

/// Where presences come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) hub: Hub,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
}

/// The followed users of a subscription.
pub(super) struct Followed {
    watcher: Watcher,
    /// The first presences of users whose sessions have all ended, whom a watcher of everybody does not get.
    ended: std::sync::Mutex<Vec<Presence>>,
}

impl Followed {
    /// Waits for the next update.
    pub(super) async fn next(&self) -> Update {
        match self.try_ended() {
            Some(update) => update,
            None => self.watcher.next().await,
        }
    }

    /// The next update, if there is one.
    pub(super) fn try_next(&self) -> Option<Update> {
        self.try_ended().or_else(|| self.watcher.try_next())
    }

    fn try_ended(&self) -> Option<Update> {
        let presence = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop()?;
        Some(Update::Presence(PresenceUpdate {
            slot: usize::MAX,
            presence: Arc::new(presence),
            noticed: None,
        }))
    }
}

impl Source {
    /// Begins to follow the users of a subscription, with retries until it succeeds. `report` gets the
    /// reason why it does not.
    pub(super) async fn follow(&self, subscription: &Subscription, report: &Report) -> Followed {
        loop {
            let problem = match self.try_to_follow(subscription).await {
                Ok(Ok(followed)) => return followed,
                Ok(Err(Exceeded::All(_) | Exceeded::Own(_))) => {
                    "the limit of watched users is reached (--watch-users-max)".to_owned()
                }
                Err(error) => {
                    tracing::debug!(%error, "reading the users of a subscription failed");
                    "the database was unavailable".to_owned()
                }
            };
            report.lock().report.last_error = Some(problem);
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_to_follow(
        &self,
        subscription: &Subscription,
    ) -> Result<Result<Followed, Exceeded>, StoreError> {
        let tenant_id = subscription.key.tenant_id;
        let Some(user_ids) = &subscription.request.user_ids else {
            let live = self.store.count_users(self.clock.now(), &tenant_id).await?;
            // The watcher comes first, so that no change is missed in between.
            let watcher = match self.hub.watch_everyone(tenant_id, live) {
                Ok(watcher) => watcher,
                Err(exceeded) => return Ok(Err(exceeded)),
            };
            let ended = self.ended_users(tenant_id).await?.into();
            return Ok(Ok(Followed { watcher, ended }));
        };
        let keys = user_ids.iter().map(|user_id| UserKey { tenant_id, user_id: user_id.clone() });
        let watcher = self.hub.watch(tenant_id, keys.collect());
        Ok(watcher.map(|watcher| Followed { watcher, ended: Vec::new().into() }))
    }

    /// The presences of all users of a tenant who are stored and have no live session.
    async fn ended_users(&self, tenant_id: Uuid) -> Result<Vec<Presence>, StoreError> {
        let (mut ended, mut after) = (Vec::new(), None);
        loop {
            let list = ListUsers { tenant_id, after, limit: PAGE, include_ended: true };
            let user_ids = self.store.list_users(self.clock.now(), &list).await?;
            after = user_ids.last().cloned();
            let is_last = user_ids.len() < usize::try_from(PAGE).unwrap_or_default();
            let keys: Vec<_> = user_ids.into_iter().map(|user_id| UserKey { tenant_id, user_id }).collect();
            let now = self.clock.now();
            let users = self.store.load(now, &keys).await?;
            let stored = keys.into_iter().zip(users).filter(|(_, user)| user.sessions.is_empty());
            ended.extend(stored.map(|(key, user)| Presence::compute(key.user_id, &user, now)));
            if is_last {
                return Ok(ended);
            }
        }
    }
}
