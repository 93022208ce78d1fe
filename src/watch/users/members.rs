//! The users whom watchers of everybody follow: they are listed, appear, and are removed.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    super::{
        Share,
        mailbox::{Mailbox, UserSlot},
    },
    ReadState, Users,
};
use crate::{
    presence::{Pair, UserId},
    store::UserKey,
};

impl Users {
    /// Adds a watcher of all users of a tenant.
    pub(in crate::watch) fn watch_everyone(
        &mut self,
        tenant_id: Uuid,
        mailbox: &Arc<Mailbox>,
        share: Share<Uuid>,
    ) {
        self.everyone.watch(tenant_id, mailbox, share);
    }

    /// Returns the next page of live users that must be listed: the tenant, and the user that it follows.
    pub(in crate::watch) fn begin_page(&mut self) -> Option<(Uuid, Option<UserId>)> {
        self.everyone.begin_page(self.now)
    }

    /// Ends a page: adds its users, or repeats it if the listing failed. `is_last` says whether no page
    /// follows.
    pub(in crate::watch) fn end_page(&mut self, tenant_id: Uuid, users: Option<Vec<UserId>>, is_last: bool) {
        let Some(users) = users else { return self.everyone.repeat_page(tenant_id) };
        let last = users.last().filter(|_| !is_last).cloned();
        for user_id in users {
            let Some((slot, is_new)) = self.add_member(UserKey { tenant_id, user_id }) else { return };
            let served = self.watched.get(slot).and_then(|user| user.everyone).unwrap_or_default();
            let is_awaited =
                self.everyone.get_mut(tenant_id).is_some_and(|tenant| tenant.found(slot, served));
            if is_new || is_awaited {
                self.queue_read(slot, ReadState::Later);
            }
        }
        self.everyone.end_page(tenant_id, last);
    }

    /// Adds a user to those that watchers of everybody follow, if the tenant has such watchers. Returns
    /// the slot, and whether the user is new there.
    pub(super) fn add_member(&mut self, key: UserKey) -> Option<(UserSlot, bool)> {
        let tenant_id = key.tenant_id;
        self.everyone.get(tenant_id)?;
        let slot = self.slot(key);
        let user = self.watched.get_mut(slot)?;
        let is_new = user.everyone.is_none();
        user.everyone.get_or_insert_default();
        if is_new && let Some(tenant) = self.everyone.get_mut(tenant_id) {
            tenant.add(slot);
        }
        Some((slot, is_new))
    }

    /// Removes a user whom only watchers of everybody follow, and who is offline. Returns whether the
    /// user was removed.
    pub(super) fn forget_if_offline(&mut self, slot: UserSlot) -> bool {
        let Some(user) = self.watched.get_mut(slot) else { return false };
        let is_offline = user.shown.as_ref().is_some_and(|shown| shown.pair == Pair::OFFLINE);
        let is_quiet = user.due.is_none() && user.read == ReadState::Idle;
        let tenant_id = user.key.tenant_id;
        if !is_offline || !is_quiet || !user.followers.is_empty() || user.everyone.is_none() {
            return false;
        }
        if !self.everyone.get_mut(tenant_id).is_none_or(|tenant| tenant.remove(slot)) {
            return false;
        }
        user.everyone = None;
        self.remove_if_unwatched(slot);
        true
    }
}
