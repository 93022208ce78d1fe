//! The table: all subjects in turn, round after round, and the medians.

use std::{fs, net::SocketAddr, time::Duration};

use presenced_tools::{
    machine::{median, memory},
    process::{Process, Running, command},
};
use tempfile::TempDir;

use crate::{
    postgres::{Postgres, Statement},
    reference,
    subject::{Sample, Width, bench, measure},
};

const USERS: u32 = 100_000;
/// Enough concurrent calls for full load without timeouts.
const WIDE: Width = Width { connections: 16, streams: 32 };
/// 128 and 16 concurrent calls.
const MEDIUM: Width = Width { connections: 16, streams: 8 };
const NARROW: Width = Width { connections: 16, streams: 1 };
/// The load of calls with hundreds of members.
const BULK: Width = Width { connections: 4, streams: 2 };
/// One client that waits for each response.
const ALONE: Width = Width { connections: 1, streams: 1 };

/// The length of the measurements.
#[derive(Debug)]
pub(crate) struct Plan {
    rounds: usize,
    seconds: f64,
    /// The length of a try to find the best number of `pgbench` clients.
    search_seconds: f64,
}

pub(crate) const FULL: Plan = Plan { rounds: 5, seconds: 5.0, search_seconds: 3.0 };
pub(crate) const QUICK: Plan = Plan { rounds: 3, seconds: 0.7, search_seconds: 1.0 };

/// The ratios: their name, the two subjects, and the target.
const RATIOS: [(&str, &str, &str, Bound); 16] = [
    ("SetPresence / pgbench upsert", "set", "pgbench upsert", Bound::AtLeast(2.2)),
    ("GetPresence / pgbench select", "get", "pgbench select", Bound::AtLeast(2.0)),
    ("GetPresence / a call that does nothing", "get", "nothing", Bound::AtLeast(0.5)),
    ("a call that does nothing / a bare tonic server's", "nothing", "bare tonic", Bound::AtLeast(1.3)),
    ("SetPresence / with batching off", "set", "set, batching off", Bound::AtLeast(5.0)),
    ("BatchSetPresences of 500 / pgbench upsert", "batch set", "pgbench upsert", Bound::AtLeast(5.0)),
    ("BatchGetPresences of 650 / pgbench select", "batch get", "pgbench select", Bound::AtLeast(4.0)),
    ("setPresence over HTTP/2 / over gRPC", "set, HTTP/2", "set", Bound::AtLeast(0.7)),
    ("presence over HTTP/2 / over gRPC", "get, HTTP/2", "get", Bound::AtLeast(0.7)),
    ("setPresence over HTTP/1.1 / over gRPC", "set, HTTP", "set", Bound::None),
    ("presence over HTTP/1.1 / over gRPC", "get, HTTP", "get", Bound::None),
    ("getPresencesByUserId of 650 / BatchGetPresences", "batch get, HTTP", "batch get", Bound::None),
    ("SetPresence on SQLite / SQLite's own commits", "set, SQLite", "SQLite commits", Bound::AtLeast(10.0)),
    ("GetPresence on SQLite / on PostgreSQL", "get, SQLite", "get", Bound::None),
    (
        "p50 of one client's sets / pgbench with one",
        "set, one client",
        "pgbench upsert, one client",
        Bound::AtMost(1.8),
    ),
    (
        "p50 of one client's gets / pgbench with one",
        "get, one client",
        "pgbench select, one client",
        Bound::AtMost(3.0),
    ),
];

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    /// Concerns the median latency.
    AtMost(f64),
    None,
}

type Subject<'a> = (&'static str, Box<dyn Fn(f64) -> Sample + 'a>);

/// All servers under test.
struct Servers {
    postgres: Postgres,
    batched: Process,
    unbatched: Process,
    sqlite: Process,
    bare: (Running, SocketAddr),
    _folder: TempDir,
}

