//! Spans: that each is appended once, with its author, and where the history ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use presenced::{
    presence::{
        AWAY_AFTER, Author, EndReason, INACTIVE_AFTER, Pair, SessionId, Span, SpanValue, Timestamp, UserId,
        WorkLocation, WorkLocationType,
    },
    store::{
        Change, ClearOutcome, ClearSession, Database, LoadHistory, SetSession, StoredHistory, UpdateUser,
        UserChange,
    },
};

use super::{
    HOUR, IN_A_CALL, MINUTE, Subject, clear_of, clears, extension, hold, key, message, set, start, update,
};
use crate::support::{database::Engine, number, on_every_engine};

on_every_engine![
    a_span_ends_when_its_value_is_changed_or_cleared_or_expires,
    a_new_author_ends_a_span_even_if_the_value_stays,
    a_refresh_by_the_same_author_ends_no_span,
    a_fade_that_a_refresh_ends_ends_a_span,
    the_end_of_an_expired_value_is_its_expiry,
    an_extension_ends_the_span_of_a_session_that_had_expired,
    the_cleanup_appends_the_spans_of_what_it_removes,
    the_parts_of_a_users_row_leave_their_spans,
    a_repeated_part_ends_no_span,
    the_locations_have_the_author_of_the_one_that_was_set_last,
    the_end_of_a_span_is_not_before_its_start,
    spans_of_concurrent_writers_neither_overlap_nor_leave_gaps,
    of_many_spans_those_that_ended_last_are_loaded,
    only_spans_that_started_before_are_loaded,
    removed_spans_move_the_start_of_the_complete_history,
    a_replica_without_history_moves_the_start_ahead_of_its_writes,
];

pub fn author(application: &str, user: Option<&str>) -> Author {
    Author {
        application_id: Some(SessionId::parse(application).unwrap()),
        user_id: user.map(|user| UserId::parse(user).unwrap()),
    }
}

impl Subject {
    /// Loads the history of the user `user`, oldest first.
    pub async fn history(&self, now: Timestamp, user: &str) -> StoredHistory {
        self.some_history(now, user, Timestamp::LATEST, 1_000).await
    }

    async fn some_history(&self, now: Timestamp, user: &str, before: Timestamp, max: u32) -> StoredHistory {
        let load = LoadHistory { users: vec![key(user, "x").user], before, spans_max: max };
        let mut loaded = self.store.load_history(now, &load).await.unwrap();
        assert_eq!(loaded.len(), 1);
        let mut history = loaded.remove(0);
        assert_eq!(history.user, self.user(now, user).await, "the user is that of a load");
        history.spans.sort_by_key(|span| (span.started_at, span.ended_at));
        history
    }

    /// Loads the spans of the user `u` that the history has: start, end and reason.
    async fn ended(&self) -> Vec<(Timestamp, Timestamp, EndReason)> {
        let spans = self.history(start() + 24 * HOUR, "u").await.spans;
        let ended = spans.iter().filter_map(|span| {
            let end = span.end.as_ref()?;
            Some((span.started_at, span.ended_at.unwrap(), end.reason))
        });
        ended.collect()
    }

    async fn change(&self, now: Timestamp, change: UserChange) {
        self.store.update_user(now, &update("u", change)).await.unwrap();
    }
}

fn at(minutes: u32) -> Timestamp {
    start() + minutes * MINUTE
}

async fn a_span_ends_when_its_value_is_changed_or_cleared_or_expires(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    subject.set(at(1), &[set("u", "a", Pair::AWAY, HOUR)]).await;
    subject.clear(at(2), &[key("u", "a")]).await;
    subject.set(at(3), &[set("u", "a", Pair::AWAY, 5 * MINUTE)]).await;
    subject.set(at(9), &[set("u", "a", Pair::AWAY, HOUR)]).await;
    assert_eq!(
        subject.ended().await,
        [
            (at(0), at(1), EndReason::Changed),
            (at(1), at(2), EndReason::Cleared),
            (at(3), at(8), EndReason::Expired),
        ]
    );
    let history = subject.history(at(10), "u").await;
    assert_eq!(history.complete_from, None);
    let current = history.spans.last().unwrap();
    assert_eq!((current.started_at, current.ended_at, &current.end), (at(9), Some(at(69)), &None));
    let session_id = SessionId::parse("a").unwrap();
    let value = SpanValue::Session { session_id, pair: Pair::AWAY, message: None, changed_at: at(9) };
    assert_eq!(current.value, value);
    assert_eq!(subject.history(at(10), "v").await, StoredHistory::default());
}

