use uuid::Uuid;

use super::*;
use crate::{
    presence::{Activity, Availability, Pair, Session, SessionId, UserId},
    telemetry::Metrics,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const HOUR: Duration = Duration::from_hours(1);
const IN_A_CALL: Pair = Pair::new(Availability::Busy, Activity::InACall);

fn key(user: &str) -> UserKey {
    UserKey { tenant_id: Uuid::nil(), user_id: UserId::parse(user).unwrap() }
}

/// A user whose one session shows `pair` until an hour from [`NOW`].
fn showing(pair: Pair) -> User {
    let (session_id, set_at) = (SessionId::parse("app").unwrap(), NOW - HOUR);
    let session = Session { session_id, pair, set_at, changed_at: set_at, expires_at: NOW + HOUR };
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
        let stream = Arc::new(Mailbox::new(self.metrics.clone()));
        self.users.watch(users.iter().map(|user| key(user)).collect(), &stream);
        stream
    }

    /// Begins whatever is to be read.
    fn begin(&mut self) -> Vec<UserSlot> {
        self.users.begin_reads(usize::MAX).into_iter().map(|(slot, _)| slot).collect()
    }

    fn end(&mut self, slots: Vec<UserSlot>, pair: Pair) {
        for slot in slots {
            self.users.end_read(slot, Some((&showing(pair), NOW)));
        }
    }

    /// Reads whatever is to be read.
    fn read(&mut self, pair: Pair) {
        let begun = self.begin();
        self.end(begun, pair);
    }
}

/// What waits in a mailbox.
fn told(stream: &Mailbox) -> Vec<Pair> {
    std::iter::from_fn(|| stream.next()).map(|news| news.presence.pair).collect()
}

#[test]
fn a_stream_is_told_only_of_reads_that_began_after_it() {
    let mut subject = Subject::new();
    let first = subject.watch(&["a"]);
    let begun = subject.begin();
    let second = subject.watch(&["a"]);
    assert_eq!(subject.begin(), [] as [UserSlot; 0], "one read at a time");
    subject.end(begun, Pair::AWAY);
    assert_eq!((told(&first), told(&second)), (vec![Pair::AWAY], vec![]));
    subject.read(Pair::AWAY);
    assert_eq!((told(&first), told(&second)), (vec![], vec![Pair::AWAY]));
}

#[test]
fn what_is_heard_during_a_read_has_the_user_read_again() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    let begun = subject.begin();
    subject.users.changed(&key("a"));
    subject.users.changed(&key("a"));
    subject.end(begun, Pair::AWAY);
    subject.read(IN_A_CALL);
    assert_eq!(told(&stream), [IN_A_CALL], "the newest, in place of the first");
    assert_eq!(subject.begin(), [] as [UserSlot; 0]);
}

#[test]
fn a_read_that_failed_says_nothing_and_is_begun_again() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    for _ in 0..3 {
        for slot in subject.begin() {
            subject.users.end_read(slot, None);
        }
        assert_eq!(told(&stream), []);
    }
    subject.read(Pair::AWAY);
    assert_eq!(told(&stream), [Pair::AWAY]);
}

#[test]
fn a_user_is_read_when_its_presence_changes_by_itself() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    subject.read(Pair::AWAY);
    assert_eq!(subject.users.next_due(), Some(NOW + HOUR));
    subject.users.pass_time(NOW + HOUR - Duration::from_millis(1));
    assert_eq!(subject.begin(), [] as [UserSlot; 0]);
    subject.users.pass_time(NOW + HOUR);
    let begun = subject.begin();
    let ended = User { changed_at: Some(NOW + HOUR), ..User::default() };
    subject.users.end_read(begun[0], Some((&ended, NOW + HOUR)));
    assert_eq!(told(&stream), [Pair::OFFLINE]);
    assert_eq!(subject.users.next_due(), Some(NOW + HOUR + SETTLE), "once more");
}

#[test]
fn what_happened_goes_first_but_does_not_starve_the_rest() {
    let mut subject = Subject::new();
    let users: Vec<String> = (0..100).map(|user| user.to_string()).collect();
    let _stream = subject.watch(&users.iter().map(String::as_str).collect::<Vec<_>>());
    subject.read(Pair::AWAY);
    subject.users.read_everybody();
    for user in &users[50..] {
        subject.users.changed(&key(user));
    }
    let begun: Vec<_> = subject.users.begin_reads(20).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(begun, (50..65).chain(0..5).collect::<Vec<_>>());
    assert_eq!(subject.begin().len(), 80, "each once");
}

#[test]
fn a_round_reads_everybody_once() {
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
    assert_eq!(subject.begin().len(), 10, "no more than that at a time");
}

#[test]
fn what_is_read_again_and_is_the_same_is_kept_once() {
    let mut subject = Subject::new();
    let stream = subject.watch(&["a"]);
    subject.read(Pair::AWAY);
    let told = stream.next().unwrap();
    subject.users.read_everybody();
    subject.read(Pair::AWAY);
    assert!(Arc::ptr_eq(&told.presence, subject.users.watched[told.slot].shown.as_ref().unwrap()));
}

#[test]
fn what_nobody_watches_is_forgotten_once_its_read_has_ended() {
    let mut subject = Subject::new();
    let streams = [subject.watch(&["a", "b"]), subject.watch(&["a"])];
    let begun = subject.begin();
    for stream in &streams {
        subject.users.leave(stream);
    }
    let third = subject.watch(&["b", "c"]);
    subject.end(begun, Pair::AWAY);
    assert_eq!(told(&third), [], "what was read was begun before it");
    subject.read(IN_A_CALL);
    assert_eq!(told(&third), [IN_A_CALL, IN_A_CALL]);
    subject.users.leave(&third);
    assert_eq!((subject.users.watched.len(), subject.users.slots.len()), (0, 0));
    assert_eq!((subject.users.due.len(), subject.metrics.users.get()), (0, 0));
}
