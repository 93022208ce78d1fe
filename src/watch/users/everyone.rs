//! The watchers of all users of a tenant.
//!
//! Rules:
//!
//! 1. A listing finds the users with a live session. A watcher's snapshot has those whom a listing finds
//!    that began after the watcher did, each read after the watcher began.
//! 2. A user whom an invalidation names is added, and every watcher receives the presence.
//! 3. An offline user of whom no update waits is removed in the background round.
//! 4. A listing runs again in each background round, and after invalidations may have been lost.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use slab::Slab;
use uuid::Uuid;

use super::super::{
    Share,
    mailbox::{Mailbox, Places, PresenceUpdate, UserSlot},
};
use crate::presence::{Pair, Timestamp, UserId};

/// The watchers of everybody, of all tenants.
#[derive(Debug, Default)]
pub(super) struct Everyone {
    tenants: HashMap<Uuid, Tenant>,
    /// The tenants of which a page must be read.
    listings: VecDeque<Uuid>,
}

/// The watchers of all users of one tenant.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    followers: Slab<Follower>,
    /// The number of the next watcher.
    pub(super) next: u64,
    /// The users that are live or were of late.
    members: HashSet<UserSlot>,
    listing: Option<Listing>,
    /// Whether another listing must begin.
    again: bool,
    /// When the last complete listing began. Every user who was live then is a member.
    listed_at: Option<Timestamp>,
}

/// A watcher of everybody.
#[derive(Debug)]
struct Follower {
    mailbox: Arc<Mailbox>,
    /// Its number in the order in which the tenant's watchers began.
    number: u64,
    share: Share<Uuid>,
    /// The users of the snapshot whose presence was not sent; `None` after the snapshot.
    awaited: Option<HashSet<UserSlot>>,
    /// Whether all users of the snapshot are known.
    listed: bool,
}

/// A listing that runs.
#[derive(Debug)]
struct Listing {
    /// It serves the watchers with a lower number.
    serves: u64,
    /// The last user of the page before.
    after: Option<UserId>,
    began_at: Timestamp,
}

/// What the watchers of everybody have received of a user.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    /// The watchers with a lower number have received the presence, or need none.
    pub(super) served: u64,
    /// The watchers with a lower number will receive the result of the running read.
    pub(super) reading: u64,
}

/// The result of a read, for the watchers of everybody.
pub(super) struct Outcome {
    pub(super) update: PresenceUpdate,
    pub(super) served: Served,
    /// Whether the presence is the same as before.
    pub(super) same: bool,
}

impl Everyone {
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    pub(super) fn get(&self, tenant_id: Uuid) -> Option<&Tenant> {
        self.tenants.get(&tenant_id)
    }

    pub(super) fn get_mut(&mut self, tenant_id: Uuid) -> Option<&mut Tenant> {
        self.tenants.get_mut(&tenant_id)
    }

    /// Adds a watcher. A listing that began before does not serve it.
    pub(super) fn watch(&mut self, tenant_id: Uuid, mailbox: &Arc<Mailbox>, share: Share<Uuid>) {
        let tenant = self.tenants.entry(tenant_id).or_default();
        let follower = Follower {
            mailbox: Arc::clone(mailbox),
            number: tenant.next,
            share,
            awaited: Some(HashSet::new()),
            listed: false,
        };
        tenant.next += 1;
        let follower = tenant.followers.insert(follower);
        // The mailbox is new, so its places are not set yet.
        let _ = mailbox.places.set(Places::Everyone { tenant_id, follower });
        self.list_again(tenant_id);
    }

    /// Removes a watcher. Returns the members of the tenant if it was the last one.
    pub(super) fn unwatch(&mut self, tenant_id: Uuid, follower: usize) -> HashSet<UserSlot> {
        let Some(tenant) = self.tenants.get_mut(&tenant_id) else { return HashSet::new() };
        tenant.followers.try_remove(follower);
        if !tenant.followers.is_empty() {
            return HashSet::new();
        }
        self.listings.retain(|listed| *listed != tenant_id);
        self.tenants.remove(&tenant_id).map(|tenant| tenant.members).unwrap_or_default()
    }

    /// Begins another listing of the tenant, after one that runs.
    fn list_again(&mut self, tenant_id: Uuid) {
        let Some(tenant) = self.tenants.get_mut(&tenant_id) else { return };
        let is_idle = tenant.listing.is_none() && !tenant.again;
        tenant.again = true;
        if is_idle {
            self.listings.push_back(tenant_id);
        }
    }

