//! The presences that a subscriber has not acknowledged. This module does no I/O and never waits.
//!
//! Rules:
//!
//! 1. Of each user only the newest presence is owed.
//! 2. An older presence never replaces a newer one.
//! 3. A presence stays owed until the receiver acknowledged it, or one that shows the same.
//! 4. A change back, before anything was sent, is owed no more.
//! 5. A lower availability is due only after the settle time.
//! 6. Of a user whose first presence is owed, the subscriber may know anything: an earlier replica may have
//!    sent it. So rule 4 does not apply to the user until the receiver acknowledged a presence.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    presence::{Pair, Presence, Timestamp, UserId},
    store::NotificationFormat,
};

/// What a subscriber knows, and what it is owed.
#[derive(Debug)]
pub(super) struct Owed {
    format: NotificationFormat,
    settle_time: Duration,
    /// A first presence that changed at this time or later is owed.
    since: Timestamp,
    /// Whether also users without any rows are owed: they may have been erased since.
    owes_unknown: bool,
    /// The presence of each user that the subscriber knows. A missing user is offline.
    known: HashMap<UserId, Arc<Presence>>,
    entries: HashMap<UserId, Entry>,
    /// The users of the entries, in the order in which they became owed.
    order: VecDeque<UserId>,
}

/// An owed presence.
#[derive(Debug)]
struct Entry {
    presence: Arc<Presence>,
    /// The time of the oldest change that was not acknowledged.
    since: Timestamp,
    /// When it may be sent.
    due: Timestamp,
    /// Whether the subscriber may know another presence of the user than the known one: it, or an older one,
    /// was sent, perhaps by another replica.
    attempted: bool,
}

