//! The delay of the events of expiries and fades.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use presenced_tools::process::{Process, command};

use super::{Plan, streams::Streams, tails};
use crate::postgres::Postgres;

/// The interval of the transitions that are due one after the other.
const APART_MS: u32 = 2;
/// The time for the rows and the snapshots before the first transition.
const LEAD: Duration = Duration::from_secs(25);
/// The pause before the transitions that are due together.
const PAUSE: Duration = Duration::from_secs(10);
const USERS_OF_STREAM: u32 = 5_000;

/// The instants at which presences change.
#[derive(Clone, Copy)]
struct Schedule {
    /// Milliseconds since the epoch.
    first: u64,
    /// The number of users that are due one after the other; the others are due together.
    apart: u32,
}

impl Schedule {
    fn due(self, user: u32) -> u64 {
        let due = self.first + u64::from(APART_MS * self.apart.min(user));
        if user < self.apart { due } else { due + millis(PAUSE) }
    }
}

/// The system's time in milliseconds since the epoch.
fn now() -> u64 {
    millis(SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

pub(super) fn run(plan: Plan) {
    let database = Postgres::create("bench_watch_transitions");
    let service = Process::start_blocking(command(), &database.url);
    let rate = 1_000 / APART_MS;
    let apart = plan.seconds * rate;
    let schedule = Schedule { first: now() + millis(LEAD), apart };
    write_rows(&database, schedule, plan.users);

    let late = Arc::new(Mutex::new(vec![None; plan.users as usize]));
    let mut streams = Streams::new({
        let late = Arc::clone(&late);
        move |presence| {
            let now = now();
            let user: u32 = presence.user_id.rsplit('-').next().unwrap().parse().unwrap();
            let after = now as f64 - schedule.due(user) as f64;
            late.lock().unwrap()[user as usize].get_or_insert(after);
        }
    });
    let users = (0..plan.users).step_by(USERS_OF_STREAM as usize);
    let users =
        users.map(|first| (first..first + USERS_OF_STREAM).map(|user| format!("due-{user}")).collect());
    streams.open(service.grpc, users);
    assert!(now() < schedule.first, "the snapshots took too long");

    let last = schedule.due(plan.users) + millis(PAUSE);
    while late.lock().unwrap().contains(&None) && now() < last {
        thread::sleep(Duration::from_millis(100));
    }
    let late = late.lock().unwrap();
    let of = |users: &mut dyn Iterator<Item = u32>| {
        tails(users.map(|user| late[user as usize].expect("every transition led to an event")).collect())
    };
    println!("{} watched users; delay of the event after the instant", plan.users);
    println!("  expiries, {rate} transitions a second: {}", of(&mut (0..apart).step_by(2)));
    println!("  fades, {rate} transitions a second:    {}", of(&mut (1..apart).step_by(2)));
    println!("  all others at one instant:             {}", of(&mut (apart..plan.users)));
}

/// Inserts a session for each user. Half of the sessions expire when they are due, the others
/// fade.
fn write_rows(database: &Postgres, schedule: Schedule, users: u32) {
    let (first, together) = (schedule.first, schedule.due(users));
    let apart = schedule.apart;
    database.execute(&format!(
        "insert into presence_sessions
             (tenant_id, user_id, session_id, availability, activity,
              opened_at, started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller)
         select '00000000-0000-0000-0000-000000000000', 'due-' || n, 'bench',
                case n % 2 when 0 then 'Busy' else 'Available' end,
                case n % 2 when 0 then 'InACall' else 'Available' end,
                due - 300000, due - 300000, due - 300000, due - 300000,
                due + case n % 2 when 0 then 0 else 3600000 end, due - 300000, false
         from generate_series(0, {users} - 1) as n,
              lateral (select (case when n < {apart} then {first} + n * {APART_MS} else {together} end)::bigint) as at (due)"
    ));
    database.execute("vacuum analyze");
}
