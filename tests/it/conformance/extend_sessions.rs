use std::time::Duration;

use presenced::{
    presence::{INACTIVE_AFTER, Pair, Timestamp},
    store::{
        ClearSession, ExtendSession, Hold, Observed, SETTLES_AFTER, SessionChange, SetOutcome, SetSession,
    },
};
use uuid::Uuid;

use super::{HOLDER, HOUR, IN_A_CALL, MINUTE, Subject, clear_of, extension, hold, key, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_session_that_the_stream_holds_is_extended,
    a_later_expiry_is_kept,
    a_change_also_sets_the_pair_and_the_text,
    a_stale_change_does_not_apply,
    an_expired_session_becomes_live_again,
    a_cleared_session_is_unaffected,
    a_session_that_the_stream_does_not_hold_is_unaffected,
    a_missing_session_is_unaffected,
    all_of_several_extensions_of_one_session_apply,
    changed_at_moves_as_for_a_set,
    one_call_can_extend_a_thousand_sessions,
    a_stream_holds_its_session_until_another_call_sets_or_clears_it,
    a_clear_for_a_stream_ends_only_the_session_that_it_holds,
];

const TICK: Duration = Duration::from_millis(1);

/// An extension with a new pair.
fn change(session: &str, pair: Pair, observed: Observed) -> ExtendSession {
    let change = SessionChange { pair, message: None, observed };
    ExtendSession { change: Some(change), ..extension("u", session, MINUTE) }
}

impl Subject {
    async fn extend(&self, now: Timestamp, held: &[ExtendSession]) -> Vec<Option<Timestamp>> {
        self.store.extend_sessions(now, held).await.unwrap()
    }

    /// Whether the stream still holds a session of the user `u`.
    async fn is_held(&self, holder: Uuid) -> bool {
        let hold = |user: &str, holder| Hold { user: key(user, "x").user, holder };
        let holds = [hold("u", holder), hold("v", Uuid::from_u128(7)), hold("u", Uuid::nil())];
        let current = self.store.current_holds(&holds).await.unwrap();
        assert_eq!(current[1..], [false, false], "streams that hold no session");
        current[0]
    }
}

async fn a_session_that_the_stream_holds_is_extended(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, MINUTE)]).await;
    let now = start() + MINUTE / 2;
    assert_eq!(subject.extend(now, &[extension("u", "a", MINUTE)]).await, [Some(now + MINUTE)]);
    let session = subject.only(now).await;
    assert_eq!((session.set_at, session.changed_at, session.expires_at), (now, start(), now + MINUTE));
}

async fn a_later_expiry_is_kept(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, HOUR)]).await;
    let now = start() + MINUTE;
    assert_eq!(subject.extend(now, &[extension("u", "a", MINUTE)]).await, [Some(start() + HOUR)]);
    let session = subject.only(now).await;
    assert_eq!((session.set_at, session.expires_at), (now, start() + HOUR));
}

async fn a_change_also_sets_the_pair_and_the_text(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, MINUTE)]).await;
    let changed = subject.extend(start(), &[change("a", Pair::AWAY, Observed::Now)]).await;
    assert_eq!(changed, [Some(start() + MINUTE)]);
    let session = subject.only(start()).await;
    assert_eq!((session.pair, session.changed_at), (Pair::AWAY, start() + TICK));
    let ended = subject.history(start(), "u").await.spans;
    assert_eq!(ended.len(), 2, "{ended:?}");
    // A text alone is a change, too. An extension keeps it, and a change without it removes it.
    let change = |text: Option<&str>| {
        let change =
            SessionChange { pair: Pair::AWAY, message: text.map(ToOwned::to_owned), observed: Observed::Now };
        ExtendSession { change: Some(change), ..extension("u", "a", MINUTE) }
    };
    let mut spans = 2;
    for (seconds, held, text) in [
        (1, change(Some("bank")), Some("bank")),
        (2, extension("u", "a", MINUTE), Some("bank")),
        (3, change(Some("bank")), Some("bank")),
        (4, change(Some("boss")), Some("boss")),
        (5, change(None), None),
        (6, extension("u", "a", MINUTE), None),
    ] {
        let before = subject.only(start()).await;
        let now = start() + seconds * Duration::from_secs(1);
        assert_eq!(subject.extend(now, &[held]).await, [Some(now + MINUTE)]);
        let session = subject.only(now).await;
        assert_eq!((session.message.as_deref(), session.pair), (text, Pair::AWAY));
        let differs = before.message != session.message;
        assert_eq!(session.changed_at, if differs { now } else { before.changed_at });
        spans += usize::from(differs);
        assert_eq!(subject.history(now, "u").await.spans.len(), spans);
    }
    assert_eq!(spans, 5);
}