impl Owed {
    /// Owes nothing yet. A first presence is owed if it changed at `since` or later; one of a user without
    /// any rows if `owes_unknown`.
    pub(super) fn new(
        format: NotificationFormat,
        settle_time: Duration,
        since: Timestamp,
        owes_unknown: bool,
    ) -> Self {
        Self {
            format,
            settle_time,
            since,
            owes_unknown,
            known: HashMap::new(),
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Adds the first presence of a user. It is also owed if it `is_change`: if it was noticed since the user
    /// is followed.
    pub(super) fn add_first(&mut self, presence: Arc<Presence>, is_change: bool, now: Timestamp) {
        if self.known.contains_key(&presence.user_id) || self.entries.contains_key(&presence.user_id) {
            return self.add(presence, now);
        }
        let changed_at = presence.sequence_number.changed_at();
        let is_unknown = changed_at == Timestamp::from_millis(0);
        if is_change || changed_at >= self.since || (is_unknown && self.owes_unknown) {
            self.owe(presence, true, now);
        } else {
            self.know(presence);
        }
    }

    /// Adds a presence after a change.
    pub(super) fn add(&mut self, presence: Arc<Presence>, now: Timestamp) {
        let known = self.known.get(&presence.user_id);
        let shows_known = match known {
            Some(known) => self.shows_same(known, &presence),
            None => shows_nothing(&presence),
        };
        let Some(entry) = self.entries.get_mut(&presence.user_id) else {
            let is_older = known.is_some_and(|known| known.sequence_number > presence.sequence_number);
            if is_older {
                return;
            }
            return if shows_known { self.know(presence) } else { self.owe(presence, false, now) };
        };
        if entry.presence.sequence_number > presence.sequence_number {
            return;
        }
        if shows_known && !entry.attempted {
            self.forget(&presence.user_id.clone());
            return self.know(presence);
        }
        let (since, attempted) = (entry.since, entry.attempted);
        let due = self.due(&presence, now);
        if let Some(entry) = self.entries.get_mut(&presence.user_id) {
            *entry = Entry { presence, since, due, attempted };
        }
    }

    /// Whether a subscriber who knows one of the presences learns nothing from the other. Graph notifies
    /// about the availability and the activity only.
    fn shows_same(&self, known: &Presence, other: &Presence) -> bool {
        match self.format {
            NotificationFormat::Graph => known.pair == other.pair,
            NotificationFormat::Service => {
                known.pair == other.pair
                    && known.status_message == other.status_message
                    && known.work_location == other.work_location
            }
        }
    }

    fn owe(&mut self, presence: Arc<Presence>, attempted: bool, now: Timestamp) {
        let since = presence.sequence_number.changed_at().max(self.since);
        let due = self.due(&presence, now);
        self.order.push_back(presence.user_id.clone());
        self.entries.insert(presence.user_id.clone(), Entry { presence, since, due, attempted });
    }

    /// When a presence may be sent.
    fn due(&self, presence: &Presence, now: Timestamp) -> Timestamp {
        let known = self.known.get(&presence.user_id).map_or(Pair::OFFLINE, |known| known.pair);
        if presence.pair.rank() < known.rank() { now + self.settle_time } else { now }
    }

    fn know(&mut self, presence: Arc<Presence>) {
        if shows_nothing(&presence) {
            self.known.remove(&presence.user_id);
        } else {
            self.known.insert(presence.user_id.clone(), presence);
        }
    }

    fn forget(&mut self, user_id: &UserId) {
        self.entries.remove(user_id);
        self.order.retain(|owed| owed != user_id);
    }

    /// Takes up to `max` presences that are due, those first that have been owed for longest. They stay
    /// owed.
    pub(super) fn take(&mut self, max: usize, now: Timestamp) -> Vec<Arc<Presence>> {
        let mut taken = Vec::new();
        for user_id in &self.order {
            if taken.len() == max {
                break;
            }
            if let Some(entry) = self.entries.get_mut(user_id).filter(|entry| entry.due <= now) {
                entry.attempted = true;
                taken.push(Arc::clone(&entry.presence));
            }
        }
        taken
    }

    /// Notes that the receiver acknowledged presences.
    pub(super) fn acknowledge(&mut self, sent: Vec<Arc<Presence>>) {
        for presence in sent {
            let user_id = presence.user_id.clone();
            match self.entries.get_mut(&user_id) {
                Some(entry) if Arc::ptr_eq(&entry.presence, &presence) => {
                    self.entries.remove(&user_id);
                }
                Some(entry) => entry.since = entry.presence.sequence_number.changed_at().max(self.since),
                None => {}
            }
            self.know(presence);
        }
        let entries = &self.entries;
        self.order.retain(|user_id| entries.contains_key(user_id));
    }

    /// When the next presence is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.entries.values().map(|entry| entry.due).min()
    }

    /// The time of the oldest change that was not acknowledged.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.entries.values().map(|entry| entry.since).min()
    }