    /// The time before which every user who became live is a member; `None` without watchers.
    pub(super) fn known_through(&self) -> Option<Timestamp> {
        let never = Timestamp::from_millis(0);
        self.tenants.values().map(|tenant| tenant.listed_at.unwrap_or(never)).min()
    }

    /// Begins another listing of every tenant.
    pub(super) fn list_all_again(&mut self) {
        let tenants: Vec<_> = self.tenants.keys().copied().collect();
        for tenant_id in tenants {
            self.list_again(tenant_id);
        }
    }

    /// Returns the next page to read: the tenant, and the user that it follows.
    pub(super) fn begin_page(&mut self, now: Timestamp) -> Option<(Uuid, Option<UserId>)> {
        let tenant_id = self.listings.pop_front()?;
        let tenant = self.tenants.get_mut(&tenant_id)?;
        if tenant.listing.is_none() {
            tenant.again = false;
        }
        let serves = tenant.next;
        let listing = tenant.listing.get_or_insert(Listing { serves, after: None, began_at: now });
        Some((tenant_id, listing.after.clone()))
    }

    /// Reads the page again that failed.
    pub(super) fn repeat_page(&mut self, tenant_id: Uuid) {
        if self.tenants.get(&tenant_id).is_some_and(|tenant| tenant.listing.is_some()) {
            self.listings.push_back(tenant_id);
        }
    }

    /// Ends a page, whose users are members now. `last` is its last user if another page follows.
    pub(super) fn end_page(&mut self, tenant_id: Uuid, last: Option<UserId>) {
        let Some(tenant) = self.tenants.get_mut(&tenant_id) else { return };
        let Some(listing) = &mut tenant.listing else { return };
        if last.is_some() {
            listing.after = last;
            self.listings.push_back(tenant_id);
            return;
        }
        let serves = listing.serves;
        tenant.listed_at = Some(listing.began_at);
        tenant.listing = None;
        for (_, follower) in &mut tenant.followers {
            follower.listed |= follower.number < serves;
            follower.complete_if_served();
        }
        if tenant.again {
            self.listings.push_back(tenant_id);
        }
    }
}

impl Tenant {
    /// Adds a user. A watcher whose limit that exceeds ends.
    pub(super) fn add(&mut self, slot: UserSlot) {
        if !self.members.insert(slot) {
            return;
        }
        let users = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for (_, follower) in &mut self.followers {
            if let Err(exceeded) = follower.share.cover(users) {
                follower.mailbox.exceed(exceeded);
            }
        }
    }

    /// Notes that the running listing found a user. Returns whether a watcher needs a read of the user.
    pub(super) fn found(&mut self, slot: UserSlot, served: Served) -> bool {
        let listed = self.listing.as_ref().map_or(0, |listing| listing.serves);
        let mut is_awaited = false;
        for (_, follower) in &mut self.followers {
            let is_served = follower.number < served.served || follower.number >= listed;
            if let Some(awaited) = follower.awaited.as_mut().filter(|_| !is_served) {
                is_awaited |= awaited.insert(slot);
            }
        }
        is_awaited
    }

    /// Sends the result of a read to the watchers that began before it. Of an offline user, a new watcher
    /// receives only changes.
    pub(super) fn send(&mut self, Outcome { update, served, same }: Outcome) {
        let is_live = update.presence.pair != Pair::OFFLINE || update.noticed.is_some();
        for (_, follower) in &mut self.followers {
            if follower.number >= served.reading {
                continue;
            }
            let first = follower.number >= served.served;
            let awaited = follower.awaited.as_mut().is_some_and(|awaited| awaited.remove(&update.slot));
            if first && is_live || !first && !same {
                let noticed = update.noticed.filter(|_| !first);
                follower.mailbox.push(PresenceUpdate { noticed, ..update.clone() });
            }
            if awaited {
                follower.complete_if_served();
            }
        }
    }

    /// Removes a user, unless a watcher has not received the last presence. Returns whether the user
    /// was removed.
    pub(super) fn remove(&mut self, slot: UserSlot) -> bool {
        let is_unsent = |follower: &Follower| {
            let is_awaited = follower.awaited.as_ref().is_some_and(|awaited| awaited.contains(&slot));
            is_awaited || follower.mailbox.has_unsent(slot)
        };
        !self.followers.iter().any(|(_, follower)| is_unsent(follower)) && self.members.remove(&slot)
    }
}

impl Follower {
    fn complete_if_served(&mut self) {
        if self.listed && self.awaited.take_if(|awaited| awaited.is_empty()).is_some() {
            self.mailbox.complete_snapshot();
        }
    }
}
