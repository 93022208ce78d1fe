//! Lists and counts of both APIs compared with the model of what is shown.

use std::collections::BTreeMap;

use presenced::presence::{Availability, Pair};
use proptest::{
    collection::vec,
    option,
    prelude::{Strategy, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use strum::VariantArray as _;

use super::{CallDump, MINUTE_MS, Naive, NaiveUser, millis, pair, preferred_pair};
use crate::support::{
    client::{Api, Client, Outcome},
    database::Engine,
    number, on_every_engine,
    server::{START, Server},
};

on_every_engine![lists_and_counts_agree_with_the_model];

/// The number of users that may have a session.
const USERS: usize = 60;
/// The number of calls between two starts of a server.
const CALLS: usize = 150;
/// The users that a page reads at most, for each presence that fits on it.
const READ_FACTOR: usize = 10;

/// A call of an API. Users and sessions are numbers.
#[derive(Clone, Debug)]
enum Call {
    /// Sets sessions for some minutes.
    Set(Vec<(usize, u8, Pair, i64)>),
    Clear(usize, u8),
    /// Sets a preferred presence for some minutes, or clears it.
    Prefer(usize, Option<(Pair, i64)>),
    /// Advances the clock by milliseconds.
    Advance(i64),
    /// Lists the users who are shown with one of these, in pages of this size, and counts them.
    Compare(Vec<Availability>, i32),
}

fn call() -> impl Strategy<Value = Call> {
    // Of two sessions in different calls, the later one would be shown, which the model does not know.
    let pair = || pair().prop_filter("one pair of a rank", |pair| *pair != Pair::OF_SESSION[2]);
    let availability = (0..Availability::VARIANTS.len()).prop_map(|index| Availability::VARIANTS[index]);
    prop_oneof![
        3 => vec((0..USERS, 0..3_u8, pair(), 5..=30_i64), 1..8).prop_map(Call::Set),
        2 => (0..USERS, 0..3_u8).prop_map(|(user, session)| Call::Clear(user, session)),
        2 => (0..USERS, option::weighted(0.8, (preferred_pair(), 1..=30_i64)))
            .prop_map(|(user, preferred)| Call::Prefer(user, preferred)),
        3 => millis(6).prop_map(Call::Advance),
        4 => (vec(availability, 0..=3), 1..=9_i32)
            .prop_map(|(shown_as, size)| Call::Compare(shown_as, size)),
    ]
}

/// The id of a user. The order of ids differs from that of the numbers.
fn id(user: usize) -> String {
    let first = ["z", "A", "~", "!", "a", "0"][user % 6];
    format!("{first}{}", user * 7 % USERS)
}

struct Comparison {
    server: Server,
    clients: [Client; 2],
    http: reqwest::Client,
    users: BTreeMap<String, (BTreeMap<String, Naive>, NaiveUser)>,
    now: i64,
    /// The numbers of calls, pages, and presences on them.
    done: [usize; 3],
}

impl Comparison {
    async fn new(engine: Engine) -> Self {
        let server = Server::start(engine).await;
        let addresses = server.addresses;
        let clients = [Api::Grpc, Api::Http].map(|api| Client::new(api, addresses.grpc, addresses.http));
        Self {
            server,
            clients,
            http: reqwest::Client::new(),
            users: BTreeMap::new(),
            now: START.as_millis(),
            done: [0; 3],
        }
    }

    async fn run(&mut self, call: &Call) {
        self.done[0] += 1;
        let client = self.clients[self.done[0] % 2].clone();
        match call {
            Call::Set(sets) => {
                for (user, session, pair, minutes) in sets {
                    self.set(&client, id(*user), session.to_string(), *pair, *minutes).await;
                }
            }
            Call::Clear(user, session) => {
                let (user, now) = (id(*user), self.now);
                let (sessions, _) = self.users.entry(user.clone()).or_default();
                let naive = sessions.get_mut(&session.to_string()).filter(|naive| naive.live(now));
                let expected = if naive.is_some() { Outcome::Done } else { Outcome::NotFound };
                if let Some(naive) = naive {
                    naive.cleared_at = Some(now);
                }
                assert_eq!(client.clear(&user, &session.to_string()).await, expected);
            }
            Call::Prefer(user, preferred) => {
                let (user, now) = (id(*user), self.now);
                let outcome = match preferred {
                    Some((pair, minutes)) => {
                        client.prefer(&user, &pair.to_string(), &format!("PT{minutes}M")).await
                    }
                    None => client.clear_preferred(&user).await,
                };
                assert_eq!(outcome, Outcome::Done);
                let (_, settings) = self.users.entry(user).or_default();
                settings.preferred = preferred.map(|(pair, minutes)| (pair, now + minutes * MINUTE_MS));
            }
            Call::Advance(millis) => {
                self.now += millis;
                self.server.clock.advance(std::time::Duration::from_millis((*millis).try_into().unwrap()));
            }
            Call::Compare(shown_as, size) => self.compare(shown_as, *size).await,
        }
    }

    async fn set(&mut self, client: &Client, user: String, session: String, pair: Pair, minutes: i64) {
        let outcome = client.set(&user, &session, &pair.to_string(), &format!("PT{minutes}M")).await;
        assert_eq!(outcome, Outcome::Done);
        let now = self.now;
        let naive = Naive {
            pair,
            set_at: now,
            opened_at: now,
            changed_at: now,
            expires_at: now + minutes * MINUTE_MS,
            cleared_at: None,
            text: None,
        };
        self.users.entry(user).or_default().0.insert(session, naive);
    }

    /// The users that the model selects, and the number of users with a live session.
    fn expected(&self, shown_as: &[Availability]) -> (Vec<String>, usize) {
        let live = self
            .users
            .iter()
            .filter(|(_, (sessions, _))| sessions.values().any(|naive| naive.live(self.now)));
        let shown: Vec<_> = live
            .map(|(user, (sessions, settings))| (user, settings.shows(sessions.iter(), self.now).0))
            .collect();
        let number = shown.len();
        let is_selected = |pair: &str| {
            let (availability, _) = pair.split_once('/').unwrap();
            shown_as.is_empty() || shown_as.iter().any(|value| value.to_string() == availability)
        };
        let selected = shown.into_iter().filter(|(_, pair)| is_selected(pair));
        (selected.map(|(user, pair)| format!("{user} {pair}")).collect(), number)
    }

    /// The number of users that all statements have read.
    async fn users_read(&self) -> usize {
        let url = format!("http://{}/metrics", self.server.addresses.admin);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let series = "presence_batch_members_sum{statement=\"load\"} ";
        let sum = text.lines().find_map(|line| line.strip_prefix(series));
        sum.map_or(0, |sum| sum.trim_end_matches(".0").parse().unwrap())
    }

    async fn compare(&mut self, shown_as: &[Availability], size: i32) {
        let (expected, live) = self.expected(shown_as);
        let words: Vec<&str> = shown_as.iter().map(<&str>::from).collect();
        for client in self.clients.clone() {
            let (mut listed, mut token) = (Vec::new(), String::new());
            loop {
                let before = self.users_read().await;
                let (outcome, next) = client.list(&words, size, &token).await;
                let Outcome::Presences(page) = outcome else { panic!("{outcome:?}") };
                let (page_max, read) = (usize::try_from(size).unwrap(), self.users_read().await - before);
                assert!(page.len() <= page_max, "{page:?}");
                assert!(
                    read <= page_max * if words.is_empty() { 1 } else { READ_FACTOR },
                    "{read} users read"
                );
                self.done[1] += 1;
                self.done[2] += page.len();
                listed.extend(page);
                if next.is_empty() {
                    break;
                }
                token = next;
            }
            assert_eq!(listed, expected, "{shown_as:?} in pages of {size}");
            let before = self.users_read().await;
            let numbers = [expected.len(), live].map(|number| i64::try_from(number).unwrap());
            assert_eq!(client.count(&words).await, Outcome::Counted(numbers[0], numbers[1]), "{shown_as:?}");
            let read = self.users_read().await - before;
            assert_eq!(read, if words.is_empty() { 0 } else { live });
        }
    }
}

async fn lists_and_counts_agree_with_the_model(engine: Engine) {
    let minimum = number("PRESENCE_TEST_LIST_CALLS", 300);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let calls = vec(call(), CALLS);
    let mut done = [0; 3];
    while done[0] < minimum {
        let calls = calls.new_tree(&mut runner).unwrap().current();
        let mut comparison = Comparison::new(engine).await;
        // Enough users that most lists have several pages.
        for user in 0..USERS {
            let pair = Pair::OF_SESSION[[0, 0, 1, 3, 4][user % 5]];
            let client = comparison.clients[0].clone();
            comparison.set(&client, id(user), "0".to_owned(), pair, 5 + i64::try_from(user).unwrap()).await;
        }
        for (index, call) in calls.iter().enumerate() {
            let dump = CallDump(&calls[..=index]);
            comparison.run(call).await;
            drop(dump);
        }
        done = [0, 1, 2].map(|index| done[index] + comparison.done[index]);
        comparison.server.stop().await;
    }
    let [calls, pages, presences] = done;
    println!("{engine:?}: {calls} random calls, {pages} pages with {presences} presences, 0 mismatches");
}
