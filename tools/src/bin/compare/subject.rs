//! One measurement of one subject.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use presenced_tools::{
    machine::cpu_seconds,
    process::{Process, sibling},
};
use serde_json::Value;

use crate::postgres::Postgres;

/// The time of calls before the measurement, in seconds.
const WARMUP: f64 = 0.3;

/// The results of one measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Calls, or members of calls, per second.
    pub(crate) per_second: f64,
    /// Percentiles of latency in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Processor time per call or member in microseconds: of the service, the database, and the
    /// client.
    pub(crate) service: f64,
    pub(crate) database: f64,
    pub(crate) client: f64,
    /// Calls per statement, or 0 without statements.
    pub(crate) batch: f64,
}

/// The concurrency of the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    pub(crate) connections: u32,
    pub(crate) streams: u32,
}

/// Totals of a subject since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time in seconds.
    pub(crate) service: f64,
    pub(crate) database: f64,
    /// Calls or members that the subject counted, and statements for them; 0 if it counts none.
    pub(crate) members: f64,
    pub(crate) statements: f64,
}

/// Runs `bench` for this time. Returns its report.
pub(crate) fn bench(target: SocketAddr, width: Width, seconds: f64, arguments: &[&str]) -> Value {
    let output = Command::new(sibling("bench"))
        .args([&target.to_string(), "--json", "--warmup", &format!("{}ms", WARMUP * 1_000.0)])
        .args(["--duration", &format!("{:.0}ms", seconds * 1_000.0)])
        .args(["--connections", &width.connections.to_string(), "--streams", &width.streams.to_string()])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("bench prints JSON");
    assert_eq!(report["errors"], 0, "{report}");
    report
}

/// Measures a service, and its database if there is one, under the load of `bench`.
pub(crate) fn measure(
    service: &Process,
    database: Option<&Postgres>,
    width: Width,
    seconds: f64,
    arguments: &[&str],
) -> Sample {
    let http = arguments.iter().any(|argument| argument.starts_with("http"));
    let api = if http { service.http } else { service.grpc };
    measure_at(api, width, seconds, arguments, || Usage {
        service: cpu_seconds(service.id()),
        database: database.map_or(0.0, Postgres::cpu_seconds),
        members: metric(service.admin, "presence_batch_members_sum"),
        statements: metric(service.admin, "presence_batch_members_count"),
    })
}

/// Measures what listens at `api`, whose totals `usage` returns, under the load of `bench`.
pub(crate) fn measure_at(
    api: SocketAddr,
    width: Width,
    seconds: f64,
    arguments: &[&str],
    usage: impl Fn() -> Usage,
) -> Sample {
    let before = usage();
    let report = bench(api, width, seconds, arguments);
    let after = usage();
    let number = |name: &str| report[name].as_f64().unwrap();
    let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
    // `bench` also calls before and after its measurement, so the costs are per call of the whole
    // run.
    let (members, made) = (after.members - before.members, after.statements - before.statements);
    let calls = number("calls_per_second") * (seconds + WARMUP);
    let done = if members > 0.0 { members } else { calls };
    let each = number("members_per_second") / number("calls_per_second");
    Sample {
        per_second: number("members_per_second"),
        p50: latency("p50"),
        p99: latency("p99"),
        p999: latency("p99.9"),
        service: (after.service - before.service) * 1e6 / done,
        database: (after.database - before.database) * 1e6 / done,
        client: number("client_processor_us_per_call") / each,
        batch: if made > 0.0 { members / made } else { 0.0 },
    }
}

/// The sum of all metrics whose line starts with `name`.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> f64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
