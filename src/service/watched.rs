//! Following users: what a watching stream and a waiting call share.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{Caller, Error, Field, Input, Operation, Presence, Rule, Service, validator::Validator};
use crate::{
    presence::UserId,
    watch::{PresenceUpdate, Watcher},
};

/// The users that a request follows.
#[derive(Debug)]
pub struct WatchedUsers {
    /// Whether the request follows everybody; `user_ids` must then be missing or empty.
    pub everyone: bool,
    /// The users.
    pub user_ids: Input<Vec<Input<String>>>,
}

/// The valid users of a request: distinct ids, or `None` for everybody.
pub(super) type ValidUsers = Option<Vec<UserId>>;

impl Validator {
    /// The users to follow: 1 to `max`, or everybody.
    pub(super) fn watched_users(&mut self, given: WatchedUsers, max: usize) -> Option<ValidUsers> {
        let WatchedUsers { everyone, user_ids } = given;
        if !everyone {
            return self.user_ids(user_ids, max).map(Some);
        }
        let has_ids = match &user_ids {
            Input::Missing => false,
            Input::Value(user_ids) => !user_ids.is_empty(),
            Input::Unreadable(_) => true,
        };
        if has_ids {
            self.add(Field::Everyone, Rule::NotWith(Field::UserIds), None);
            return None;
        }
        Some(None)
    }
}

/// Users whom the service follows for a caller.
pub(super) struct Watched {
    /// The tenant of all users.
    pub(super) tenant_id: Uuid,
    pub(super) watcher: Watcher,
    /// The presence that was last sent of each user, by the user's number.
    sent: HashMap<usize, Arc<Presence>>,
}

impl Service {
    /// Begins to follow users of the caller's tenant.
    pub(super) async fn watch(
        &self,
        caller: &Caller,
        operation: Operation,
        users: ValidUsers,
    ) -> Result<Watched, Error> {
        let hub = &self.streams.hub;
        let (tenant_id, watcher) = if let Some(user_ids) = users {
            let key = |user_id| caller.authorize(operation, user_id);
            let keys = user_ids.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
            let tenant_id = keys.first().map_or_else(Uuid::nil, |key| key.tenant_id);
            (tenant_id, hub.watch(tenant_id, keys))
        } else {
            let tenant_id = caller.authorize_tenant(operation)?;
            // Without the database, the stream begins when it is available again. The limit then
            // applies to the users that the hub finds.
            let live = match self.batches.reads.count_users.call_one(tenant_id).await.map_err(Error::from) {
                Err(error) if error.retry_after.is_none() => return Err(error),
                live => live.unwrap_or_default(),
            };
            (tenant_id, hub.watch_everyone(tenant_id, live))
        };
        let watcher = watcher.map_err(Error::too_many_watched)?;
        Ok(Watched { tenant_id, watcher, sent: HashMap::new() })
    }
}

impl Watched {
    /// The part of the presence that the caller can see, if that differs from the last one that
    /// was sent of this user.
    pub(super) fn changed(&mut self, update: PresenceUpdate, caller: &Caller) -> Option<Presence> {
        let PresenceUpdate { slot, presence, noticed } = update;
        let visible = Presence::clone(&presence).visible_to(caller);
        let sent = self.sent.insert(slot, presence);
        if sent.is_some_and(|sent| Presence::clone(&sent).visible_to(caller) == visible) {
            return None;
        }
        self.watcher.count_sent(noticed);
        Some(visible)
    }
}
