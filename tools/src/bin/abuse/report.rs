//! Runs the attacks in turn, and prints the results.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use presenced_tools::{
    machine::{cpu_seconds, median, memory, peak_memory},
    process::{Process, Running, command},
};

use crate::{
    attacks::{Attack, Seen},
    client::{self, Results},
};

/// The pause between two attacks.
const PAUSE: Duration = Duration::from_secs(1);
/// The most that an attack may multiply the healthy client's latency, compared with the control.
pub(crate) const RATIO_MAX: f64 = 3.0;
/// The time for which the healthy client calls alone, to learn what its calls cost the service.
const ALONE: Duration = Duration::from_secs(2);

fn this_program() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// The results of the attacks of one round, and of their control.
pub(crate) struct Round {
    pub(crate) client: Results,
    pub(crate) control: Results,
    pub(crate) seen: Seen,
    /// The processor time that the attack cost the service.
    pub(crate) service_cpu: f64,
}

impl Round {
    pub(crate) fn ratio(&self) -> f64 {
        self.client.percentile(99) / self.control.percentile(99)
    }
}

/// The service's processor time for each second of the healthy client alone.
pub(crate) fn cost_alone(service: &Process) -> f64 {
    // The first calls open connections and prepare statements.
    client::run(service.http, PAUSE);
    let before = cpu_seconds(service.id());
    client::run(service.http, ALONE);
    (cpu_seconds(service.id()) - before) / ALONE.as_secs_f64()
}

/// Runs the attacks at the same time while the healthy client calls the service. Then runs the
/// control: the healthy client beside a program that uses as much processor time as the attacker did
/// and as it cost the service.
pub(crate) fn round(service: &Process, attacks: &[Attack], duration: Duration, alone: f64) -> Round {
    let before = cpu_seconds(service.id());
    let attacker = attacker(service, attacks, duration);
    let client = client::run(service.http, duration);
    let output = attacker.wait_with_output().unwrap();
    let seen: Seen = serde_json::from_slice(&output.stdout).expect("the attacker prints what it saw");
    thread::sleep(PAUSE);
    let service_cpu = cpu_seconds(service.id()) - before - alone * duration.as_secs_f64();
    let cost = (seen.cpu + service_cpu.max(0.0)).to_string();
    let burn = this_program().args(["burn", &cost, &duration.as_secs().to_string()]).spawn();
    let mut burn = Running(burn.expect("the control starts"));
    let control = client::run(service.http, duration);
    burn.0.wait().unwrap();
    thread::sleep(PAUSE);
    Round { client, control, seen, service_cpu }
}

/// All attacks are one process: more would take more turns of the cores than the control does.
fn attacker(service: &Process, attacks: &[Attack], duration: Duration) -> Child {
    let names: Vec<_> = attacks.iter().map(|attack| attack.texts().0).collect();
    let [grpc, http] = [service.grpc, service.http].map(|address| address.to_string());
    this_program()
        .args(["attack", &names.join(","), "--grpc", &grpc, "--http", &http])
        .args(["--seconds", &duration.as_secs().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the attacker starts")
}

/// Runs the attacks, and prints a line for each. Returns whether all had the results that they
/// must have.
pub(crate) fn run(attacks: &[Attack], duration: Duration, rounds: u64) -> bool {
    println!(
        "{rounds} rounds of {} s each, medians; p99 latency of the healthy client (800 requests a second) in ms \
         under attack, and beside a control that only uses the same processor time; processor time in s; \
         resident memory in MiB: before, most, after\n",
        duration.as_secs()
    );
    println!(
        "| attack | p99 control | p99 | ratio | errors | cpu attacker | cpu service | memory | seen | held |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut held = true;
    for attack in attacks {
        held &= one(*attack, duration, rounds);
    }
    println!();
    for attack in attacks {
        let (name, description) = attack.texts();
        println!("{name}: {description}");
    }
    held
}

/// Runs one attack, and prints its line.
fn one(attack: Attack, duration: Duration, rounds: u64) -> bool {
    let mut service = Process::start_blocking(command(), "sqlite::memory:");
    let alone = cost_alone(&service);
    let before = memory(service.id());
    let rounds: Vec<_> = (0..rounds).map(|_| round(&service, &[attack], duration, alone)).collect();
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let errors: usize = rounds.iter().map(|round| round.client.errors).sum();
    let memory = format!("{before}, {}, {}", peak_memory(service.id()), memory(service.id()));
    let mut seen = Seen::default();
    for round in &rounds {
        seen.add(round.seen.clone());
    }
    let mut wrong = missing(attack, &mut service, &seen);
    wrong.extend(seen.faults.iter().map(|(what, times)| format!("{what} ({times})")));
    if of(Round::ratio) > RATIO_MAX {
        wrong.push("slow".to_owned());
    }
    let counts: Vec<_> = seen.counts.iter().map(|(what, times)| format!("{what}: {times}")).collect();
    println!(
        "| {} | {:.2} | {:.2} | {:.2} | {errors} | {:.2} | {:.2} | {memory} | {} | {} |",
        attack.texts().0,
        of(|round| round.control.percentile(99)),
        of(|round| round.client.percentile(99)),
        of(Round::ratio),
        of(|round| round.seen.cpu),
        of(|round| round.service_cpu),
        counts.join("; "),
        verdict(&wrong),
    );
    wrong.is_empty()
}

/// What is expected of an attack and was not seen. Stops the service.
fn missing(attack: Attack, service: &mut Process, seen: &Seen) -> Vec<String> {
    let expected = attack.expected();
    let metrics = metrics(service.admin);
    let (code, log) = stop(service);
    let is_missing = [
        expected.seen.filter(|what| !seen.counts.contains_key(*what)),
        expected.metric.filter(|name| value(&metrics, name) == 0),
        expected.log.filter(|text| !log.contains(text)),
    ];
    let mut wrong: Vec<_> = is_missing.into_iter().flatten().map(|what| format!("missing: {what}")).collect();
    if code != Some(0) {
        wrong.push(format!("the service ended with {code:?}"));
    }
    wrong
}

/// Stops the service by SIGTERM. Returns its exit code and its log.
pub(crate) fn stop(service: &mut Process) -> (Option<i32>, String) {
    service.signal("TERM");
    service.wait()
}

/// "yes", or what is wrong.
pub(crate) fn verdict(wrong: &[String]) -> String {
    if wrong.is_empty() { "yes".to_owned() } else { format!("NO: {}", wrong.join("; ")) }
}

/// The metrics of a service; empty if it does not respond.
pub(crate) fn metrics(admin: SocketAddr) -> String {
    let mut text = String::new();
    let read = TcpStream::connect(admin).and_then(|mut stream| {
        write!(stream, "GET /metrics HTTP/1.0\r\nhost: {admin}\r\n\r\n")?;
        stream.read_to_string(&mut text)
    });
    read.map_or_else(|_| String::new(), |_| text)
}

/// The value of a metric; 0 if it is missing.
pub(crate) fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
