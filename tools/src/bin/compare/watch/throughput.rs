//! What watching costs those who set.

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

/// Those who watch; together they follow a tenth of those who are set.
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
        let (mut unwatched, mut watched, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let told_until_now = || metric(service.admin, "presence_watch_sent_total");
        for _ in 0..plan.rounds {
            unwatched.push(set());
            let mut streams = Streams::new(|_| {});
            let lists = (0..STREAMS).map(|stream| bench_users(stream * each..(stream + 1) * each));
            streams.open(service.grpc, lists);
            let (before, time) = (told_until_now(), Instant::now());
            watched.push(set());
            told.push((told_until_now() - before) / time.elapsed().as_secs_f64());
        }
        let ratios = watched.iter().zip(&unwatched).map(|(on, off)| on.per_second / off.per_second);
        println!(
            "{STREAMS} streams of {each} of {users} users, told of {:.0} {what} a second: sets at {:.2} \
             times the rate without (wanted >= 0.9)",
            median(told),
            median(ratios.collect())
        );
        for (who, samples) in [("nobody watches", &unwatched), ("somebody watches", &watched)] {
            let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
            println!(
                "  {who}: {:.0} sets a second, {:.1} us of the service for each, {:.1} us of the database",
                of(|sample| sample.per_second),
                of(|sample| sample.service),
                of(|sample| sample.database)
            );
        }
    }
}
