mod everyone;

use uuid::Uuid;

use super::*;
use crate::{
    presence::{Activity, Availability, Pair, Session, SessionId, UserId},
    telemetry::Metrics,
    watch::mailbox::Update,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const HOUR: Duration = Duration::from_hours(1);
const IN_A_CALL: Pair = Pair::new(Availability::Busy, Activity::InACall);

fn key(user: &str) -> UserKey {
    UserKey { tenant_id: Uuid::nil(), user_id: UserId::parse(user).unwrap() }
}

/// A user with one session that shows `pair` until an hour after [`NOW`].
fn showing(pair: Pair) -> User {
    let (session_id, set_at) = (SessionId::parse("app").unwrap(), NOW - HOUR);
    let session = Session {
        session_id,
        pair,
        message: None,
        set_at,
        opened_at: set_at,
        changed_at: set_at,
        expires_at: NOW + HOUR,
    };
    User { sessions: vec![session], ..User::default() }
}

struct Subject {
    users: Users,
    metrics: WatchMetrics,
}

impl Subject {
    fn new() -> Self {
        let metrics = Metrics::new().watch();
        Self { users: Users::new(metrics.clone()), metrics }
    }

    fn watch(&mut self, users: &[&str]) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(self.metrics.clone(), users.len()));
        self.users.watch(users.iter().map(|user| key(user)).collect(), &mailbox);
        mailbox
    }

    /// Begins all queued reads.
    fn begin(&mut self) -> Vec<UserSlot> {
        self.users.begin_reads(usize::MAX).into_iter().map(|(slot, _)| slot).collect()
    }

    fn end(&mut self, slots: Vec<UserSlot>, pair: Pair) {
        for slot in slots {
            self.users.end_read(slot, Some((&showing(pair), NOW)));
        }
    }

    /// Runs all queued reads.
    fn read(&mut self, pair: Pair) {
        let begun = self.begin();
        self.end(begun, pair);
    }
}

fn presence(update: Update) -> Option<PresenceUpdate> {
    if let Update::Presence(update) = update { Some(update) } else { None }
}

/// Removes all updates from a mailbox.
fn received(mailbox: &Mailbox) -> Vec<Pair> {
    let updates = std::iter::from_fn(|| mailbox.try_recv());
    updates.filter_map(presence).map(|update| update.presence.pair).collect()
}

#[test]
fn a_watcher_receives_only_reads_that_began_after_it() {
    let mut subject = Subject::new();
    let first = subject.watch(&["a"]);
    let begun = subject.begin();
    let second = subject.watch(&["a"]);
    assert_eq!(subject.begin(), [] as [UserSlot; 0], "one read at a time");
    subject.end(begun, Pair::AWAY);
    assert_eq!((received(&first), received(&second)), (vec![Pair::AWAY], vec![]));
    subject.read(Pair::AWAY);
    assert_eq!((received(&first), received(&second)), (vec![], vec![Pair::AWAY]));
}

#[test]
fn an_invalidation_during_a_read_causes_another_read() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    let begun = subject.begin();
    subject.users.invalidate(&key("a"));
    subject.users.invalidate(&key("a"));
    subject.end(begun, Pair::AWAY);
    subject.read(IN_A_CALL);
    assert_eq!(received(&stream), [IN_A_CALL], "the newest replaces the first");
    assert_eq!(subject.begin(), [] as [UserSlot; 0]);
}

#[test]
fn a_failed_read_sends_nothing_and_is_repeated() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    for _ in 0..3 {
        for slot in subject.begin() {
            subject.users.end_read(slot, None);
        }
        assert_eq!(received(&stream), []);
    }
    subject.read(Pair::AWAY);
    assert_eq!(received(&stream), [Pair::AWAY]);
}

