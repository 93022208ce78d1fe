//! `compare`: measures the service beside PostgreSQL's own benchmark and other references.
//! `scripts/bench` builds all parts and runs it.
//!
//! The subjects run in turn, several times over, each alone. The machine may be shared, so
//! the result is the median of the ratios within each round.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool may panic, and prints its results"
)]

mod growth;
mod history;
mod opening;
mod postgres;
mod redis;
mod reference;
mod subject;
mod table;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use presenced_tools::process::set_binary;

/// Comparison of presenced with PostgreSQL's own benchmark. Without a command it prints a
/// table of throughput, latency and processor time.
#[derive(Debug, Parser)]
#[command(name = "compare", max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Binary of the server; default is the presenced beside this program.
    #[arg(long, global = true, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Three short rounds of the table: under two minutes, less exact.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Throughput for 100,000 active users among 10 million sessions.
    Growth,
    /// Table size, index size and HOT updates during 5 million refreshes.
    Refreshes,
    /// Memory during 10 minutes of full load.
    Soak,
    /// Sets and gets over HTTP/1.1 beside webdis with a Redis that syncs every write.
    Redis {
        /// Three short rounds.
        #[arg(long)]
        quick: bool,
    },
    /// Cost of opening sessions beside refreshing them, and of reading users with ended sessions.
    Opening {
        /// Three short rounds.
        #[arg(long)]
        quick: bool,
    },
    /// Cost of history: sets with and without it, and reads of it.
    History {
        /// Three short rounds.
        #[arg(long)]
        quick: bool,
    },
    /// Delay and cost of watching.
    Watch {
        /// One part only; default is all of them.
        part: Option<watch::Part>,
        /// Fewer users, fewer streams, less time.
        #[arg(long)]
        quick: bool,
    },
    /// A gRPC server with a health service and nothing else, as a reference.
    #[command(hide = true)]
    BareTonic,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(binary) = arguments.binary {
        set_binary(binary);
    }
    match arguments.command {
        None if arguments.quick => table::run(&table::QUICK),
        None => table::run(&table::FULL),
        Some(Command::Growth) => growth::rows(),
        Some(Command::Refreshes) => growth::refreshes(),
        Some(Command::Soak) => growth::soak(),
        Some(Command::Redis { quick }) => return redis::run(quick),
        Some(Command::Opening { quick }) => opening::run(quick),
        Some(Command::History { quick }) => history::run(quick),
        Some(Command::Watch { part, quick }) => watch::run(part, quick),
        Some(Command::BareTonic) => reference::bare_tonic(),
    }
    ExitCode::SUCCESS
}
