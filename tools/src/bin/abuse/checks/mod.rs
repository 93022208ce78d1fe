//! Checks that need a service of their own, or more time than an attack has.

mod drain;
mod idle;
mod stalls;
mod together;

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime;

use crate::report::verdict;

/// A check; the comments are the text of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// Memory of idle connections and event streams, and what is given back.
    Idle,
    /// SIGTERM while clients read large responses at 32 KB/s, or do not read.
    Drain,
    /// Responses that clients read too slowly, beside a small call a second. Takes over a minute.
    Stalls,
    /// All attacks at once, on a service that may use 256 MiB.
    Together,
}

/// A result.
struct Line {
    /// What was tried.
    tried: String,
    /// What came of it.
    figure: String,
    /// What is wrong.
    wrong: Vec<String>,
}

/// Prints results, and remembers whether all held.
struct Lines {
    check: Check,
    held: bool,
}

impl Lines {
    fn add(&mut self, Line { tried, figure, wrong }: Line) {
        let name = self.check.to_possible_value().expect("no check is hidden");
        println!("| {} | {tried} | {figure} | {} |", name.get_name(), verdict(&wrong));
        self.held &= wrong.is_empty();
    }
}

/// Runs the checks, and prints their lines. Returns whether all held.
pub(crate) fn run(checks: &[Check], attack_length: Duration) -> bool {
    println!("\n| check | tried | figure | held |\n|---|---|---|---|");
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut held = true;
    for check in checks {
        let mut lines = Lines { check: *check, held: true };
        match check {
            Check::Idle => runtime.block_on(idle::check(&mut lines)),
            Check::Drain => runtime.block_on(drain::check(&mut lines)),
            Check::Stalls => runtime.block_on(stalls::check(&mut lines)),
            Check::Together => lines.add(together::check(attack_length)),
        }
        held &= lines.held;
    }
    held
}

/// What is wrong, of these conditions that must be true.
fn unless<const N: usize>(conditions: [(bool, &str); N]) -> Vec<String> {
    conditions.into_iter().filter(|(holds, _)| !holds).map(|(_, text)| text.to_owned()).collect()
}
