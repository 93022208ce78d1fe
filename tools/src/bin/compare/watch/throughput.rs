//! The cost of watchers to writers.

use std::time::Instant;

use presenced_tools::{
    machine::median,
    process::{Process, command},
};

use super::{
    BULK, Plan, WIDE,
    streams::{Streams, bench_users},
};
use crate::{
    postgres::Postgres,
    subject::{Sample, bench, measure, metric},
};

/// The number of streams. Together they watch a tenth of the users.
const STREAMS: u32 = 100;

pub(super) fn run(plan: Plan) {
    let database = Postgres::create("bench_watch_throughput");
    let service = Process::start_blocking(command(), &database.url);
    let (users, each) = (plan.users.to_string(), plan.users / 10 / STREAMS);
    bench(service.grpc, BULK, 0.1, &["--load", "--users", &users]);
    database.execute("vacuum analyze");
    database.execute("checkpoint");
    for (what, flag) in [("refreshes", None), ("changes", Some("--changes"))] {
        let flags: Vec<_> = ["--users", &users].into_iter().chain(flag).collect();
        let seconds = f64::from(plan.seconds) / 6.0;
        let set = || measure(&service, Some(&database), WIDE, seconds, &flags);
        let (mut unwatched, mut watched, mut event_rates) = (Vec::new(), Vec::new(), Vec::new());
        let events = || metric(service.admin, "presence_watch_sent_total");
        for _ in 0..plan.rounds {
            unwatched.push(set());
            let mut streams = Streams::new(|_| {});
            let lists = (0..STREAMS).map(|stream| bench_users(stream * each..(stream + 1) * each));
            streams.open(service.grpc, lists);
            let (before, time) = (events(), Instant::now());
            watched.push(set());
            event_rates.push((events() - before) / time.elapsed().as_secs_f64());
        }
        let ratios = watched.iter().zip(&unwatched).map(|(on, off)| on.per_second / off.per_second);
        println!(
            "{STREAMS} streams of {each} of {users} users, {:.0} events a second from {what}: {:.2} times \
             the sets without watchers (target >= 0.9)",
            median(event_rates),
            median(ratios.collect())
        );
        for (name, samples) in [("without watchers", &unwatched), ("with watchers", &watched)] {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
            println!(
                "  {name}: {:.0} sets a second, {:.1} us of the service per set, {:.1} us of the database",
                of(|sample| sample.per_second),
                of(|sample| sample.service),
                of(|sample| sample.database)
            );
        }
    }
}