impl Servers {
    fn start() -> Self {
        let postgres = Postgres::create("bench");
        let folder = tempfile::tempdir().unwrap();
        let batched = Process::start_blocking(command(), &postgres.url);
        let mut unbatched = command();
        unbatched.env("PRESENCE_TEST_BATCH_MAX", "1");
        let unbatched = Process::start_blocking(unbatched, &postgres.url);
        let file = format!("sqlite://{}", folder.path().join("bench.db").display());
        let sqlite = Process::start_blocking(command(), &file);
        for service in [&batched, &sqlite] {
            bench(service.grpc, BULK, 0.5, &["--load"]);
        }
        postgres.execute("vacuum analyze");
        Self { postgres, batched, unbatched, sqlite, bare: reference::start_bare_tonic(), _folder: folder }
    }

    fn subjects(&self, upserts: u32, selects: u32) -> Vec<Subject<'_>> {
        let on_postgres = |width, arguments: &'static [&'static str]| -> Box<dyn Fn(f64) -> Sample + '_> {
            Box::new(move |seconds| measure(&self.batched, Some(&self.postgres), width, seconds, arguments))
        };
        let on = |service, arguments: &'static [&'static str]| -> Box<dyn Fn(f64) -> Sample + '_> {
            Box::new(move |seconds| measure(service, None, WIDE, seconds, arguments))
        };
        let pgbench = |statement, clients| -> Box<dyn Fn(f64) -> Sample + '_> {
            Box::new(move |seconds| self.pgbench(statement, clients, seconds))
        };
        vec![
            ("set", on_postgres(WIDE, &[])),
            ("pgbench upsert", pgbench(Statement::Upsert, upserts)),
            ("get", on_postgres(WIDE, &["--operation", "get"])),
            ("pgbench select", pgbench(Statement::Select, selects)),
            ("nothing", on(&self.batched, &["--operation", "health"])),
            (
                "bare tonic",
                Box::new(|seconds| {
                    let report = bench(self.bare.1, WIDE, seconds, &["--operation", "health"]);
                    Sample { per_second: report["calls_per_second"].as_f64().unwrap(), ..Sample::default() }
                }),
            ),
            (
                "set, batching off",
                Box::new(|seconds| measure(&self.unbatched, Some(&self.postgres), WIDE, seconds, &[])),
            ),
            ("batch set", on_postgres(BULK, &["--operation", "batch-set"])),
            ("batch get", on_postgres(BULK, &["--operation", "batch-get"])),
            ("set, HTTP/2", on_postgres(WIDE, &["--api", "http2"])),
            ("get, HTTP/2", on_postgres(WIDE, &["--api", "http2", "--operation", "get"])),
            ("set, HTTP", on_postgres(WIDE, &["--api", "http"])),
            ("get, HTTP", on_postgres(WIDE, &["--api", "http", "--operation", "get"])),
            ("batch get, HTTP", on_postgres(BULK, &["--api", "http", "--operation", "batch-get"])),
            ("set, SQLite", on(&self.sqlite, &[])),
            ("get, SQLite", on(&self.sqlite, &["--operation", "get"])),
            (
                "SQLite commits",
                Box::new(|seconds| Sample {
                    per_second: reference::sqlite_commits(USERS, Duration::from_secs_f64(seconds)),
                    ..Sample::default()
                }),
            ),
            ("set, 128 clients", on_postgres(MEDIUM, &[])),
            ("get, 128 clients", on_postgres(MEDIUM, &["--operation", "get"])),
            ("set, 16 clients", on_postgres(NARROW, &[])),
            ("get, 16 clients", on_postgres(NARROW, &["--operation", "get"])),
            ("set, one client", on_postgres(ALONE, &[])),
            ("pgbench upsert, one client", pgbench(Statement::Upsert, 1)),
            ("get, one client", on_postgres(ALONE, &["--operation", "get"])),
            ("pgbench select, one client", pgbench(Statement::Select, 1)),
        ]
    }

    fn pgbench(&self, statement: Statement, clients: u32, seconds: f64) -> Sample {
        let before = self.postgres.cpu_seconds();
        let (per_second, p50) = self.postgres.pgbench(statement, clients, USERS, seconds);
        let database = (self.postgres.cpu_seconds() - before) * 1e6 / (per_second * seconds.max(1.0));
        Sample { per_second, p50, database, ..Sample::default() }
    }
}

