//! `torture`: puts the service through crashes, faults and overload, and prints a table of
//! the results. `scripts/torture` builds both and runs it.
//!
//! The service runs as a process, on a private PostgreSQL cluster that this program starts
//! and kills, or on an SQLite file.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a tool may panic, and prints its results"
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
use rows::{
    Row, callers::Load, clock, cluster::Cluster, deliveries, faults, herd, kills, pairs, retries, rolling,
    soak,
};

/// Crashes, faults and overload for presenced, with a table of the results.
#[derive(Debug, Parser)]
struct Arguments {
    /// Binary of the server.
    binary: String,
    /// Rows to try; default is all.
    #[arg(value_enum)]
    rows: Vec<Name>,
    /// Database of the rows kills and node-kills, for example on Citus. Default is a private
    /// PostgreSQL.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Shell command that kills a worker node, for the row node-kills.
    #[arg(long, value_name = "COMMAND", default_value = "")]
    kill_node: String,
    /// Shell command that restarts the worker node, for the row node-kills.
    #[arg(long, value_name = "COMMAND", default_value = "")]
    restart_node: String,
    /// A few repetitions of each row only.
    #[arg(long)]
    short: bool,
    /// Length of the row soak, in minutes.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// Kills of the row deliveries; default is 100.
    #[arg(long, value_name = "NUMBER")]
    kills: Option<usize>,
    /// Duration of the leases of the row deliveries, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    lease: u64,
}

/// A group of rows; the comments are the text of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// SIGKILL to the service, on each engine.
    Kills,
    /// SIGKILL to PostgreSQL and all its backends.
    PostgresKills,
    /// SIGKILL to a worker node of Citus. Requires --database-url, --kill-node and --restart-node.
    NodeKills,
    /// SIGKILL and SIGSTOP to replicas that deliver change notifications to receivers that fail.
    Deliveries,
    /// Retries of failed writes.
    Retries,
    /// Writes that reach the database after their caller gave up.
    Late,
    /// A set at one replica, then a get at another.
    ReadYourWrites,
    /// A rolling restart of three replicas.
    Rolling,
    /// A network to the database that is slow, hangs, is cut, resets, or sends byte by byte.
    Network,
    /// A database without free connections.
    Connections,
    /// A read-only database.
    ReadOnly,
    /// A database with a full disk. Requires root, to mount a small disk.
    DiskFull,
    /// All sessions refresh at once after 10 s without the service.
    Herd,
    /// A wrong clock on the host of one replica. Requires libfaketime (Debian: faketime).
    Clock,
    /// Half of the full load, for --minutes.
    Soak,
}

impl Arguments {
    /// The number of repetitions.
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
                if let Some(url) = &self.database_url {
                    let (kills, acknowledged) = (self.number(10, 3), self.number(20_000, 2_000));
                    return vec![kills::service("--database-url", url, kills, acknowledged).await];
                }
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
            Name::NodeKills => {
                let Some(url) = &self.database_url else { return Vec::new() };
                let (kills, acknowledged) = (self.number(10, 3), self.number(20_000, 2_000));
                vec![kills::nodes(url, &self.kill_node, &self.restart_node, kills, acknowledged).await]
            }
            Name::Deliveries => {
                let kills = self.kills.unwrap_or_else(|| self.number(100, 10));
                vec![deliveries::kills(kills, self.lease, &[]).await]
            }
            Name::Retries => vec![retries::retried(self.number(2_000, 300)).await],
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
        // Processes that were started end when their owners are dropped.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
