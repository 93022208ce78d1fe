//! Runs the attacks in turn, and prints the results.

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

use presenced_tools::{
    machine::{cpu_seconds, median, memory},
    process::{Process, Running, command},
};

use crate::{
    attack::Attack,
    client::{self, Results},
};

/// The pause between two attacks.
const PAUSE: Duration = Duration::from_secs(1);

fn this_program() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// The results of one attack.
struct Outcome {
    client: Results,
    attacker_cpu: f64,
    service_cpu: f64,
    peak_memory: u64,
}

/// Runs one attack on `target` while the healthy client calls the service.
fn under_attack(service: &Process, attack: Attack, target: SocketAddr, duration: Duration) -> Outcome {
    let before = cpu_seconds(service.id());
    let seconds = duration.as_secs().to_string();
    let attacker = this_program()
        .args(["attack", &attack.texts().0, &target.to_string(), &seconds])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the attacker starts");
    let (watched, over) = (service.id(), Arc::new(AtomicBool::new(false)));
    let sampling = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(memory(watched));
                thread::sleep(Duration::from_millis(50));
            }
            peak
        }
    });
    let client = client::run(service.http, duration);
    let output = attacker.wait_with_output().unwrap();
    over.store(true, Ordering::Relaxed);
    Outcome {
        client,
        attacker_cpu: String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(f64::NAN),
        service_cpu: cpu_seconds(service.id()) - before,
        peak_memory: sampling.join().unwrap(),
    }
}

/// Runs the attacks, and prints a line for each.
pub(crate) fn run(attacks: &[Attack], duration: Duration, rounds: u64) {
    let mut sink = this_program().arg("sink").stdout(Stdio::piped()).spawn().expect("the sink starts");
    let mut line = String::new();
    BufReader::new(sink.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_sink, sink): (_, SocketAddr) = (Running(sink), line.trim().parse().unwrap());

    println!(
        "{rounds} rounds of {} s each, medians; p99 latency of the healthy client (800 requests a second) in ms, processor time in s",
        duration.as_secs()
    );
    println!(
        "{:12} {:>9} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7} {:>7} {:>20}",
        "attack",
        "p99 sink",
        "p99",
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
        "", "", "", "", "", "cpu sink", "cpu", "cpu sink", "cpu", "before, peak, after"
    );
    for attack in attacks {
        let (name, description) = attack.texts();
        let service = Process::start_blocking(command(), "sqlite::memory:");
        let target = if attack.is_for_grpc() { service.grpc } else { service.http };
        client::run(service.http, PAUSE);
        let before = memory(service.id());
        let (mut at_sink, mut at_service) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            at_sink.push(under_attack(&service, *attack, sink, duration));
            thread::sleep(PAUSE);
            at_service.push(under_attack(&service, *attack, target, duration));
            thread::sleep(PAUSE);
        }
        let p99 = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.client.percentile(99)).collect());
        let cpu = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.attacker_cpu).collect());
        let own = |of: &[Outcome]| median(of.iter().map(|outcome| outcome.service_cpu).collect());
        let ratios = at_sink
            .iter()
            .zip(&at_service)
            .map(|(sink, service)| service.client.percentile(99) / sink.client.percentile(99));
        let peak = at_service.iter().map(|outcome| outcome.peak_memory).max().unwrap_or(0);
        let errors: usize = at_service.iter().map(|outcome| outcome.client.errors).sum();
        println!(
            "{name:12} {:9.2} {:9.2} {:6.2} {errors:7} {:8.2} {:8.2} {:7.2} {:7.2} {:>20}   {description}",
            p99(&at_sink),
            p99(&at_service),
            median(ratios.collect()),
            cpu(&at_sink),
            cpu(&at_service),
            own(&at_sink),
            own(&at_service),
            format!("{before}, {peak}, {}", memory(service.id())),
        );
    }
}
