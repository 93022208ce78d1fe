//! Delay of notifications, and the cost of streams to the replica and to writers.

mod cost;
mod delay;
mod everyone;
mod streams;
mod throughput;
mod transitions;
mod waits;

use clap::ValueEnum;

use crate::subject::Width;

/// Size and length of a measurement.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Users that are set, or whose presence changes over time.
    users: u32,
    /// Streams, each of [`USERS_OF_STREAM`] users.
    streams: u32,
    /// Length of each measurement.
    seconds: u32,
    rounds: usize,
}

const FULL: Plan = Plan { users: 100_000, streams: 10_000, seconds: 20, rounds: 5 };
const QUICK: Plan = Plan { users: 10_000, streams: 1_000, seconds: 4, rounds: 3 };

/// Users of each stream where many streams are open.
const USERS_OF_STREAM: u32 = 50;

const WIDE: Width = Width { connections: 16, streams: 32 };
const BULK: Width = Width { connections: 4, streams: 2 };

/// A part of the measurements.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Part {
    /// Time from the response to a set at one replica to the event at another.
    Delay,
    /// Time from the instant of an expiry or fade to the event.
    Transitions,
    /// Memory and processor time of a replica with many streams.
    Cost,
    /// Throughput of sets with and without watchers.
    Throughput,
    /// One stream of everybody against streams of 50 users.
    Everyone,
    /// `WaitForPresence` against `WatchPresences`.
    Waits,
}

impl Part {
    fn run(self, plan: Plan) {
        match self {
            Self::Delay => delay::run(plan),
            Self::Transitions => transitions::run(plan),
            Self::Cost => cost::run(plan),
            Self::Throughput => throughput::run(plan),
            Self::Everyone => everyone::run(plan),
            Self::Waits => waits::run(plan),
        }
    }
}

/// Runs one part, or all of them.
pub(crate) fn run(part: Option<Part>, quick: bool) {
    let plan = if quick { QUICK } else { FULL };
    match part {
        Some(part) => part.run(plan),
        None => Part::value_variants().iter().for_each(|part| part.run(plan)),
    }
}

/// The 99th percentile.
fn p99(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * 99 / 100]
}

/// The median, the 99th percentile and the maximum of latencies in milliseconds.
fn tails(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    format!("p50 {:.1}  p99 {:.1}  max {:.1} ms of {}", at(50), at(99), at(100), values.len())
}
