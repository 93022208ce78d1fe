//! Writes that say when they were observed.

use std::time::Duration;

use presenced::{
    presence::{Pair, Timestamp},
    store::{
        ClearOutcome::{self, Cleared, NotLive},
        ClearSession, Invalidation, Observed,
        SetOutcome::{self, Set},
        SetSession,
    },
};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, clear_of, hold, key, set, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_set_that_was_observed_before_is_stale_and_changes_nothing,
    one_that_was_observed_at_the_same_time_is_not_stale,
    a_write_without_a_time_is_never_stale_and_counts_as_observed_now,
    a_clear_that_was_observed_before_is_stale,
    a_clear_of_an_ended_or_missing_session_makes_an_earlier_set_stale,
    of_several_sets_of_one_key_the_one_that_was_observed_last_applies,
    of_several_clears_of_one_key_the_one_that_was_observed_last_applies,
    a_batch_applies_all_that_is_not_stale,
    taking_a_held_session_notifies_its_stream,
];

/// An instant in milliseconds after the start.
fn after(millis: u32) -> Timestamp {
    start() + Duration::from_millis(millis.into())
}

fn set_at(session: &str, pair: Pair, millis: u32) -> SetSession {
    SetSession { observed: Observed::At(after(millis)), ..set("u", session, pair, HOUR) }
}

fn clear_at(session: &str, millis: u32) -> ClearSession {
    ClearSession { observed: Observed::At(after(millis)), ..clear_of(&key("u", session)) }
}

impl Subject {
    async fn sets(&self, sets: &[SetSession]) -> Vec<SetOutcome> {
        self.store.set_sessions(start() + MINUTE, sets).await.unwrap()
    }

    async fn clears(&self, clears: &[ClearSession]) -> Vec<ClearOutcome> {
        self.store.clear_sessions(start() + MINUTE, clears).await.unwrap()
    }

    /// The rows of the user `u`.
    async fn stored(&self) -> Vec<String> {
        self.store.export_user(&key("u", "x").user).await.unwrap()
    }
}

async fn a_set_that_was_observed_before_is_stale_and_changes_nothing(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, 20)]).await, [Set]);
    let before = subject.stored().await;
    assert_eq!(subject.sets(&[set_at("a", Pair::AWAY, 19)]).await, [SetOutcome::Stale]);
    assert_eq!(subject.sets(&[set_at("a", Pair::AWAY, 0)]).await, [SetOutcome::Stale]);
    assert_eq!(subject.stored().await, before);
    assert_eq!(subject.sets(&[set_at("a", Pair::AWAY, 21)]).await, [Set]);
    assert_eq!(subject.only(start() + MINUTE).await.pair, Pair::AWAY);
}

async fn one_that_was_observed_at_the_same_time_is_not_stale(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, 20)]).await, [Set]);
    assert_eq!(subject.sets(&[set_at("a", Pair::AWAY, 20)]).await, [Set]);
    assert_eq!(subject.only(start() + MINUTE).await.pair, Pair::AWAY);
    assert_eq!(subject.clears(&[clear_at("a", 20)]).await, [Cleared]);
    assert_eq!(subject.clears(&[clear_at("a", 20)]).await, [NotLive]);
}

async fn a_write_without_a_time_is_never_stale_and_counts_as_observed_now(engine: Engine) {
    let subject = Subject::new(engine).await;
    let now = 60_000;
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, now + 5_000)]).await, [Set]);
    assert_eq!(subject.sets(&[set("u", "a", Pair::AWAY, HOUR)]).await, [Set]);
    // It counts as one millisecond after what the session reflected.
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, now + 5_000)]).await, [SetOutcome::Stale]);
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, now + 5_001)]).await, [Set]);
    assert_eq!(subject.clears(&[clear_of(&key("u", "a"))]).await, [Cleared]);
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, now + 5_001)]).await, [SetOutcome::Stale]);

    assert_eq!(subject.sets(&[set("u", "b", Pair::AWAY, HOUR)]).await, [Set]);
    assert_eq!(subject.sets(&[set_at("b", IN_A_CALL, now - 1)]).await, [SetOutcome::Stale]);
    assert_eq!(subject.clears(&[clear_at("b", now - 1)]).await, [ClearOutcome::Stale]);
    assert_eq!(subject.clears(&[clear_at("b", now)]).await, [Cleared]);
}

async fn a_clear_that_was_observed_before_is_stale(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.sets(&[set_at("a", IN_A_CALL, 20)]).await;
    let before = subject.stored().await;
    assert_eq!(subject.clears(&[clear_at("a", 19)]).await, [ClearOutcome::Stale]);
    assert_eq!(subject.stored().await, before);
}