async fn a_new_author_ends_a_span_even_if_the_value_stays(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by = |set_by: &Author| SetSession { set_by: set_by.clone(), ..set("u", "a", IN_A_CALL, HOUR) };
    let authors = [author("app", None), author("app", Some("boss")), author("other", Some("boss"))];
    for (minute, author) in (0..).zip(&authors) {
        subject.set(at(minute), &[by(author)]).await;
        let changed_at = subject.only(at(minute)).await.changed_at;
        assert_eq!(changed_at, at(0), "watchers see no change");
    }
    let clear = ClearSession { cleared_by: author("admin", None), ..clear_of(&key("u", "a")) };
    assert_eq!(subject.store.clear_sessions(at(3), &[clear]).await.unwrap(), [ClearOutcome::Cleared]);
    let spans = subject.history(at(4), "u").await.spans;
    let who: Vec<_> = spans.iter().map(|span| (&span.set_by, &span.end.as_ref().unwrap().by)).collect();
    assert_eq!(
        who,
        [(&authors[0], &authors[1]), (&authors[1], &authors[2]), (&authors[2], &author("admin", None))]
    );
}

async fn a_refresh_by_the_same_author_ends_no_span(engine: Engine) {
    let subject = Subject::new(engine).await;
    let session = SetSession { set_by: author("app", Some("u")), ..set("u", "a", Pair::AVAILABLE, HOUR) };
    for minute in 0..20 {
        subject.set(at(minute), std::slice::from_ref(&session)).await;
    }
    let spans = subject.history(at(20), "u").await.spans;
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].started_at, spans[0].set_at), (at(0), at(19)));
}

async fn a_fade_that_a_refresh_ends_ends_a_span(engine: Engine) {
    let subject = Subject::new(engine).await;
    let session = [set("u", "a", Pair::AVAILABLE, HOUR)];
    subject.set(at(0), &session).await;
    subject.set(at(1), &session).await;
    let faded = at(1) + AWAY_AFTER;
    subject.set(faded, &session).await;
    assert_eq!(subject.ended().await, [(at(0), faded, EndReason::Changed)]);
    let history = subject.history(faded, "u").await;
    assert_eq!(history.spans[0].set_at, at(1), "it tells when the session faded");
    assert!(INACTIVE_AFTER < AWAY_AFTER);
}

async fn the_end_of_an_expired_value_is_its_expiry(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
    let before = subject.history(at(20), "u").await.spans;
    assert_eq!((before.len(), before[0].ended_at, &before[0].end), (1, Some(at(5)), &None));
    assert_eq!(subject.clear(at(20), &[key("u", "a")]).await, [false]);
    assert_eq!(subject.ended().await, [], "a clear of an ended session ends nothing");
    subject.set(at(30), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(subject.ended().await, [(at(0), at(5), EndReason::Expired)]);
}

async fn an_extension_ends_the_span_of_a_session_that_had_expired(engine: Engine) {
    let subject = Subject::new(engine).await;
    let set = SetSession { set_by: author("app", None), ..hold("u", "a", IN_A_CALL, MINUTE) };
    subject.set(at(0), std::slice::from_ref(&set)).await;
    let held = [extension("u", "a", MINUTE)];
    for seconds in [20, 40] {
        subject.store.extend_sessions(at(0) + Duration::from_secs(seconds), &held).await.unwrap();
    }
    assert_eq!(subject.ended().await, []);
    subject.store.extend_sessions(at(5), &held).await.unwrap();
    let expired = at(1) + Duration::from_secs(40);
    assert_eq!(subject.ended().await, [(at(0), expired, EndReason::Expired)]);
    let spans = subject.history(at(5), "u").await.spans;
    assert_eq!((spans[1].started_at, &spans[1].set_by), (at(5), &set.set_by));
}

async fn the_cleanup_appends_the_spans_of_what_it_removes(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = [set("u", "a", IN_A_CALL, MINUTE), set("u", "b", IN_A_CALL, 2 * MINUTE)];
    subject.set(at(0), &sets).await;
    subject.clear(at(1), &[key("u", "b")]).await;
    subject.change(at(0), UserChange::Preferred(Some((Pair::AWAY, MINUTE)))).await;
    subject.change(at(0), UserChange::StatusMessage(Some(("hi".to_owned(), Some(at(2)))))).await;
    let before = subject.history(at(60), "u").await.spans.len();
    let now = start() + 24 * HOUR;
    let sessions = subject.store.scan_sessions(now, None, 10).await.unwrap();
    assert_eq!(subject.store.remove_sessions(now, &sessions).await.unwrap(), 2);
    let users = subject.store.scan_users(now, None, 10).await.unwrap();
    assert_eq!(subject.store.remove_users(&users).await.unwrap(), 1);
    let spans = subject.history(at(60), "u").await.spans;
    assert_eq!((spans.len(), before), (4, 4), "{spans:#?}");
    let mut ended = subject.ended().await;
    ended.sort_by_key(|(_, end, reason)| (*end, reason.to_string()));
    assert_eq!(
        ended,
        [
            (at(0), at(1), EndReason::Cleared),
            (at(0), at(1), EndReason::Expired),
            (at(0), at(1), EndReason::Expired),
            (at(0), at(2), EndReason::Expired),
        ]
    );
}

async fn the_parts_of_a_users_row_leave_their_spans(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by = async |minute, who: &str, change| {
        let update = UpdateUser { set_by: author(who, None), ..update("u", change) };
        subject.store.update_user(at(minute), &update).await.unwrap();
    };
    let office = || Change::Set(WorkLocation { location_type: WorkLocationType::Office, place_id: None });
    let locations = |manual, automatic| UserChange::Locations { manual, automatic };
    by(0, "a", UserChange::Preferred(Some((Pair::AWAY, 10 * MINUTE)))).await;
    by(1, "b", message("hi")).await;
    by(2, "c", locations(office(), Change::Keep)).await;
    by(3, "d", locations(Change::Keep, office())).await;
    by(4, "e", message("bye")).await;
    by(5, "f", UserChange::StatusMessage(None)).await;
    by(6, "g", locations(Change::Clear, Change::Clear)).await;
    by(20, "h", UserChange::Preferred(None)).await;
    let spans = subject.history(at(21), "u").await.spans;
    let lines: Vec<_> = spans.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "0-10 preferred Away/Away by a, expired by nobody",
            "1-4 message hi by b, changed by e",
            "2-3 locations true false by c, changed by d",
            "3-6 locations true true by d, cleared by g",
            "4-5 message bye by e, cleared by f",
        ]
    );
}

