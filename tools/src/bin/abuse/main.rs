//! `abuse`: attacks a release build, and measures a healthy client meanwhile.
//! `scripts/abuse` builds both and runs it.
//!
//! Each attack runs twice in turn: against the service, and against a sink that discards
//! all bytes. Attacker, service and client share the same cores, so the sink shows the cost
//! of the attacker itself. Attacks are paced: they do the same work against any target.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool may panic, and prints its results"
)]

mod attack;
mod client;
mod report;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use attack::Attack;
use clap::{Parser, Subcommand};
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
    /// Run attacks on a new server, and print a line for each.
    Run {
        /// Binary of the server.
        binary: PathBuf,
        /// Length of each attack in seconds.
        #[arg(long, env = "ABUSE_SECONDS", default_value_t = 8)]
        seconds: u64,
        /// Number of repetitions; the results are medians.
        #[arg(long, env = "ABUSE_ROUNDS", default_value_t = 3)]
        rounds: u64,
        /// Attacks to run; default is all.
        #[arg(long, env = "ABUSE_ATTACKS", value_delimiter = ',')]
        attacks: Vec<Attack>,
    },
    /// One attack on an address; prints its own processor time in seconds.
    #[command(hide = true)]
    Attack { attack: Attack, address: SocketAddr, seconds: u64 },
    /// A listener that discards all bytes; prints its address.
    #[command(hide = true)]
    Sink,
}

fn main() {
    match Arguments::parse().command {
        Command::Run { binary, seconds, rounds, attacks } => {
            set_binary(binary);
            let attacks = if attacks.is_empty() { Attack::all() } else { attacks };
            report::run(&attacks, Duration::from_secs(seconds), rounds);
        }
        Command::Attack { attack, address, seconds } => {
            attack::run(attack, address, Duration::from_secs(seconds));
        }
        Command::Sink => attack::sink(),
    }
}