#[test]
fn a_user_is_read_when_time_changes_the_presence() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    subject.read(Pair::AWAY);
    assert_eq!(subject.users.next_due(), Some(NOW + HOUR));
    subject.users.read_due(NOW + HOUR - Duration::from_millis(1));
    assert_eq!(subject.begin(), [] as [UserSlot; 0]);
    subject.users.read_due(NOW + HOUR);
    let begun = subject.begin();
    let ended = User { changed_at: Some(NOW + HOUR), ..User::default() };
    subject.users.end_read(begun[0], Some((&ended, NOW + HOUR)));
    assert_eq!(received(&stream), [Pair::OFFLINE]);
    assert_eq!(subject.users.next_due(), Some(NOW + HOUR + REREAD_AFTER), "the second read after a change");
}

#[test]
fn urgent_reads_come_first_but_do_not_starve_the_rest() {
    let mut subject = Subject::new();
    let users: Vec<String> = (0..100).map(|user| user.to_string()).collect();
    let _stream = subject.watch(&users.iter().map(String::as_str).collect::<Vec<_>>());
    subject.read(Pair::AWAY);
    subject.users.read_all();
    for user in &users[50..] {
        subject.users.invalidate(&key(user));
    }
    let begun: Vec<_> = subject.users.begin_reads(20).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(begun, (50..65).chain(0..5).collect::<Vec<_>>());
    assert_eq!(subject.begin().len(), 80, "each user once");
}

#[test]
fn a_round_reads_each_user_once() {
    let mut subject = Subject::new();
    let users: Vec<String> = (0..100).map(|user| user.to_string()).collect();
    let _stream = subject.watch(&users.iter().map(String::as_str).collect::<Vec<_>>());
    subject.read(Pair::AWAY);
    let mut read = Vec::new();
    for _ in 0..60 {
        subject.users.read_round(60, usize::MAX);
        let begun = subject.begin();
        read.extend_from_slice(&begun);
        subject.end(begun, Pair::AWAY);
    }
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), 100);
    subject.users.read_round(1, 10);
    assert_eq!(subject.begin().len(), 10, "at most the maximum");
}

#[test]
fn an_equal_presence_is_stored_once() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    subject.read(Pair::AWAY);
    let update = stream.try_recv().and_then(presence).unwrap();
    subject.users.read_all();
    subject.read(Pair::AWAY);
    assert!(Arc::ptr_eq(&update.presence, subject.users.watched[update.slot].shown.as_ref().unwrap()));
}

#[test]
fn an_unwatched_user_is_removed_after_its_read() {
    let mut subject = Subject::new();
    let streams = [subject.watch(&["a", "b"]), subject.watch(&["a"])];
    let begun = subject.begin();
    for stream in &streams {
        subject.users.unwatch(stream);
    }
    let third = subject.watch(&["b", "c"]);
    subject.end(begun, Pair::AWAY);
    assert_eq!(received(&third), [], "the read began before the watcher");
    subject.read(IN_A_CALL);
    assert_eq!(received(&third), [IN_A_CALL, IN_A_CALL]);
    subject.users.unwatch(&third);
    assert_eq!((subject.users.watched.len(), subject.users.slots.len()), (0, 0));
    assert_eq!((subject.users.due.len(), subject.metrics.users.get()), (0, 0));
}

/// The time in which this number of streams of one user end together, the shortest of three.
fn time_to_leave(streams: usize) -> Duration {
    let time = || {
        let mut subject = Subject::new();
        let mailboxes: Vec<_> = (0..streams).map(|_| subject.watch(&["a"])).collect();
        subject.read(IN_A_CALL);
        let stopwatch = Stopwatch::start();
        for mailbox in mailboxes.iter().rev() {
            subject.users.unwatch(mailbox);
        }
        let took = stopwatch.elapsed();
        assert!(subject.users.is_empty());
        took
    };
    (0..3).map(|_| time()).min().unwrap()
}

#[test]
fn the_end_of_a_stream_costs_the_same_however_many_watch_the_user() {
    let (few, many) = (time_to_leave(2_000), time_to_leave(20_000));
    println!("2,000 streams end in {few:?}, 20,000 in {many:?}");
    assert!(many < few * 40, "ten times as many streams took {few:?} and {many:?}");
}
