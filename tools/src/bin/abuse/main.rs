//! `abuse`: attacks a release build, and measures a healthy client meanwhile.
//! `scripts/abuse` builds both and runs it.
//!
//! Attacker, service and client share the same cores. So each attack has a control: the same
//! client beside a program that only uses the processor, for as much time as the attacker used and
//! as the attack cost the service. Checks measure what an attack is too short for. The soak does
//! everything at random, with restarts.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool may panic, and prints its results"
)]

mod attacks;
mod burn;
mod checks;
mod client;
mod report;
mod soak;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use attacks::{Attack, Target};
use checks::Check;
use clap::{Args, Parser, Subcommand, ValueEnum};
use presenced_tools::process::set_binary;

/// Attacks on presenced, with the latency of a healthy client meanwhile.
#[derive(Debug, Parser)]
#[command(name = "abuse", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run attacks and checks on new servers, and print a line for each.
    Run(RunArguments),
    /// Run everything at random on one server that restarts again and again, beside writers with a
    /// ledger.
    Soak(soak::Arguments),
    /// Attacks at the same time; prints what they saw as JSON.
    #[command(hide = true)]
    Attack {
        #[arg(value_delimiter = ',')]
        attacks: Vec<Attack>,
        #[arg(long)]
        seconds: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Use the processor for CPU seconds during SECONDS.
    #[command(hide = true)]
    Burn { cpu: f64, seconds: u64 },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Binary of the server.
    binary: PathBuf,
    /// Length of each attack in seconds.
    #[arg(long, env = "ABUSE_SECONDS", default_value_t = 8)]
    seconds: u64,
    /// Number of repetitions; the results are medians.
    #[arg(long, env = "ABUSE_ROUNDS", default_value_t = 3)]
    rounds: u64,
    /// Attacks to run. Without this and --checks, all attacks and checks run.
    #[arg(long, env = "ABUSE_ATTACKS", value_delimiter = ',')]
    attacks: Vec<Attack>,
    /// Checks to run.
    #[arg(long, env = "ABUSE_CHECKS", value_delimiter = ',')]
    checks: Vec<Check>,
}

impl RunArguments {
    fn run(mut self) -> bool {
        set_binary(self.binary);
        if self.attacks.is_empty() && self.checks.is_empty() {
            (self.attacks, self.checks) = (Attack::all(), Check::value_variants().to_vec());
        }
        let length = Duration::from_secs(self.seconds);
        let mut held = true;
        if !self.attacks.is_empty() {
            held &= report::run(&self.attacks, length, self.rounds);
        }
        if !self.checks.is_empty() {
            held &= checks::run(&self.checks, length);
        }
        held
    }
}

fn main() -> ExitCode {
    let held = match Arguments::parse().command {
        Command::Run(arguments) => arguments.run(),
        Command::Soak(arguments) => arguments.run(),
        Command::Attack { attacks, seconds, target } => {
            attacks::run(&attacks, target, Duration::from_secs(seconds));
            true
        }
        Command::Burn { cpu, seconds } => {
            burn::run(cpu, Duration::from_secs(seconds));
            true
        }
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