async fn a_stale_change_does_not_apply(engine: Engine) {
    let subject = Subject::new(engine).await;
    let observed = |millis: u32| Observed::At(start() + millis * TICK);
    let first = SetSession { observed: observed(20), ..hold("u", "a", IN_A_CALL, HOUR) };
    subject.set(start(), &[first]).await;
    assert_eq!(subject.extend(start(), &[change("a", Pair::AWAY, observed(19))]).await, [None]);
    assert_eq!(subject.only(start()).await.pair, IN_A_CALL);
    // An extension does not move the time of observation.
    let now = start() + MINUTE;
    assert_eq!(subject.extend(now, &[extension("u", "a", HOUR)]).await, [Some(now + HOUR)]);
    let equal = [change("a", Pair::AWAY, observed(20))];
    assert_eq!(subject.extend(now, &equal).await, [Some(now + HOUR)]);
    assert_eq!(subject.only(now).await.pair, Pair::AWAY);
    // A change without a time was observed now.
    subject.extend(now, &[change("a", IN_A_CALL, Observed::Now)]).await;
    let late = SetSession { observed: observed(21), ..set("u", "a", Pair::AWAY, HOUR) };
    assert_eq!(subject.store.set_sessions(now, &[late]).await.unwrap(), [SetOutcome::Stale]);
}

async fn an_expired_session_becomes_live_again(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, MINUTE)]).await;
    let late = start() + HOUR;
    assert_eq!(subject.load(late, "u").await, []);
    assert_eq!(subject.extend(late, &[extension("u", "a", MINUTE)]).await, [Some(late + MINUTE)]);
    let session = subject.only(late).await;
    assert_eq!((session.changed_at, session.expires_at), (late, late + MINUTE));
}

async fn a_cleared_session_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, HOUR)]).await;
    subject.clear(start() + TICK, &[key("u", "a")]).await;
    assert_eq!(subject.extend(start() + MINUTE, &[extension("u", "a", HOUR)]).await, [None]);
    assert_eq!(subject.load(start() + MINUTE, "u").await, []);
}

async fn a_session_that_the_stream_does_not_hold_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by_another = SetSession { holder: Some(Uuid::max()), ..set("v", "a", IN_A_CALL, HOUR) };
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR), by_another]).await;
    let before = subject.only(start()).await;
    let held = [
        extension("u", "a", 2 * HOUR),
        change("a", Pair::AWAY, Observed::Now),
        extension("v", "a", 2 * HOUR),
        ExtendSession { holder: Uuid::max(), ..extension("v", "a", 3 * HOUR) },
    ];
    let now = start() + MINUTE;
    assert_eq!(subject.extend(now, &held).await, [None, None, None, Some(now + 3 * HOUR)]);
    assert_eq!(subject.only(now).await, before);
}

async fn a_missing_session_is_unaffected(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, HOUR)]).await;
    let held = [extension("u", "b", HOUR), extension("v", "a", HOUR), change("c", Pair::AWAY, Observed::Now)];
    assert_eq!(subject.extend(start(), &held).await, [None, None, None]);
    assert_eq!(subject.load(start(), "v").await, []);
    assert_eq!(subject.extend(start(), &[]).await, []);
    assert_eq!(subject.store.export_user(&key("v", "a").user).await.unwrap(), [""; 0], "it leaves no row");
}