/// Measures all subjects, and prints the table.
pub(crate) fn run(plan: &Plan) {
    let servers = Servers::start();
    print_machine(&servers.postgres);
    let [upserts, selects] = [Statement::Upsert, Statement::Select]
        .map(|statement| servers.postgres.best_clients(statement, USERS, plan.search_seconds));
    println!("pgbench is fastest with {upserts} clients for upsert and {selects} clients for select");
    println!("{} rounds of {} s each, {USERS} users, in turn; medians", plan.rounds, plan.seconds);
    println!("512 clients at once, unless the row says otherwise\n");

    let subjects = servers.subjects(upserts, selects);
    let mut samples = vec![Vec::new(); subjects.len()];
    for _ in 0..plan.rounds {
        for ((_, subject), samples) in subjects.iter().zip(&mut samples) {
            samples.push(subject(plan.seconds));
        }
    }
    let find = |name: &str| &samples[subjects.iter().position(|(of, _)| *of == name).unwrap()];
    print_ratios(find);
    println!();
    print_samples(subjects.iter().map(|(name, _)| *name).zip(&samples));
    println!("\nat half of the highest rate, calls at fixed times; milliseconds");
    for (name, arguments) in [("set", ["--operation", "set"]), ("get", ["--operation", "get"])] {
        let rate = (of(find(name), |sample| sample.per_second) / 2.0).round().to_string();
        let arguments = [&arguments[..], &["--rate", &rate]].concat();
        let measured = (0..plan.rounds)
            .map(|_| measure(&servers.batched, Some(&servers.postgres), WIDE, plan.seconds, &arguments))
            .collect::<Vec<_>>();
        let [p50, p99, p999] =
            [|s: &Sample| s.p50, |s: &Sample| s.p99, |s: &Sample| s.p999].map(|f| of(&measured, f));
        println!("{name:28} {rate:>7}/s  p50 {p50:.2}  p99 {p99:.2}  p99.9 {p999:.2}");
    }
    println!("\nthe service's memory at the end: {} MiB", memory(servers.batched.id()));
}

/// The median of a figure.
pub(crate) fn of(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(figure).collect())
}

/// Prints the machine, and the settings of PostgreSQL.
pub(crate) fn print_machine(postgres: &Postgres) {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores ({}), all on this machine", processor.unwrap_or("unknown"));
    let settings = postgres.query(
        "select string_agg(name || '=' || setting || coalesce(unit, ''), ' ' order by name) from pg_settings
         where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers',
                        'max_wal_size', 'checkpoint_timeout', 'autovacuum', 'server_version')",
    );
    println!("PostgreSQL: {}", settings[0]);
}

fn print_ratios<'a>(find: impl Fn(&str) -> &'a Vec<Sample>) {
    println!("{:52} {:>7} {:>9}", "ratio", "found", "target");
    for (what, above, below, bound) in RATIOS {
        let figure = |sample: &Sample| match bound {
            Bound::AtMost(_) => sample.p50,
            Bound::AtLeast(_) | Bound::None => sample.per_second,
        };
        let ratio = median(find(above).iter().zip(find(below)).map(|(a, b)| figure(a) / figure(b)).collect());
        let target = match bound {
            Bound::AtLeast(least) => format!(">= {least:.1}"),
            Bound::AtMost(most) => format!("<= {most:.1}"),
            Bound::None => String::new(),
        };
        println!("{what:52} {ratio:7.2} {target:>9}");
    }
}

fn print_samples<'a>(samples: impl Iterator<Item = (&'static str, &'a Vec<Sample>)>) {
    println!(
        "{:28} {:>10} {:>8} {:>8} {:>9} {:>9} {:>8} {:>7}",
        "", "a second", "p50 ms", "p99 ms", "service", "database", "client", "batch"
    );
    println!("{:28} {:>10} {:>8} {:>8} {:>9} {:>9} {:>8}", "", "", "", "", "cpu us", "cpu us", "cpu us");
    for (name, samples) in samples {
        let figure = |figure: fn(&Sample) -> f64| of(samples, figure);
        println!(
            "{name:28} {:10.0} {:8.3} {:8.3} {:9.1} {:9.1} {:8.1} {:7.1}",
            figure(|sample| sample.per_second),
            figure(|sample| sample.p50),
            figure(|sample| sample.p99),
            figure(|sample| sample.service),
            figure(|sample| sample.database),
            figure(|sample| sample.client),
            figure(|sample| sample.batch),
        );
    }
}
