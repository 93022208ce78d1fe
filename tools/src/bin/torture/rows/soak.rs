//! Half of the full load for a long time.

use std::{fs, process::Stdio, time::Duration};

use presenced_tools::process::{Process, sibling, without_settings};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::{process::Command, time::sleep};

use super::{Row, cluster::Cluster};
use presenced_tools::machine::memory;

/// The interval of samples.
const EVERY: Duration = Duration::from_secs(10);
/// The growth from the first quarter to the last one that is allowed, as a fraction.
const GROWTH: f64 = 0.1;
/// The number of users. All have a session before the first sample, so no row is added.
const USERS: &str = "20000";

/// One sample.
#[derive(Clone, Copy, Debug)]
struct Sample {
    memory: f64,
    descriptors: f64,
    table: f64,
}

/// Runs half of the full load for `length`.
pub async fn soak(length: Duration) -> Vec<Row> {
    let cluster = Cluster::start(&[]).await;
    let process = Process::start(&cluster.url(), &[]).await;
    let full = bench(&process, &["--load", "--duration", "5s"]).await;
    let rate = full["calls_per_second"].as_f64().unwrap() / 2.0;
    let (duration, rate) = (format!("{}s", length.as_secs()), format!("{rate:.0}"));
    let flags = ["--duration", &duration, "--rate", &rate];
    let mut load = std::pin::pin!(bench(&process, &flags));
    let mut database = cluster.superuser("presence").await.unwrap();
    let mut samples = Vec::new();
    let report = loop {
        tokio::select! {
            report = load.as_mut() => break report,
            () = sleep(EVERY) => samples.push(sample(&process, &mut database).await),
        }
    };
    let calls =
        format!("{rate} calls a second for {duration}, half of the full load; {} samples", samples.len());
    let row = |property: &str, unit: &str, of: fn(&Sample) -> f64| {
        let [first, last] = quarters(&samples, of);
        Row {
            property: format!("soak: {property} stays flat"),
            tried: calls.clone(),
            figure: format!("{first:.1} {unit} in the first quarter, {last:.1} in the last"),
            held: last <= first * (1.0 + GROWTH),
        }
    };
    let errors = report["errors"].as_u64().unwrap();
    vec![
        Row {
            property: "soak: errors".to_owned(),
            tried: calls.clone(),
            figure: format!("{errors}; {}; latency in ms {}", report["codes"], report["latency_ms"]),
            held: errors == 0,
        },
        row("memory", "MiB", |sample| sample.memory),
        row("descriptors", "open", |sample| sample.descriptors),
        row("the table", "MiB", |sample| sample.table),
    ]
}

/// Runs `bench`. Returns its report.
async fn bench(process: &Process, flags: &[&str]) -> Value {
    let mut command = std::process::Command::new(sibling("bench"));
    command.args([&process.grpc.to_string(), "--operation", "mix", "--users", USERS, "--json"]);
    command.args(flags).stderr(Stdio::null());
    let output = Command::from(without_settings(command)).kill_on_drop(true).output().await.unwrap();
    serde_json::from_slice(&output.stdout).expect("bench prints JSON")
}

async fn sample(process: &Process, database: &mut PgConnection) -> Sample {
    let id = process.child.id();
    let size = sqlx::query_scalar::<_, i64>("select pg_total_relation_size('presence_sessions')");
    let table = size.fetch_one(database).await.unwrap();
    Sample {
        memory: number(memory(id)),
        descriptors: number(fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as u64),
        table: number(table.unsigned_abs()) / 1_048_576.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn number(number: u64) -> f64 {
    number as f64
}

/// The mean of the first quarter, and of the last one.
fn quarters(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> [f64; 2] {
    let quarter = samples.len().div_ceil(4).max(1);
    let mean = |samples: &[Sample]| samples.iter().map(&of).sum::<f64>() / number(samples.len() as u64);
    [mean(&samples[..quarter]), mean(&samples[samples.len() - quarter..])]
}
