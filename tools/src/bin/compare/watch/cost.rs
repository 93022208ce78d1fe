//! The cost of many streams to a replica.

use std::{
    thread,
    time::{Duration, Instant},
};

use presenced_tools::{
    machine::{cpu_seconds, memory},
    process::{Process, command},
};

use super::{
    BULK, Plan, USERS_OF_STREAM, WIDE,
    streams::{Streams, bench_users},
};
use crate::{
    postgres::Postgres,
    subject::{bench, metric},
};

/// Changes per second, and the sets that include them: one of five random sets repeats the
/// pair that is set already.
const CHANGES: u32 = 1_000;
const SETS: u32 = CHANGES * 5 / 4;

pub(super) fn run(plan: Plan) {
    let follows = plan.streams * USERS_OF_STREAM;
    for users in [follows / 10, follows] {
        let database = Postgres::create(&format!("bench_watch_cost_{users}"));
        let services = [(); 2].map(|()| Process::start_blocking(command(), &database.url));
        bench(services[0].grpc, BULK, 0.1, &["--load", "--users", &users.to_string()]);
        database.execute("vacuum analyze");
        database.execute("checkpoint");
        measure(plan, users, &database, &services);
    }
}

/// Measures the second of two replicas, which has the streams.
fn measure(plan: Plan, users: u32, database: &Postgres, services: &[Process; 2]) {
    let [set, watched] = services;
    let before = memory(watched.id());
    let opening = Instant::now();
    let mut streams = Streams::new(|_| {});
    let lists = (0..plan.streams).map(|stream| {
        let first = stream * USERS_OF_STREAM % users;
        bench_users(first..first + USERS_OF_STREAM)
    });
    streams.open(watched.grpc, lists);
    println!(
        "{} streams of {USERS_OF_STREAM} among {users} users, open with their snapshots after {:.1} s",
        plan.streams,
        opening.elapsed().as_secs_f64()
    );
    println!("  memory: {before} MiB before, {} MiB after", memory(watched.id()));

    let show = |what: &str, work: &dyn Fn()| {
        let used = || {
            let events = metric(watched.admin, "presence_watch_sent_total");
            let notified = metric(watched.admin, "presence_watch_invalidations_total");
            let read = metric(watched.admin, "presence_watch_reads_total");
            [cpu_seconds(watched.id()) * 100.0, database.cpu_seconds() * 100.0, notified, read, events]
        };
        let (before, time) = (used(), Instant::now());
        work();
        let (after, seconds) = (used(), time.elapsed().as_secs_f64());
        let each: Vec<_> =
            after.iter().zip(before).map(|(after, before)| (after - before) / seconds).collect();
        println!(
            "  {what}: {:.1} % of a core, the database {:.1} %; per second: {:.1} invalidations, {:.0} reads, {:.0} events",
            each[0], each[1], each[2], each[3], each[4]
        );
    };
    // The replica reads a changed user again after 5 s.
    thread::sleep(Duration::from_secs(6));
    let length = Duration::from_secs(plan.seconds.into());
    show("idle", &|| thread::sleep(length));
    let (of, rate) = (users.to_string(), SETS.to_string());
    let load = |flag: Option<&str>| {
        let flags: Vec<_> = ["--users", &of, "--rate", &rate].into_iter().chain(flag).collect();
        bench(set.grpc, WIDE, f64::from(plan.seconds) / 2.0, &flags);
    };
    show(&format!("{SETS} refreshes a second"), &|| load(None));
    show(&format!("{CHANGES} changes a second"), &|| load(Some("--changes")));
    println!("  memory: {} MiB at the end", memory(watched.id()));
}
