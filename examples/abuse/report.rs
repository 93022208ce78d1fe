//! Runs the attacks in turn and tells what came of them.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    attack::{ATTACKS, Api},
    client::{self, Felt},
    service::{Running, Service, cpu_seconds, median, memory},
};

/// How long the service is left alone between two attacks.
const PAUSE: Duration = Duration::from_secs(1);

fn itself() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// What one attack did.
struct Outcome {
    felt: Felt,
    attacker_cpu: f64,
    service_cpu: f64,
    peak_memory: u64,
}

/// The attack on `victim`, with the healthy client at the service.
fn under_attack(service: &Service, kind: &str, victim: SocketAddr, duration: Duration) -> Outcome {
    let before = cpu_seconds(&service.id());
    let seconds = duration.as_secs().to_string();
    let attacker = itself()
        .args(["attack", kind, &victim.to_string(), &seconds])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the attacker starts");
    let (watched, over) = (service.id(), Arc::new(AtomicBool::new(false)));
    let sampling = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(memory(&watched));
                thread::sleep(Duration::from_millis(50));
            }
            peak
        }
    });
    let felt = client::run(service.http, duration);
    let output = attacker.wait_with_output().unwrap();
    over.store(true, Ordering::Relaxed);
    Outcome {
        felt,
        attacker_cpu: String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(f64::NAN),
        service_cpu: cpu_seconds(&service.id()) - before,
        peak_memory: sampling.join().unwrap(),
    }
}

/// Runs all attacks, and prints a line for each.
pub(crate) fn run(binary: &str, seconds: u64, rounds: u64) {
    let duration = Duration::from_secs(seconds);
    let mut sink = itself().arg("sink").stdout(Stdio::piped()).spawn().expect("the sink starts");
    let mut line = String::new();
    BufReader::new(sink.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_sink, sink): (_, SocketAddr) = (Running(sink), line.trim().parse().unwrap());

    println!(
        "{rounds} rounds of {seconds} s each; medians; milliseconds of the healthy client, 800 requests a second"
    );
    println!(
        "{:12} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7} {:>7} {:>20}",
        "attack",
        "p99 sink",
        "p99 here",
        "ratio",
        "errors",
        "attacker",
        "attacker",
        "service",
        "service",
        "memory, MiB"
    );
    println!(
        "{:12} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7} {:>7} {:>20}",
        "", "", "", "", "", "cpu sink", "cpu here", "cpu sink", "cpu", "before, peak, after"
    );
    let only = env::var("ABUSE_ATTACKS").unwrap_or_default();
    let wanted = |kind: &str| only.is_empty() || only.split(',').any(|of| of == kind);
    for (kind, api, what) in ATTACKS.into_iter().filter(|(kind, ..)| wanted(kind)) {
        let service = Service::start(binary, &["--database-url", "sqlite::memory:"]);
        let victim = if api == Api::Grpc { service.grpc } else { service.http };
        client::run(service.http, PAUSE);
        let before = service.memory();
        let (mut at_sink, mut here) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            at_sink.push(under_attack(&service, kind, sink, duration));
            thread::sleep(PAUSE);
            here.push(under_attack(&service, kind, victim, duration));
            thread::sleep(PAUSE);
        }
        let p99 = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.felt.percentile(99)).collect());
        let cpu = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.attacker_cpu).collect());
        let own = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.service_cpu).collect());
        let ratios =
            at_sink.iter().zip(&here).map(|(sink, here)| here.felt.percentile(99) / sink.felt.percentile(99));
        let peak = here.iter().map(|outcome| outcome.peak_memory).max().unwrap_or(0);
        let errors: usize = here.iter().map(|outcome| outcome.felt.errors).sum();
        println!(
            "{kind:12} {:9.2} {:9.2} {:6.2} {errors:7} {:8.2} {:8.2} {:7.2} {:7.2} {:>20}   {what}",
            p99(&at_sink),
            p99(&here),
            median(ratios.collect()),
            cpu(&at_sink),
            cpu(&here),
            own(&at_sink),
            own(&here),
            format!("{before}, {peak}, {}", service.memory()),
        );
    }
}
