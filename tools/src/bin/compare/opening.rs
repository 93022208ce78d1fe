//! The cost of sessions that begin and of sessions that have ended.

use presenced_tools::{
    machine::median,
    process::{Process, command},
};

use crate::{
    postgres::Postgres,
    subject::{Sample, Width, bench, measure},
    table::{of, print_machine},
};

const WIDE: Width = Width { connections: 16, streams: 32 };
const MEDIUM: Width = Width { connections: 16, streams: 8 };
/// Few batches at once, which also a busy machine answers in time.
const BULK: Width = Width { connections: 2, streams: 1 };
const ALONE: Width = Width { connections: 1, streams: 1 };
/// The sessions that the service keeps for a user.
const SESSIONS_MAX: u32 = 100;
/// The users with many sessions.
const USERS: &str = "1000";
/// The sessions that each of them opens in a round.
const OPENED: u32 = 10;

/// The service on a database of its own.
struct Server {
    service: Process,
    database: Postgres,
}

impl Server {
    fn start(name: &str) -> Self {
        let database = Postgres::create(name);
        Self { service: Process::start_blocking(command(), &database.url), database }
    }

    /// Makes one call, or one member of a call, for each user.
    fn each_user(&self, width: Width, operation: &str, users: &str, session: &str) -> Sample {
        let arguments = ["--each-user", "--operation", operation, "--users", users, "--session-id", session];
        measure(&self.service, Some(&self.database), width, 1.0, &arguments)
    }

    /// Opens sessions with these numbers for each of the users.
    fn open_many(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.each_user(BULK, "batch-set", USERS, &session(number));
        }
    }

    /// Calls each operation once, so that no measurement includes the first use of a connection.
    fn warm_up(&self) {
        for operation in ["get", "clear"] {
            bench(self.service.grpc, WIDE, 0.2, &["--operation", operation]);
        }
    }
}

fn session(number: u32) -> String {
    format!("bench-{number}")
}

/// Two things that are measured beside each other, round after round.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    pub(crate) above: Vec<Sample>,
    pub(crate) below: Vec<Sample>,
}

impl Pair {
    pub(crate) fn print(&self, above: &str, below: &str) {
        for (name, samples) in [(above, &self.above), (below, &self.below)] {
            println!(
                "{name:50} {:10.0} {:8.3} {:8.1} {:8.1} {:8.1}",
                of(samples, |sample| sample.per_second),
                of(samples, |sample| sample.p50),
                of(samples, processor),
                of(samples, |sample| sample.service),
                of(samples, |sample| sample.database),
            );
        }
        let ratio = |figure: fn(&Sample) -> f64| {
            median(self.above.iter().zip(&self.below).map(|(a, b)| figure(a) / figure(b)).collect())
        };
        let [rate, p50, time] = [|s: &Sample| s.per_second, |s: &Sample| s.p50, processor].map(ratio);
        println!("{:50} {rate:10.2} {p50:8.2} {time:8.2}\n", "  the first / the second");
    }
}

/// Prints the names of the columns of [`Pair::print`].
pub(crate) fn print_head() {
    println!("{:50} {:>10} {:>8} {:>8} {:>8} {:>8}", "", "a second", "p50 ms", "all", "service", "database");
    println!("{:50} {:>10} {:>8} {:>8} {:>8} {:>8}", "", "", "", "cpu us", "cpu us", "cpu us");
}

fn processor(sample: &Sample) -> f64 {
    sample.service + sample.database
}

/// Measures all pairs, and prints them.
pub(crate) fn run(quick: bool) {
    let (rounds, seconds, users) = if quick { (3, 1.0, 20_000) } else { (7, 3.0, 100_000) };
    let full = users_with_ended_sessions("opening_full");
    full.warm_up();
    print_machine(&full.database);
    println!("{rounds} rounds, in turn; medians; ratios are medians of the rounds' ratios\n");
    print_head();

    let mut pair = Pair::default();
    for round in 0..rounds {
        let server = Server::start(&format!("opening_{round}"));
        server.warm_up();
        for samples in [&mut pair.above, &mut pair.below] {
            samples.push(server.each_user(WIDE, "set", &users.to_string(), "bench"));
        }
    }
    pair.print(&format!("opening {users} sessions, 512 callers"), "refreshing them");

    let mut pair = Pair::default();
    for round in 0..rounds {
        let first = SESSIONS_MAX + round * OPENED;
        for samples in [&mut pair.above, &mut pair.below] {
            let parts =
                (first..first + OPENED).map(|number| full.each_user(MEDIUM, "set", USERS, &session(number)));
            samples.push(mean(&parts.collect::<Vec<_>>()));
        }
    }
    pair.print("opening a session beside 99 ended ones, 128 callers", "refreshing it");

    let ended = users_with_ended_sessions("opening_ended");
    let none = Server::start("opening_none");
    none.each_user(BULK, "batch-set", USERS, "bench");
    none.database.execute("vacuum analyze");
    for (width, callers) in [(ALONE, "1 caller"), (MEDIUM, "128 callers")] {
        let mut pair = Pair::default();
        for _ in 0..rounds {
            for (server, samples) in [(&ended, &mut pair.above), (&none, &mut pair.below)] {
                let arguments = ["--operation", "get", "--users", USERS];
                samples.push(measure(&server.service, Some(&server.database), width, seconds, &arguments));
            }
        }
        pair.print(&format!("reading a user with 99 ended sessions, {callers}"), "with none");
    }
}

/// A server whose users each have one live session and 99 ended ones.
fn users_with_ended_sessions(name: &str) -> Server {
    let server = Server::start(name);
    server.open_many(1..SESSIONS_MAX);
    for number in 1..SESSIONS_MAX {
        server.each_user(WIDE, "clear", USERS, &session(number));
    }
    server.each_user(BULK, "batch-set", USERS, "bench");
    let rows = server.database.query("select count(*)::text from presence_sessions");
    assert_eq!(rows[0], "100000", "ended sessions are kept");
    server.database.execute("vacuum analyze");
    server
}

/// One sample in place of several with as many calls each.
fn mean(parts: &[Sample]) -> Sample {
    let average =
        |figure: &dyn Fn(&Sample) -> f64| parts.iter().map(figure).sum::<f64>() / parts.len() as f64;
    Sample {
        per_second: 1.0 / average(&|part| 1.0 / part.per_second),
        p50: median(parts.iter().map(|part| part.p50).collect()),
        service: average(&|part| part.service),
        database: average(&|part| part.database),
        ..Sample::default()
    }
}
