//! Random orders of sets and clears that say when they were observed, delivered in any order, some
//! twice, at once and over two replicas: the newest one stands.

mod check;
mod delivery;

use std::{
    collections::{BTreeMap, HashSet},
    future::pending,
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use presenced::{
    app::{App, Drain},
    clock::{Clock, Stopwatch},
    presence::Timestamp,
};

use crate::support::{
    database::{Engine, TestDatabase},
    number, on_every_engine,
    server::{settings, start},
};
use check::{Delivery, Outcome, Write, check};
use delivery::{Replica, Unit};

on_every_engine![the_newest_observation_stands_whatever_the_order_of_delivery];

/// The maximum number of sessions of a user, whose writes are delivered in random order.
const SESSIONS_MAX: usize = 100;
/// The number of calls of a group of users at once, and of such groups.
const CALLS: usize = 12;
const GROUPS: usize = 8;
const PAIRS: [&str; 4] = ["Busy/InACall", "Busy/InAConferenceCall", "Away/Away", "DoNotDisturb/Presenting"];

/// A session, each of another application: one application has 20 of a user at most.
struct Session {
    user: String,
    id: String,
}

/// The sessions of a few users, and the deliveries of their writes.
struct Group {
    sessions: Vec<Session>,
    units: Vec<Unit>,
}

/// Numbers for the report.
#[derive(Default)]
struct Report {
    orders: usize,
    outcomes: BTreeMap<Outcome, usize>,
    deliveries: usize,
    retried: usize,
}

/// Distinct times of observation: next to each other, or an hour apart at most; some are in the future.
fn times(random: &mut Rng, now: Timestamp) -> Vec<Timestamp> {
    let number = random.usize(2..=8);
    let (start, span) = match random.u8(..3) {
        0 => (now - Duration::from_hours(1), 3_600_000),
        1 => (now - Duration::from_secs(3), 6_000),
        _ => (now - Duration::from_mins(1), 8),
    };
    let mut times = HashSet::new();
    while times.len() < number {
        times.insert(random.u64(..span));
    }
    times.into_iter().map(|millis| start + Duration::from_millis(millis)).collect()
}

fn group(random: &mut Rng, number: usize, orders_max: usize, now: Timestamp) -> Group {
    let mut sessions = Vec::new();
    for user in 0..random.usize(1..=3) {
        for session in 0..random.usize(1..=SESSIONS_MAX) {
            let id = format!("app-{session}:{}", random.alphanumeric());
            sessions.push(Session { user: format!("u{number}-{user}"), id });
        }
    }
    sessions.truncate(orders_max);
    let mut deliveries = Vec::new();
    for session in 0..sessions.len() {
        for observed in times(random, now) {
            let pair = (random.u8(..5) > 1).then(|| random.choice(PAIRS).unwrap());
            let copies = 1 + usize::from(random.u8(..5) == 0);
            deliveries.extend(std::iter::repeat_n(Write { session, observed, pair }, copies));
        }
    }
    random.shuffle(&mut deliveries);
    let mut units = Vec::new();
    while !deliveries.is_empty() {
        units.push(Unit::take(random, &mut deliveries));
    }
    Group { sessions, units }
}

/// Delivers the writes of a group, and checks each response and what is stored in the end.
async fn run(group: Group, replicas: &[Replica], stopwatch: &Stopwatch, seed: u64) -> Report {
    let Group { sessions, units } = group;
    let mut random = Rng::with_seed(seed);
    let replica = |random: &mut Rng| &replicas[random.usize(..replicas.len())];
    let calls: Vec<_> = units.into_iter().map(|unit| (replica(&mut random), unit)).collect();
    let calls = stream::iter(calls).map(|(replica, unit)| replica.deliver(unit, &sessions, stopwatch));
    let deliveries: Vec<Vec<Delivery>> = calls.buffer_unordered(CALLS).collect().await;
    let mut report = Report { orders: sessions.len(), ..Report::default() };
    let mut by_session = vec![Vec::new(); sessions.len()];
    for delivery in deliveries.into_iter().flatten() {
        *report.outcomes.entry(delivery.outcome).or_default() += 1;
        report.deliveries += 1;
        report.retried += usize::from(delivery.retried);
        by_session[delivery.write.session].push(delivery);
    }
    let newest: Vec<Write> = by_session.iter().map(|deliveries| check(deliveries)).collect();
    check_stored(&sessions, &newest, replicas).await;

    // In the end the newest write of a session is still not stale, and each other one is.
    let session = random.usize(..sessions.len());
    let kept = if newest[session].pair.is_some() { Outcome::Applied } else { Outcome::NotLive };
    let again = [(newest[session], kept)].into_iter().chain(
        by_session[session]
            .iter()
            .map(|delivery| delivery.write)
            .filter(|write| *write != newest[session])
            .map(|write| (write, Outcome::Stale)),
    );
    for (write, expected) in again {
        let delivery = replica(&mut random).deliver(Unit::alone(write), &sessions, stopwatch).await;
        assert_eq!(delivery[0].outcome, expected, "{write:?}");
    }
    check_stored(&sessions, &newest, replicas).await;
    report
}

/// Checks that each replica reads the newest write of each session.
async fn check_stored(sessions: &[Session], newest: &[Write], replicas: &[Replica]) {
    let mut expected = BTreeMap::<&str, BTreeMap<String, String>>::new();
    for (session, write) in sessions.iter().zip(newest) {
        let of_user = expected.entry(&session.user).or_default();
        if let Some(pair) = write.pair {
            of_user.insert(session.id.clone(), pair.to_owned());
        }
    }
    for (user, expected) in expected {
        for replica in replicas {
            assert_eq!(replica.sessions(user).await, expected, "{user}");
        }
    }
}

async fn the_newest_observation_stands_whatever_the_order_of_delivery(engine: Engine) {
    let orders = number("PRESENCE_TEST_ORDERS", 10_000);
    let seed = u64::try_from(number("PRESENCE_TEST_ORDERS_SEED", fastrand::usize(..))).unwrap();
    println!("{engine:?}: PRESENCE_TEST_ORDERS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let database = TestDatabase::new(engine).await;
    let mut apps: Vec<App> = Vec::new();
    for _ in 0..if engine == Engine::Postgres { 2 } else { 1 } {
        apps.push(start(&settings(&database.url, &[]), Clock::new()).await);
    }
    let replicas: Vec<_> = apps.iter().map(|app| Replica::new(app.addresses())).collect();
    let (clock, stopwatch, mut left) = (Clock::new(), Stopwatch::start(), orders);
    let groups = (0..).map_while(|number| {
        let group = (left > 0).then(|| group(&mut random, number, left, clock.now()))?;
        left -= group.sessions.len();
        Some((group, random.u64(..)))
    });
    let runs = stream::iter(groups).map(|(group, seed)| run(group, &replicas, &stopwatch, seed));
    let reports: Vec<Report> = runs.buffer_unordered(GROUPS).collect().await;
    let mut all = Report::default();
    for report in reports {
        all.orders += report.orders;
        all.deliveries += report.deliveries;
        all.retried += report.retried;
        for (outcome, number) in report.outcomes {
            *all.outcomes.entry(outcome).or_default() += number;
        }
    }
    let Report { orders: ran, deliveries, outcomes, retried } = all;
    println!(
        "{engine:?}: {ran} orders, {deliveries} deliveries ({retried} after 503) over {} replica(s) in {:?}: \
         {outcomes:?}, 0 exceptions",
        apps.len(),
        stopwatch.elapsed()
    );
    assert_eq!(ran, orders);
    // Of a write that was repeated, less is known.
    assert!(retried * 4 <= deliveries, "{retried} responses of 503 while the database works");
    for app in apps {
        assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}