    /// The number of owed presences.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Whether a presence is that of a user of whom nothing is stored.
fn shows_nothing(presence: &Presence) -> bool {
    presence.pair == Pair::OFFLINE && presence.status_message.is_none() && presence.work_location.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::{Activity, Availability, User};

    const BUSY: Pair = Pair::new(Availability::Busy, Activity::InACall);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn presence(user: &str, pair: Pair, changed: i64) -> Arc<Presence> {
        let user_id = user.parse().unwrap();
        let stored = User { changed_at: Some(at(changed)), ..User::default() };
        Arc::new(Presence { pair, ..Presence::compute(user_id, &stored, at(changed)) })
    }

    fn owed() -> Owed {
        Owed::new(NotificationFormat::Graph, Duration::ZERO, at(100), false)
    }

    fn pairs(taken: &[Arc<Presence>]) -> Vec<Pair> {
        taken.iter().map(|presence| presence.pair).collect()
    }

    #[test]
    fn a_first_presence_is_owed_if_it_changed_since() {
        let mut owed = owed();
        owed.add_first(presence("a", BUSY, 99), false, at(110));
        owed.add_first(presence("b", BUSY, 100), false, at(110));
        assert_eq!(owed.take(9, at(110)).len(), 1);
        assert_eq!(owed.oldest(), Some(at(100)));
    }

    #[test]
    fn a_user_of_whom_nothing_is_stored_is_owed_after_a_takeover() {
        let nothing = Arc::new(Presence::compute("a".parse().unwrap(), &User::default(), at(1)));
        let mut first = owed();
        first.add_first(Arc::clone(&nothing), false, at(110));
        assert_eq!(first.len(), 0);
        let mut later = Owed::new(NotificationFormat::Graph, Duration::ZERO, at(100), true);
        later.add_first(nothing, false, at(110));
        assert_eq!(pairs(&later.take(9, at(110))), [Pair::OFFLINE]);
    }

    #[test]
    fn a_first_presence_that_changes_back_to_offline_is_owed() {
        let mut owed = owed();
        owed.add_first(presence("a", BUSY, 105), false, at(110));
        owed.add(presence("a", Pair::OFFLINE, 111), at(111));
        assert_eq!(pairs(&owed.take(9, at(111))), [Pair::OFFLINE]);
    }

    #[test]
    fn a_change_before_the_first_presence_is_owed() {
        let mut owed = owed();
        owed.add_first(presence("a", Pair::OFFLINE, 99), true, at(110));
        assert_eq!(pairs(&owed.take(9, at(110))), [Pair::OFFLINE]);
    }

    #[test]
    fn the_newest_presence_stays_owed_until_it_is_acknowledged() {
        let mut owed = owed();
        owed.add(presence("a", BUSY, 101), at(101));
        let sent = owed.take(9, at(101));
        owed.add(presence("a", Pair::AWAY, 102), at(102));
        owed.acknowledge(sent);
        assert_eq!(owed.oldest(), Some(at(102)));
        let sent = owed.take(9, at(102));
        assert_eq!(pairs(&sent), [Pair::AWAY]);
        owed.acknowledge(sent);
        assert_eq!((owed.len(), owed.oldest(), owed.next_due()), (0, None, None));
    }

    #[test]
    fn an_older_presence_replaces_no_newer_one() {
        let mut owed = owed();
        owed.add(presence("a", BUSY, 105), at(105));
        owed.add(presence("a", Pair::AWAY, 104), at(106));
        assert_eq!(pairs(&owed.take(9, at(106))), [BUSY]);
    }

    #[test]
    fn a_change_back_is_owed_only_if_something_was_sent() {
        let mut owed = owed();
        owed.add_first(presence("a", BUSY, 50), false, at(110));
        owed.add(presence("a", Pair::AWAY, 111), at(111));
        owed.add(presence("a", BUSY, 112), at(112));
        assert_eq!(owed.len(), 0);
        owed.add(presence("a", Pair::AWAY, 113), at(113));
        assert_eq!(owed.take(9, at(113)).len(), 1);
        owed.add(presence("a", BUSY, 114), at(114));
        assert_eq!(pairs(&owed.take(9, at(114))), [BUSY]);
    }

    #[test]
    fn only_a_lower_availability_has_to_last() {
        let mut owed = Owed::new(NotificationFormat::Graph, Duration::from_secs(5), at(100), false);
        owed.add_first(presence("a", Pair::AWAY, 50), false, at(110));
        owed.add(presence("a", BUSY, 111), at(111));
        let sent = owed.take(9, at(111));
        assert_eq!(pairs(&sent), [BUSY]);
        owed.acknowledge(sent);
        owed.add(presence("a", Pair::AWAY, 112), at(112));
        assert_eq!(owed.take(9, at(116)).len(), 0);
        assert_eq!(owed.next_due(), Some(at(117)));
        assert_eq!(pairs(&owed.take(9, at(117))), [Pair::AWAY]);
    }

    #[test]
    fn graph_is_notified_of_pairs_and_the_service_s_format_of_all_that_is_shown() {
        for (format, number) in [(NotificationFormat::Graph, 0), (NotificationFormat::Service, 1)] {
            let mut owed = Owed::new(format, Duration::ZERO, at(100), false);
            owed.add_first(presence("a", BUSY, 50), false, at(110));
            let mut changed = Presence::clone(&presence("a", BUSY, 111));
            let message = crate::presence::StatusMessage {
                content: "text".to_owned(),
                published_at: None,
                expires_at: None,
            };
            changed.status_message = Some(message);
            owed.add(Arc::new(changed), at(111));
            assert_eq!(owed.len(), number, "{format:?}");
        }
    }
}
