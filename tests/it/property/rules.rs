use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use presenced::presence::{DecidingRule, User, explain, message_of, presence_of};
use proptest::{
    collection::vec,
    option,
    prelude::{Strategy, any},
    prop_assert_eq,
    test_runner::{Config, TestRunner},
};

use super::{MINUTE_MS, Naive, NaiveUser, millis, pair, preferred_pair, session, text, user_row};
use crate::support::{number, server::START};

#[test]
fn the_rules_agree_with_the_model() {
    let cases = u32::try_from(number("PRESENCE_TEST_RULE_CASES", 100_000)).unwrap();
    let checks = AtomicUsize::new(0);
    // A session: its pair, its text, its age, the age of its last change, its lifetime, and whether
    // it was cleared.
    let sessions = vec((pair(), text(), millis(16), millis(16), millis(20), any::<bool>()), 0..5);
    // The end relative to now, in the future or in the past.
    let end = || millis(30).prop_map(|ahead| ahead - 10 * MINUTE_MS);
    let user = (option::of((preferred_pair(), end())), option::of(option::of(end())));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&(sessions, user), |(sessions, (preferred, message))| {
            let now = START.as_millis();
            let naive: BTreeMap<String, Naive> = sessions
                .iter()
                .enumerate()
                .map(|(id, (pair, text, age, change, life, cleared))| {
                    let (set_at, changed_at) = (now - age, now - (age + change));
                    let naive = Naive {
                        pair: *pair,
                        text: *text,
                        set_at,
                        opened_at: changed_at,
                        changed_at,
                        expires_at: set_at + life,
                        cleared_at: (*cleared && id > 1).then_some(now),
                    };
                    (id.to_string(), naive)
                })
                .collect();
            let naive_user = NaiveUser {
                preferred: preferred.map(|(pair, end)| (pair, now + end)),
                message: message.map(|end| ("hi".to_owned(), now, end.map(|end| now + end))),
                changed_at: None,
            };
            let ours = User {
                sessions: naive.iter().filter(|(_, naive)| naive.cleared_at.is_none()).map(session).collect(),
                ..user_row(&naive_user)
            };
            let decision = explain(&ours, START);
            let (expected, message) = naive_user.shows(naive.iter(), now);
            let shown = message_of(&ours, START).map(|message| message.content);
            prop_assert_eq!(shown, message);
            prop_assert_eq!(decision.presence.to_string(), expected.clone());
            prop_assert_eq!(presence_of(&ours, START).to_string(), expected);
            prop_assert_eq!(decision.live.len(), naive.values().filter(|naive| naive.live(now)).count());
            let preferred_decided = decision.rule == DecidingRule::PreferredPresence;
            prop_assert_eq!(preferred_decided, ours.preferred_at(START).is_some());

            let next = decision.next_transition.map(|next| (next.at.as_millis(), next.to.to_string()));
            prop_assert_eq!(next, naive_next(&naive, &naive_user, now));
            checks.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let checks = checks.into_inner();
    assert!(checks >= cases as usize);
    println!("rules: {checks} random users explained, 0 mismatches");
}

/// Returns the next transition. It checks every instant at which a change is possible.
fn naive_next(sessions: &BTreeMap<String, Naive>, user: &NaiveUser, now: i64) -> Option<(i64, String)> {
    let of_sessions = sessions
        .values()
        .flat_map(|naive| [naive.set_at + 5 * MINUTE_MS, naive.set_at + 10 * MINUTE_MS, naive.expires_at]);
    let of_user = [user.preferred.map(|(_, end)| end), user.message.as_ref().and_then(|(_, _, end)| *end)];
    let instants: BTreeSet<i64> =
        of_sessions.chain(of_user.into_iter().flatten()).filter(|at| *at > now).collect();
    let shown = user.shows(sessions.iter(), now);
    let next = instants.into_iter().map(|at| (at, user.shows(sessions.iter(), at)));
    next.into_iter().find(|(_, shows)| *shows != shown).map(|(at, (shows, _))| (at, shows))
}