/// A span in one line.
fn line(span: &Span) -> String {
    let minute = |at: Timestamp| (at.as_millis() - start().as_millis()) / 60_000;
    let who =
        |author: &Author| author.application_id.as_ref().map_or("nobody".to_owned(), ToString::to_string);
    let value = match &span.value {
        SpanValue::Session { session_id, pair, .. } => format!("session {session_id} {pair}"),
        SpanValue::Preferred(pair) => format!("preferred {pair}"),
        SpanValue::StatusMessage(content) => format!("message {content}"),
        SpanValue::Locations { manual, automatic } => {
            format!("locations {} {}", manual.is_some(), automatic.is_some())
        }
    };
    let end = span.end.as_ref().unwrap();
    let (from, to) = (minute(span.started_at), minute(span.ended_at.unwrap()));
    format!("{from}-{to} {value} by {}, {} by {}", who(&span.set_by), end.reason, who(&end.by))
}

async fn a_repeated_part_ends_no_span(engine: Engine) {
    let subject = Subject::new(engine).await;
    let remote = || Change::Set(WorkLocation { location_type: WorkLocationType::Remote, place_id: None });
    for minute in 0..3 {
        subject.change(at(minute), UserChange::Preferred(Some((Pair::AWAY, HOUR)))).await;
        subject.change(at(minute), message("hi")).await;
        subject
            .change(at(minute), UserChange::Locations { manual: remote(), automatic: Change::Clear })
            .await;
    }
    let spans = subject.history(at(3), "u").await.spans;
    assert_eq!(spans.iter().filter(|span| span.end.is_some()).count(), 0, "{spans:#?}");
    assert_eq!(spans.iter().map(|span| span.started_at).collect::<Vec<_>>(), [at(0); 3]);
}