async fn all_of_several_extensions_of_one_session_apply(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", IN_A_CALL, TICK)]).await;
    let held = [1, 3, 2].map(|minutes| extension("u", "a", minutes * MINUTE));
    let expires_at = [1, 3, 3].map(|minutes| Some(start() + minutes * MINUTE));
    assert_eq!(subject.extend(start(), &held).await, expires_at);
    assert_eq!(subject.only(start()).await.expires_at, start() + 3 * MINUTE);
}

async fn changed_at_moves_as_for_a_set(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[hold("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let held = [extension("u", "a", HOUR)];
    let almost = start() + INACTIVE_AFTER.saturating_sub(SETTLES_AFTER + TICK);
    subject.extend(almost, &held).await;
    assert_eq!(subject.only(almost).await.changed_at, start());
    let faded = almost + INACTIVE_AFTER + TICK;
    subject.extend(faded, &held).await;
    assert_eq!(subject.only(faded).await.changed_at, faded);
    // The clock is behind the one of the last write.
    subject.set(faded, &[hold("u", "a", Pair::AVAILABLE, TICK)]).await;
    let changed_at = subject.only(faded).await.changed_at;
    subject.extend(faded + TICK, &held).await;
    assert!(subject.only(faded + TICK).await.changed_at > changed_at);
}

async fn one_call_can_extend_a_thousand_sessions(engine: Engine) {
    let subject = Subject::new(engine).await;
    let user = |user: i32| user.to_string();
    let sets: Vec<_> = (0..500).map(|number| hold(&user(number), "a", IN_A_CALL, MINUTE)).collect();
    subject.set(start(), &sets).await;
    let held: Vec<_> = (0..1_000).map(|number| extension(&user(number), "a", MINUTE)).collect();
    let now = start() + TICK;
    let mut expected = vec![Some(now + MINUTE); 500];
    expected.resize(1_000, None);
    assert_eq!(subject.extend(now, &held).await, expected);
}

async fn a_stream_holds_its_session_until_another_call_sets_or_clears_it(engine: Engine) {
    let subject = Subject::new(engine).await;
    let clear = || clear_of(&key("u", "a"));
    let takeovers = [
        (Some(set("u", "a", IN_A_CALL, HOUR)), None),
        (Some(SetSession { holder: Some(Uuid::max()), ..set("u", "a", IN_A_CALL, HOUR) }), None),
        (None, Some(clear())),
        (None, Some(ClearSession { observed: Observed::At(start() + HOUR), ..clear() })),
    ];
    for (minute, (by_set, by_clear)) in (1..).zip(takeovers) {
        let now = start() + minute * MINUTE;
        subject.set(now, &[hold("u", "a", IN_A_CALL, HOUR), hold("u", "b", IN_A_CALL, MINUTE)]).await;
        assert!(subject.is_held(HOLDER).await);
        subject.clear(now, &[key("u", "b")]).await;
        assert!(subject.is_held(HOLDER).await, "the other session is not the stream's");
        if let Some(set) = by_set {
            subject.set(now, &[set]).await;
        }
        if let Some(clear) = by_clear {
            subject.store.clear_sessions(now, &[clear]).await.unwrap();
        }
        assert!(!subject.is_held(HOLDER).await);
        assert_eq!(subject.extend(now, &[extension("u", "a", HOUR)]).await, [None]);
    }
}

async fn a_clear_for_a_stream_ends_only_the_session_that_it_holds(engine: Engine) {
    use presenced::store::ClearOutcome::{Cleared, NotLive};

    let subject = Subject::new(engine).await;
    let clear = |session: &str| ClearSession { holder: Some(HOLDER), ..clear_of(&key("u", session)) };
    subject.set(start(), &[hold("u", "a", IN_A_CALL, HOUR), set("u", "b", IN_A_CALL, HOUR)]).await;
    let clears = [clear("a"), clear("b"), clear("missing")];
    let outcomes = subject.store.clear_sessions(start(), &clears).await.unwrap();
    assert_eq!(outcomes, [Cleared, NotLive, NotLive]);
    assert_eq!(subject.only(start()).await.session_id.as_str(), "b");
}
