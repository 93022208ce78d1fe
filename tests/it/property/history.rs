//! The history compared with the model of each moment.

use std::collections::BTreeMap;

use presenced::{
    presence::{History, Pair, Timestamp, message_of, presence_of},
    store::LoadHistory,
};

use super::{
    MINUTE_MS, Naive,
    engine::{Comparison, Past, USERS},
};
use crate::{conformance::key_of, support::server::START};

/// The number of random past instants that are compared for each user.
const INSTANTS: usize = 10;

impl Past {
    fn sessions(&self, user: u8) -> BTreeMap<String, Naive> {
        let own = self.model.iter().filter(|((of, _), _)| *of == user);
        own.map(|((_, id), naive)| (id.clone(), naive.clone())).collect()
    }

    /// Returns the pair and the message that a user showed at a time before the next call.
    fn shown(&self, user: u8, at: i64) -> (String, Option<String>) {
        self.users.get(&user).cloned().unwrap_or_default().shows(self.sessions(user).iter(), at)
    }

    /// Whether a session that had not faded showed Available, Busy or DoNotDisturb.
    fn active(&self, user: u8, at: i64) -> bool {
        let sessions = self.sessions(user);
        let prefers =
            self.users.get(&user).and_then(|naive| naive.preferred).is_some_and(|(_, ends)| ends > at);
        let (pair, _) = self.shown(user, at);
        let active =
            ["Available/Available", "Busy/InACall", "Busy/InAConferenceCall", "DoNotDisturb/Presenting"];
        !(prefers && sessions.values().any(|naive| naive.live(at))) && active.contains(&pair.as_str())
    }

    /// Returns the times at which a user may show something else without a write.
    fn times(&self, user: u8) -> Vec<i64> {
        let sessions = self.sessions(user).into_values();
        let mut times: Vec<_> = sessions
            .flat_map(|naive| [naive.set_at + 5 * MINUTE_MS, naive.set_at + 10 * MINUTE_MS, naive.expires_at])
            .collect();
        times.extend(self.users.get(&user).and_then(|naive| naive.preferred).map(|(_, ends)| ends));
        times
    }
}

impl Comparison<'_> {
    /// Returns the model at an instant.
    fn past_at(&self, at: i64) -> Option<&Past> {
        self.past.iter().rev().find(|past| past.at <= at)
    }

    /// Returns every instant at which a user may have begun to show something else, in order.
    fn instants(&self, user: u8) -> Vec<i64> {
        let mut instants = vec![START.as_millis()];
        for (index, past) in self.past.iter().enumerate() {
            let next = self.past.get(index + 1).map_or(self.now, |next| next.at);
            instants.push(past.at);
            instants.extend(past.times(user).into_iter().filter(|at| (past.at..=next).contains(at)));
        }
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// Compares what was shown at random instants, the time of the last change, and when the user was
    /// last active. Returns the number of instants.
    pub(super) async fn check_history(&self) -> usize {
        let now = Timestamp::from_millis(self.now);
        let users: Vec<_> = (0..USERS).map(|user| key_of(self.tenant, &user.to_string(), "x").user).collect();
        let load = LoadHistory { users, before: Timestamp::LATEST, spans_max: 10_000 };
        let loaded = self.subject.store.load_history(now, &load).await.unwrap();
        for (user, stored) in (0..USERS).zip(loaded) {
            assert_eq!(stored.complete_from, None);
            let history = History { spans: stored.spans, complete_from: None };
            for _ in 0..INSTANTS {
                let at = fastrand::i64(START.as_millis()..=self.now);
                self.check_instant(user, at, &history);
            }
            let instants = self.instants(user);
            for at in &instants {
                self.check_instant(user, *at, &history);
            }
            self.check_times(user, &instants, &history);
        }
        usize::from(USERS) * INSTANTS
    }

    fn check_instant(&self, user: u8, at: i64, history: &History) {
        let expected = self.past_at(at).map(|past| past.shown(user, at));
        let expected = expected.unwrap_or(("Offline/Offline".to_owned(), None));
        let then = Timestamp::from_millis(at);
        let found = history.user_at(then);
        let message = message_of(&found, then).map(|message| message.content);
        let shown = (presence_of(&found, then).to_string(), message);
        assert_eq!(shown, expected, "user {user} at {then}: {history:#?}");
    }

    fn check_times(&self, user: u8, instants: &[i64], history: &History) {
        let offline = Pair::OFFLINE.to_string();
        let shown: Vec<_> = instants
            .iter()
            .map(|at| self.past_at(*at).map_or(offline.clone(), |past| past.shown(user, *at).0))
            .collect();
        let before = [&offline].into_iter().chain(&shown);
        let changes = shown.iter().zip(before).zip(instants);
        let change = changes.filter(|((shown, before), _)| shown != before).map(|(_, at)| *at).last();
        let now = Timestamp::from_millis(self.now);
        let found = history.change_time(now).map(Timestamp::as_millis);
        assert_eq!(found, change, "the last change of user {user}: {history:#?}");

        let active = |at: &i64| self.past_at(*at).is_some_and(|past| past.active(user, *at));
        let ends = instants.iter().skip(1).copied().chain([self.now]);
        let last = instants.iter().zip(ends).filter(|(at, _)| active(at)).map(|(_, end)| end).last();
        let found = history.last_active_time(now).map(Timestamp::as_millis);
        assert_eq!(found, last, "when user {user} was last active: {history:#?}");
    }
}