async fn the_locations_have_the_author_of_the_one_that_was_set_last(engine: Engine) {
    let subject = Subject::new(engine).await;
    let office = || Change::Set(WorkLocation { location_type: WorkLocationType::Office, place_id: None });
    let by = async |minute, who: &str, manual, automatic| {
        let change = UserChange::Locations { manual, automatic };
        let update = UpdateUser { set_by: author(who, None), ..update("u", change) };
        subject.store.update_user(at(minute), &update).await.unwrap();
        let spans = subject.history(at(minute), "u").await.spans;
        let current = spans.into_iter().find(|span| span.end.is_none()).unwrap();
        (current.started_at, current.set_by.application_id.unwrap().to_string())
    };
    assert_eq!(by(0, "a", office(), Change::Keep).await, (at(0), "a".to_owned()));
    let cleared = by(1, "b", Change::Keep, Change::Clear).await;
    assert_eq!(cleared, (at(0), "a".to_owned()), "a clear of a missing location changes nothing");
    assert_eq!(by(2, "b", Change::Keep, office()).await, (at(2), "b".to_owned()));
    assert_eq!(by(3, "a", office(), Change::Keep).await, (at(3), "a".to_owned()), "another author");
    assert_eq!(by(4, "a", office(), Change::Keep).await, (at(3), "a".to_owned()), "the same author");
    assert_eq!(by(5, "c", Change::Clear, Change::Keep).await, (at(5), "b".to_owned()));
    let spans = subject.history(at(6), "u").await.spans;
    let ended: Vec<_> = spans.iter().filter(|span| span.end.is_some()).map(line).collect();
    assert_eq!(
        ended,
        [
            "0-2 locations true false by a, changed by b",
            "2-3 locations true true by b, changed by a",
            "3-5 locations true true by a, changed by c",
        ]
    );
}

async fn the_end_of_a_span_is_not_before_its_start(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(1), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    subject.change(at(1), message("hi")).await;
    // The clock stepped back.
    subject.set(at(0), &[set("u", "a", Pair::AWAY, HOUR)]).await;
    subject.change(at(0), message("bye")).await;
    assert_eq!(subject.ended().await, [(at(1), at(1), EndReason::Changed); 2]);
    let spans = subject.history(at(0), "u").await.spans;
    let current: Vec<_> = spans.iter().filter(|span| span.applies_at(at(0))).collect();
    assert_eq!(current.len(), 2, "what applies is in the history: {spans:#?}");
}

/// Eight writers change the same sessions at random. Afterwards the history has exactly one span for
/// each change.
async fn spans_of_concurrent_writers_neither_overlap_nor_leave_gaps(engine: Engine) {
    let subject = Subject::new(engine).await;
    let users: Vec<String> = (0..10).map(|user| format!("u{user}")).collect();
    let rounds = number("PRESENCE_TEST_WRITER_ROUNDS", 40);
    let writers = (0..8_u64).map(|writer| {
        // A process has one writer of SQLite.
        let store = match engine {
            Engine::Sqlite => Arc::clone(&subject.store),
            Engine::Postgres => subject.database.open(1),
        };
        let users = users.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(writer);
            let (mut sets, mut ended) = (0, 0);
            for round in 0..rounds {
                let now =
                    start() + Duration::from_millis(u64::try_from(round).unwrap() * 50 + random.u64(..20));
                let keys: Vec<_> = (0..random.usize(1..8))
                    .map(|_| key(&users[random.usize(..users.len())], &random.u8(..5).to_string()))
                    .collect();
                if random.u8(..4) > 0 {
                    let pair = [Pair::AWAY, IN_A_CALL][random.usize(..2)];
                    // Each set has another author, so each is a change.
                    let by = author(&format!("w{writer}-{round}"), None);
                    let set = |key| SetSession { key, set_by: by.clone(), ..set("u", "s", pair, HOUR) };
                    let mut distinct = keys.clone();
                    distinct.sort();
                    distinct.dedup();
                    sets += distinct.len();
                    store.set_sessions(now, &keys.into_iter().map(set).collect::<Vec<_>>()).await.unwrap();
                } else {
                    let results = store.clear_sessions(now, &clears(&keys)).await.unwrap();
                    ended += results.into_iter().filter(|outcome| *outcome == ClearOutcome::Cleared).count();
                }
            }
            (sets, ended)
        })
    });
    let (mut sets, mut ended) = (0, 0);
    for writer in writers.collect::<Vec<_>>() {
        let (more_sets, more_ended) = writer.await.unwrap();
        (sets, ended) = (sets + more_sets, ended + more_ended);
    }
    let (mut found, mut cleared, mut open) = (0, 0, 0);
    for user in &users {
        let mut sessions: BTreeMap<SessionId, Vec<Span>> = BTreeMap::new();
        for span in subject.history(start() + MINUTE, user).await.spans {
            let SpanValue::Session { session_id, .. } = &span.value else { panic!("{span:?}") };
            sessions.entry(session_id.clone()).or_default().push(span);
        }
        for spans in sessions.into_values() {
            found += spans.len();
            open += spans.iter().filter(|span| span.end.is_none()).count();
            let is_cleared =
                |span: &&Span| span.end.as_ref().is_some_and(|end| end.reason == EndReason::Cleared);
            cleared += spans.iter().filter(is_cleared).count();
            check_chain(&spans);
        }
    }
    assert_eq!(found, sets, "one span for each set");
    assert_eq!(cleared, ended, "one cleared span for each clear that ended a session");
    println!("{engine:?}: {sets} sets, {ended} clears, {open} live sessions");
}