async fn a_clear_of_an_ended_or_missing_session_makes_an_earlier_set_stale(engine: Engine) {
    let subject = Subject::new(engine).await;
    let now = start() + MINUTE;
    assert_eq!(subject.clears(&[clear_at("missing", 20)]).await, [NotLive]);
    subject.sets(&[set_at("ended", IN_A_CALL, 10)]).await;
    assert_eq!(subject.clears(&[clear_at("ended", 11)]).await, [Cleared]);
    let sequence = subject.user(now, "u").await.sequence_number(now);
    assert_eq!(subject.clears(&[clear_at("ended", 20)]).await, [NotLive]);
    for session in ["missing", "ended"] {
        let late = subject.sets(&[set_at(session, IN_A_CALL, 19)]).await;
        assert_eq!(late, [SetOutcome::Stale], "{session}");
    }
    let user = subject.user(now, "u").await;
    assert_eq!((user.sessions.len(), user.sequence_number(now)), (0, sequence), "neither shows anywhere");
    for session in ["missing", "ended"] {
        assert_eq!(subject.sets(&[set_at(session, IN_A_CALL, 20)]).await, [Set], "{session}");
    }
}

async fn of_several_sets_of_one_key_the_one_that_was_observed_last_applies(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [
        set_at("a", Pair::AVAILABLE, 20),
        set_at("a", IN_A_CALL, 30),
        set_at("a", Pair::AWAY, 30),
        set_at("a", Pair::AVAILABLE, 10),
    ];
    let stale = SetOutcome::Stale;
    assert_eq!(subject.sets(&sets).await, [stale, Set, Set, stale]);
    assert_eq!(subject.only(start() + MINUTE).await.pair, Pair::AWAY);
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, 29), set_at("a", IN_A_CALL, 29)]).await, [stale; 2]);
    // A set without a time was observed at now.
    let sets = [set("u", "a", IN_A_CALL, HOUR), set_at("a", Pair::AVAILABLE, 59_999)];
    assert_eq!(subject.sets(&sets).await, [Set, stale]);
    assert_eq!(subject.only(start() + MINUTE).await.pair, IN_A_CALL);
}

async fn of_several_clears_of_one_key_the_one_that_was_observed_last_applies(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.sets(&[set_at("a", IN_A_CALL, 20)]).await;
    let clears = [clear_at("a", 10), clear_at("a", 30), clear_at("a", 20)];
    let stale = ClearOutcome::Stale;
    assert_eq!(subject.clears(&clears).await, [stale, Cleared, stale]);
    assert_eq!(subject.clears(&[clear_at("a", 30), clear_at("a", 30)]).await, [NotLive; 2]);
    assert_eq!(subject.sets(&[set_at("a", IN_A_CALL, 29)]).await, [SetOutcome::Stale]);
    // If it is stale, so are the others.
    let clears = [clear_at("a", 28), clear_at("a", 29), clear_at("a", 29)];
    assert_eq!(subject.clears(&clears).await, [stale; 3]);
}

async fn a_batch_applies_all_that_is_not_stale(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.sets(&[set_at("b", IN_A_CALL, 20), set_at("d", IN_A_CALL, 20)]).await;
    let sets = ["a", "b", "c", "d", "e"].map(|session| set_at(session, Pair::AWAY, 19));
    let stale = SetOutcome::Stale;
    assert_eq!(subject.sets(&sets).await, [Set, stale, Set, stale, Set]);
    let clears = ["a", "b", "missing", "d", "e"].map(|session| clear_at(session, 19));
    let stale = ClearOutcome::Stale;
    assert_eq!(subject.clears(&clears).await, [Cleared, stale, NotLive, stale, Cleared]);
}

/// A refresh that takes a session moves no `changed_at`, and yet its stream must hear of it.
async fn taking_a_held_session_notifies_its_stream(engine: Engine) {
    let subject = Subject::new(engine).await;
    let mut feed = subject.database.invalidations();
    assert_eq!(feed.next().await, Invalidation::AllUsers);
    let user = Invalidation::Users(vec![key("u", "a").user]);
    let refresh = [hold("u", "a", IN_A_CALL, HOUR)];
    subject.set(start(), &refresh).await;
    assert_eq!(feed.next().await, user, "it was opened");
    let changed_at = subject.only(start()).await.changed_at;
    // The stream's own refresh takes nothing; the next one does.
    subject.set(start() + MINUTE, &refresh).await;
    subject.set(start() + MINUTE, &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(feed.next().await, user);
    assert_eq!(subject.only(start() + MINUTE).await.changed_at, changed_at);
    subject.set(start() + MINUTE, &[set("v", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(feed.next().await, Invalidation::Users(vec![key("v", "a").user]), "one in all");
}
