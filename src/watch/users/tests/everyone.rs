//! Watchers of everybody.

use super::*;
use crate::watch::{Exceeded, Share, Shares, mailbox::Update};

impl Subject {
    fn watch_everyone(&mut self, share: Share<Uuid>) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(self.metrics.clone(), 0));
        self.users.watch_everyone(Uuid::nil(), &mailbox, share);
        mailbox
    }

    /// Lists all users in pages of two.
    fn list(&mut self, live: &[&str]) {
        while let Some((tenant_id, after)) = self.users.begin_page() {
            let next = live.iter().filter(|user| after.as_ref().is_none_or(|after| **user > after.as_str()));
            let users: Vec<_> = next.take(2).map(|user| key(user).user_id).collect();
            let is_last = users.len() < 2;
            self.users.end_page(tenant_id, Some(users), is_last);
        }
    }
}

fn share(max: u32) -> Share<Uuid> {
    Shares::new(max, max).take(Uuid::nil(), 0).unwrap()
}

/// Removes all updates from a mailbox: a user with the pair, or an event.
fn events(mailbox: &Mailbox) -> Vec<String> {
    let text = |update| match update {
        Update::Presence(PresenceUpdate { presence, .. }) => {
            let availability: &str = presence.pair.availability.into();
            format!("{} {availability}", presence.user_id)
        }
        Update::SnapshotComplete => "complete".to_owned(),
        Update::Exceeded(exceeded) => format!("{exceeded:?}"),
    };
    std::iter::from_fn(|| mailbox.try_recv()).take(100).map(text).collect()
}

#[test]
fn a_snapshot_has_every_listed_user_and_then_a_marker() {
    let mut subject = Subject::new();
    let stream = subject.watch_everyone(share(10));
    assert!(!subject.users.is_empty(), "invalidations are on before the listing");
    subject.list(&["a", "b", "c"]);
    assert_eq!(events(&stream), [""; 0], "no user was read");
    subject.read(IN_A_CALL);
    assert_eq!(events(&stream), ["a Busy", "b Busy", "c Busy", "complete"]);
    subject.users.read_all();
    subject.list(&["a", "b", "c"]);
    subject.read(IN_A_CALL);
    assert_eq!(events(&stream), [""; 0], "nothing changed");
}

#[test]
fn without_a_live_user_the_marker_comes_at_once() {
    let mut subject = Subject::new();
    let stream = subject.watch_everyone(share(10));
    subject.list(&[]);
    assert_eq!(events(&stream), ["complete"]);
}

#[test]
fn a_user_who_appears_is_sent_also_during_the_listing() {
    let mut subject = Subject::new();
    let stream = subject.watch_everyone(share(10));
    subject.users.invalidate(&key("z"));
    subject.read(IN_A_CALL);
    subject.list(&["a", "z"]);
    subject.read(IN_A_CALL);
    assert_eq!(events(&stream), ["z Busy", "a Busy", "complete"]);
    subject.users.invalidate(&key("new"));
    subject.read(Pair::AWAY);
    assert_eq!(events(&stream), ["new Away"]);
    let other = UserKey { tenant_id: Uuid::from_u128(1), ..key("other") };
    subject.users.invalidate(&other);
    assert_eq!(subject.begin(), [] as [UserSlot; 0], "of another tenant");
}

#[test]
fn a_second_watcher_has_its_own_snapshot_and_no_offline_users() {
    let mut subject = Subject::new();
    let first = subject.watch_everyone(share(10));
    subject.list(&["a", "b"]);
    subject.read(IN_A_CALL);
    subject.users.invalidate(&key("b"));
    subject.read(Pair::OFFLINE);
    assert_eq!(events(&first), ["a Busy", "b Offline", "complete"], "the newest of b");
    let second = subject.watch_everyone(share(10));
    let begun = subject.begin();
    subject.list(&["a"]);
    subject.end(begun, IN_A_CALL);
    subject.read(IN_A_CALL);
    subject.users.read_all();
    let begun = subject.begin();
    for slot in begun {
        let pair = if slot == 0 { IN_A_CALL } else { Pair::OFFLINE };
        subject.end(vec![slot], pair);
    }
    assert_eq!(events(&second), ["a Busy", "complete"]);
    assert_eq!(events(&first), [""; 0]);
}

#[test]
fn a_watcher_of_ids_and_one_of_everybody_share_the_user() {
    let mut subject = Subject::new();
    let ids = subject.watch(&["a"]);
    let stream = subject.watch_everyone(share(10));
    subject.list(&["a"]);
    subject.read(IN_A_CALL);
    assert_eq!(
        (events(&ids), events(&stream)),
        (vec!["a Busy".into(), "complete".into()], vec!["a Busy".to_owned(), "complete".to_owned()])
    );
    subject.users.unwatch(&stream);
    subject.users.invalidate(&key("a"));
    subject.read(Pair::AWAY);
    assert_eq!((events(&ids), events(&stream)), (vec!["a Away".to_owned()], vec![]));
    subject.users.unwatch(&ids);
    assert!(subject.users.is_empty());
    assert_eq!((subject.users.slots.len(), subject.metrics.users.get()), (0, 0));
}

#[test]
fn an_offline_user_is_forgotten_when_the_last_presence_was_sent() {
    let mut subject = Subject::new();
    let stream = subject.watch_everyone(share(10));
    subject.list(&["a"]);
    subject.read(IN_A_CALL);
    events(&stream);
    subject.users.invalidate(&key("a"));
    let ended = User { changed_at: Some(NOW - HOUR), ..User::default() };
    for slot in subject.begin() {
        subject.users.end_read(slot, Some((&ended, NOW)));
    }
    subject.users.read_round(1, usize::MAX);
    assert_eq!(subject.users.watched.len(), 1, "the presence waits");
    subject.begin().into_iter().for_each(|slot| subject.users.end_read(slot, Some((&ended, NOW))));
    assert_eq!(events(&stream), ["a Offline"]);
    subject.users.read_round(1, usize::MAX);
    assert_eq!((subject.users.watched.len(), subject.users.slots.len()), (0, 0));
    subject.users.invalidate(&key("a"));
    subject.read(IN_A_CALL);
    assert_eq!(events(&stream), ["a Busy"]);
}

#[test]
fn a_watcher_ends_when_its_users_exceed_the_limit() {
    let mut subject = Subject::new();
    let (small, large) = (subject.watch_everyone(share(2)), subject.watch_everyone(share(3)));
    subject.list(&["a", "b"]);
    subject.read(IN_A_CALL);
    subject.users.invalidate(&key("c"));
    subject.read(IN_A_CALL);
    let exceeded = format!("{:?}", Exceeded::All(2));
    assert_eq!(events(&small).first(), Some(&exceeded));
    assert_eq!(events(&large), ["a Busy", "b Busy", "complete", "c Busy"]);
}

#[test]
fn a_failed_page_is_repeated_and_a_page_after_the_end_is_ignored() {
    let mut subject = Subject::new();
    let stream = subject.watch_everyone(share(10));
    let (tenant_id, after) = subject.users.begin_page().unwrap();
    subject.users.end_page(tenant_id, None, false);
    assert_eq!(subject.users.begin_page(), Some((tenant_id, after)));
    subject.users.unwatch(&stream);
    let second = subject.watch_everyone(share(10));
    subject.users.end_page(tenant_id, Some(vec![key("a").user_id]), true);
    assert_eq!(events(&second), [""; 0], "the listing began before the watcher");
    subject.list(&["a"]);
    subject.read(IN_A_CALL);
    assert_eq!(events(&second), ["a Busy", "complete"]);
}
