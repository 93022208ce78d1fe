//! The service beside webdis, a web server in front of a Redis that syncs every write to its disk.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, ExitCode, Stdio},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use presenced_tools::{
    machine::{cpu_seconds_with_children, median},
    process::{Process, Running, command, unused_address},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    postgres::Postgres,
    subject::{Sample, Usage, Width, bench, measure, measure_at},
    table::{of, print_machine},
};

/// Exit code if a program is not installed.
const EXIT_UNAVAILABLE: u8 = 69;
/// HTTP/1.1 has one call at a time on a connection.
const WIDTH: Width = Width { connections: 128, streams: 1 };
/// Few batches at once, which also a busy machine answers in time.
const BULK: Width = Width { connections: 2, streams: 1 };
/// The time that a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const SUBJECTS: [&str; 3] = ["presenced, PostgreSQL", "presenced, SQLite", "webdis, Redis"];
const OPERATIONS: [&str; 2] = ["set", "get"];

/// Redis on a new folder, and webdis in front of it.
struct Reference {
    redis: Running,
    webdis: Running,
    redis_address: String,
    webdis_address: SocketAddr,
    _folder: TempDir,
}

impl Reference {
    /// Starts both. Every write is in Redis's log on the disk before its response.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (redis_address, webdis_address) = (unused_address(), unused_address());
        let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
        let redis = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port(&redis_address), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let redis = Running(redis);
        wait_until(|| TcpStream::connect(&redis_address).is_ok());

        let number = |address: &str| port(address).parse::<u16>().unwrap();
        let settings = json!({
            "redis_host": "127.0.0.1", "redis_port": number(&redis_address), "database": 0,
            "http_host": "127.0.0.1", "http_port": number(&webdis_address),
            "threads": available_parallelism().map_or(1, usize::from), "daemonize": false,
            "verbosity": 0, "logfile": folder.path().join("webdis.log"),
        });
        let file = folder.path().join("webdis.json");
        fs::write(&file, settings.to_string()).unwrap();
        let webdis = Command::new("webdis").arg(file).stdout(Stdio::null()).spawn().expect("webdis starts");
        let webdis = Running(webdis);
        wait_until(|| {
            let request = "GET /PING HTTP/1.0\r\n\r\n";
            ask(&webdis_address, request).is_ok_and(|response| response.contains("PONG"))
        });
        let webdis_address = webdis_address.parse().unwrap();
        Self { redis, webdis, redis_address, webdis_address, _folder: folder }
    }

    fn usage(&self) -> Usage {
        let text = ask(&self.redis_address, "INFO commandstats\r\nQUIT\r\n").unwrap();
        let calls = |command: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(command));
            line.and_then(|line| line.split(',').next()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        Usage {
            service: cpu_seconds_with_children(self.webdis.0.id()),
            database: cpu_seconds_with_children(self.redis.0.id()),
            members: calls("cmdstat_setex:calls=") + calls("cmdstat_get:calls="),
            statements: 0.0,
        }
    }

    fn measure(&self, seconds: f64, operation: &str) -> Sample {
        let arguments = ["--api", "webdis", "--operation", operation];
        measure_at(self.webdis_address, WIDTH, seconds, &arguments, || self.usage())
    }
}

/// Measures all three in turn, and prints rates, processor time and their ratios.
pub(crate) fn run(quick: bool) -> ExitCode {
    if let Some(missing) = ["redis-server", "webdis"].into_iter().find(|program| !is_installed(program)) {
        let _ = writeln!(
            io::stderr(),
            "compare: {missing} is not installed: install Redis and webdis (Debian: apt-get install redis-server webdis)"
        );
        return ExitCode::from(EXIT_UNAVAILABLE);
    }
    let (rounds, seconds) = if quick { (3, 1.0) } else { (7, 3.0) };
    let postgres = Postgres::create("bench_redis");
    let folder = tempfile::tempdir().unwrap();
    let on_postgres = Process::start_blocking(command(), &postgres.url);
    let file = format!("sqlite://{}", folder.path().join("bench.db").display());
    let on_sqlite = Process::start_blocking(command(), &file);
    let reference = Reference::start();
    bench(on_postgres.grpc, BULK, 0.5, &["--load"]);
    bench(on_sqlite.grpc, BULK, 0.5, &["--load"]);
    bench(reference.webdis_address, WIDTH, 0.5, &["--api", "webdis", "--load"]);
    postgres.execute("vacuum analyze");

    print_machine(&postgres);
    println!("Redis: appendonly=yes appendfsync=always");
    println!(
        "{rounds} rounds of {seconds} s each, 100000 users, 128 connections of HTTP/1.1, in turn; medians"
    );
    let measure_one = |subject: usize, operation: &str| {
        let arguments = ["--api", "http", "--operation", operation];
        match subject {
            0 => measure(&on_postgres, Some(&postgres), WIDTH, seconds, &arguments),
            1 => measure(&on_sqlite, None, WIDTH, seconds, &arguments),
            _ => reference.measure(seconds, operation),
        }
    };
    let mut samples: [[Vec<Sample>; 3]; 2] = Default::default();
    for round in 0..rounds {
        for (operation, samples) in OPERATIONS.iter().zip(&mut samples) {
            // Every subject comes first, second and last in turn.
            for subject in (0..3).map(|place| (place + round) % 3) {
                samples[subject].push(measure_one(subject, operation));
            }
        }
    }
    for (operation, samples) in OPERATIONS.iter().zip(&samples) {
        print(operation, samples);
    }
    ExitCode::SUCCESS
}

/// Prints the rows of one operation, then the ratios.
fn print(operation: &str, samples: &[Vec<Sample>; 3]) {
    let processor = |sample: &Sample| sample.service + sample.database;
    println!(
        "\n{operation:32} {:>10} {:>8} {:>12} {:>9} {:>9}",
        "a second", "p50 ms", "all, cpu us", "service", "database"
    );
    for (name, samples) in SUBJECTS.iter().zip(samples) {
        println!(
            "  {name:30} {:10.0} {:8.3} {:12.1} {:9.1} {:9.1}",
            of(samples, |sample| sample.per_second),
            of(samples, |sample| sample.p50),
            of(samples, processor),
            of(samples, |sample| sample.service),
            of(samples, |sample| sample.database),
        );
    }
    let [.., theirs] = samples;
    for (name, ours) in SUBJECTS.iter().zip(samples).take(2) {
        let ratio = |figure: &dyn Fn(&Sample) -> f64| {
            median(ours.iter().zip(theirs).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect())
        };
        let (rate, time) = (ratio(&|sample| sample.per_second), ratio(&processor));
        let name = format!("{name} / webdis");
        println!("  {name:30} {rate:10.2} {:8} {time:12.2}", "");
    }
}

/// Sends a request, and returns all that the server sends until it closes the connection.
fn ask(address: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

fn wait_until(is_ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_ready() {
        assert!(start.elapsed() < START_TIMEOUT, "Redis and webdis start");
        sleep(Duration::from_millis(20));
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
