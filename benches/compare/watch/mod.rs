//! What watching takes: how late news are, what streams cost, and what they cost
//! those who set.

mod cost;
mod delay;
mod streams;
mod throughput;
mod transitions;

use crate::subject::Width;

/// How large it is, and how long it goes on.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Users that are set, or whose presences change by themselves.
    users: u32,
    /// Streams of [`USERS_OF_STREAM`] each.
    streams: u32,
    /// What is measured goes on for so many seconds.
    seconds: u32,
    rounds: usize,
}

const FULL: Plan = Plan { users: 100_000, streams: 10_000, seconds: 20, rounds: 5 };
const QUICK: Plan = Plan { users: 10_000, streams: 1_000, seconds: 4, rounds: 3 };

/// By their names, for those who want one.
type Part = (&'static str, fn(Plan));
const PARTS: [Part; 4] = [
    ("delay", delay::run),
    ("transitions", transitions::run),
    ("cost", cost::run),
    ("throughput", throughput::run),
];

/// Where there are many streams.
const USERS_OF_STREAM: u32 = 50;

const WIDE: Width = Width { connections: 16, streams: 32 };
const BULK: Width = Width { connections: 4, streams: 2 };

/// Runs all parts, the quick way or not, or one; says whether it knows it.
pub(crate) fn run(arguments: &[&str]) -> bool {
    let (plan, part) = match arguments {
        [] => (FULL, None),
        ["--quick"] => (QUICK, None),
        [part] => (FULL, Some(*part)),
        _ => return false,
    };
    let mut parts = PARTS.iter().filter(|(name, _)| part.is_none_or(|part| part == *name)).peekable();
    let known = parts.peek().is_some();
    parts.for_each(|(_, run)| run(plan));
    known
}

/// The middle, the tail and the end of some latencies in milliseconds.
fn tails(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    format!("p50 {:.1}  p99 {:.1}  max {:.1} ms of {}", at(50), at(99), at(100), values.len())
}
