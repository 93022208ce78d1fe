//! Puts the service through bad days, and tells with figures what came of it:
//! `scripts/torture` builds both and runs this.
//!
//! The service runs as processes of its own, against a PostgreSQL cluster that this
//! program starts for itself, because it kills it, or against an SQLite file.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a tool may fail, and prints what it found"
)]

mod rows;
#[cfg(test)]
mod tests;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use presenced_tools::process::set_binary;
use rows::{Row, callers::Load, clock, cluster::Cluster, faults, herd, kills, pairs, retries, rolling, soak};

/// Puts presenced through bad days, and prints what came of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary.
    binary: String,
    /// What is tried; all of it if nothing is named.
    #[arg(value_enum)]
    rows: Vec<Name>,
    /// Try everything a few times only.
    #[arg(long)]
    short: bool,
    /// How long soak takes.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
}

/// What can be tried; the comments are the text of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// kill -9 of the service, on each engine.
    Kills,
    /// kill -9 of PostgreSQL with all its backends.
    PostgresKills,
    /// Writes that failed and are sent again.
    Retries,
    /// Writes that arrive after they were given up.
    Late,
    /// A set at one replica, and a get at another.
    ReadYourWrites,
    /// A rolling restart of three replicas.
    Rolling,
    /// A network to the database that is slow, hangs, is cut, resets, or trickles.
    Network,
    /// A database whose connections others have taken.
    Connections,
    /// A database that takes no writes.
    ReadOnly,
    /// A database whose disk is full; takes root, for a small disk of its own.
    DiskFull,
    /// Everybody refreshes at once after the service was away for 10 s.
    Herd,
    /// A clock that is stepped by an hour; takes libfaketime (Debian: faketime).
    Clock,
    /// Half load for --minutes.
    Soak,
}

impl Arguments {
    /// How often something is tried.
    fn number(&self, full: usize, short: usize) -> usize {
        if self.short { short } else { full }
    }

    fn load(&self) -> Load {
        let length = Duration::from_secs(self.number(15, 4) as u64);
        Load { callers: self.number(5_000, 3_000), length }
    }

    async fn try_one(&self, name: Name) -> Vec<Row> {
        match name {
            Name::Kills => {
                let (kills, acknowledged) = (self.number(50, 5), self.number(100_000, 2_000));
                let folder = tempfile::tempdir().unwrap();
                let file = format!("sqlite://{}", folder.path().join("presence.db").display());
                let cluster = Cluster::start(&[]).await;
                vec![
                    kills::service("PostgreSQL", &cluster.url(), kills, acknowledged).await,
                    kills::service("SQLite", &file, kills, acknowledged).await,
                ]
            }
            Name::PostgresKills => {
                let mut cluster = Cluster::start(&[]).await;
                kills::postgres(&mut cluster, self.number(20, 3), self.number(100_000, 2_000)).await
            }
            Name::Retries => vec![retries::sent_again(self.number(2_000, 300)).await],
            Name::Late => vec![retries::late(200, Duration::from_secs(self.number(30, 6) as u64)).await],
            Name::ReadYourWrites => {
                let pairs = self.number(100_000, 5_000);
                vec![pairs::read_your_writes(1, pairs).await, pairs::read_your_writes(3, pairs).await]
            }
            Name::Rolling => vec![rolling::restart(self.number(10, 2)).await],
            Name::Network => faults::network(self.load()).await,
            Name::Connections => vec![faults::out_of_connections(self.load()).await],
            Name::ReadOnly => vec![faults::read_only(self.load()).await],
            Name::Herd => herd::refresh(self.number(100_000, 5_000)).await,
            Name::Clock => clock::steps().await,
            Name::Soak => soak::soak(Duration::from_mins(self.minutes)).await,
            Name::DiskFull => faults::disk_full(self.load()).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    set_binary(&arguments.binary);
    let names = if arguments.rows.is_empty() { Name::value_variants() } else { &arguments.rows };
    let mut held = true;
    let all = async {
        println!("| property | tried | figure | held |\n|---|---|---|---|");
        for name in names {
            let stopwatch = Instant::now();
            for Row { property, tried, figure, held: this } in arguments.try_one(*name).await {
                println!("| {property} | {tried} | {figure} | {} |", if this { "yes" } else { "NO" });
                held &= this;
            }
            println!("({name:?} took {:.0?})", stopwatch.elapsed());
        }
    };
    tokio::select! {
        () = all => {}
        // What was started ends with what holds it.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