/// Checks that the spans of one session follow each other. Each set has an author of its own, so the
/// span that a change ended is followed by that of the author who ended it.
pub fn check_chain(spans: &[Span]) {
    let mut by_author: BTreeMap<String, &Span> = BTreeMap::new();
    for span in spans {
        let name = span.set_by.application_id.as_ref().unwrap().to_string();
        assert!(by_author.insert(name, span).is_none(), "a span is doubled: {span:?}");
    }
    for span in spans {
        assert!(span.ended_at.is_none_or(|end| span.started_at <= end), "{span:?}");
        let Some(end) = span.end.as_ref().filter(|end| end.reason == EndReason::Changed) else { continue };
        let next = by_author[&end.by.application_id.as_ref().unwrap().to_string()];
        assert_eq!(span.ended_at, Some(next.started_at), "a gap or an overlap: {span:?}, then {next:?}");
    }
    let mut in_order: Vec<_> = spans.iter().map(|span| (span.started_at, span.ended_at.unwrap())).collect();
    in_order.sort_unstable();
    for pair in in_order.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "an overlap: {pair:?}");
    }
}

async fn of_many_spans_those_that_ended_last_are_loaded(engine: Engine) {
    let subject = Subject::new(engine).await;
    for minute in 0..10 {
        subject.set(at(minute), &[set("u", "a", [Pair::AWAY, IN_A_CALL][minute as usize % 2], HOUR)]).await;
    }
    let all = subject.some_history(at(10), "u", Timestamp::LATEST, 100).await;
    assert_eq!((all.spans.len(), all.complete_from), (10, None));
    let some = subject.some_history(at(10), "u", Timestamp::LATEST, 3).await;
    assert_eq!((some.spans.as_slice(), some.complete_from), (&all.spans[6..], Some(at(7))));
    assert_eq!((some.history_start, some.has_more), (None, true), "nothing was removed");
}

async fn only_spans_that_started_before_are_loaded(engine: Engine) {
    let subject = Subject::new(engine).await;
    for minute in 0..10 {
        subject.set(at(minute), &[set("u", "a", [Pair::AWAY, IN_A_CALL][minute as usize % 2], HOUR)]).await;
    }
    let some = subject.some_history(at(10), "u", at(5), 100).await;
    let starts: Vec<_> = some.spans.iter().map(|span| span.started_at).collect();
    assert_eq!(starts, [0, 1, 2, 3, 4, 9].map(at), "and the current values");
}

async fn removed_spans_move_the_start_of_the_complete_history(engine: Engine) {
    let subject = Subject::new(engine).await;
    for minute in 0..10 {
        subject.set(at(minute), &[set("u", "a", [Pair::AWAY, IN_A_CALL][minute as usize % 2], HOUR)]).await;
    }
    let citus = std::env::var("PRESENCE_TEST_CITUS_URL").is_ok();
    let removed = subject.store.remove_spans(at(10), at(5), 3).await.unwrap();
    assert!(removed == 3 || citus, "{removed}");
    let removed = subject.store.remove_spans(at(10), at(5), 3).await.unwrap();
    assert!(removed == 1 || citus, "{removed}");
    let history = subject.history(at(10), "u").await;
    assert_eq!((history.spans.len(), history.complete_from), (6, Some(at(5))));
    assert_eq!(history.history_start, Some(at(5)));
    let some = subject.some_history(at(10), "u", Timestamp::LATEST, 3).await;
    assert_eq!((some.complete_from, some.history_start), (Some(at(7)), Some(at(5))));
    assert_eq!(subject.store.remove_spans(at(10), at(3), 3).await.unwrap(), 0);
    assert_eq!(subject.history(at(10), "u").await.complete_from, Some(at(5)), "it never moves back");
}

async fn a_replica_without_history_moves_the_start_ahead_of_its_writes(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(at(0), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let without = Database::connect(subject.url()).await.unwrap().with_history(false);
    let store = without.open(1);
    store.set_sessions(at(1), &[set("u", "a", Pair::AWAY, HOUR)]).await.unwrap();
    let history = subject.history(at(10), "u").await;
    assert_eq!(history.spans.len(), 1, "the span that ended was not kept");
    let from = history.complete_from.unwrap();
    assert!(from > at(1), "{from}");
    store.update_user(from, &update("u", message("hi"))).await.unwrap();
    assert!(subject.history(at(10), "u").await.complete_from > Some(from));
    store.close().await;
}
