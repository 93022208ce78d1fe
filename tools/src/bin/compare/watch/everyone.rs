//! One stream of everybody beside streams of 50 users: delay, memory, final states, and slow readers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use presenced_tools::{
    machine::{median, memory_kib},
    pb::{BatchGetPresencesRequest, WatchPresencesRequest, presence_service_client::PresenceServiceClient},
    process::{Process, command},
};

use super::{
    BULK, Plan, WIDE,
    delay::{PROBES, Probes, probe, set_probes},
    p99,
    streams::{Streams, bench_users, connect},
    tails,
};
use crate::{postgres::Postgres, subject::bench};

/// Users with a live session, and the sets of them per second, of which four of five change the presence.
const USERS: u32 = 10_000;
const CHANGES: u32 = 625;
/// The users of the streams of ids, as many as are set and measured.
const USERS_OF_STREAM: usize = 50;
/// The users of one read.
const READ: u32 = 500;

/// The last pair that was sent of each user.
type Known = Arc<Mutex<HashMap<String, (i32, i32)>>>;

pub(super) fn run(plan: Plan) {
    let database = Postgres::create("bench_watch_everyone");
    let [set, watched] = [(); 2].map(|()| Process::start_blocking(command(), &database.url));
    bench(set.grpc, BULK, 0.1, &["--load", "--users", &USERS.to_string()]);
    database.execute("vacuum analyze");
    let run = Run { plan, set: &set, watched: &watched, probes: Arc::new(Mutex::new(Probes::new())) };
    let mut ratios = Vec::new();
    for round in 0..plan.rounds {
        let ids = run.delays(false, false);
        let everyone = run.delays(true, false);
        let beside_slow = run.delays(false, true);
        println!("round {}:", round + 1);
        let [ids, everyone, beside_slow] =
            [ids, everyone, beside_slow].map(|delays| (p99(&delays), tails(delays)));
        println!("  streams of {USERS_OF_STREAM} ids: {}", ids.1);
        println!("  one stream of everybody:          {}", everyone.1);
        println!("  streams of ids, beside 20 readers of everybody that do not read: {}", beside_slow.1);
        ratios.push((everyone.0 / ids.0, beside_slow.0 / ids.0));
    }
    println!(
        "p99 of everybody / p99 of ids: {:.2}; beside slow readers: {:.2} (medians of {} rounds)",
        median(ratios.iter().map(|ratio| ratio.0).collect()),
        median(ratios.iter().map(|ratio| ratio.1).collect()),
        plan.rounds,
    );
}

/// What all measurements share.
struct Run<'a> {
    plan: Plan,
    set: &'a Process,
    watched: &'a Process,
    /// They know the last pair of each user, so that each set changes it.
    probes: Arc<Mutex<Probes>>,
}

impl Run<'_> {
    /// The delays of measured sets beside others: to one stream of everybody, or to streams of ids.
    fn delays(&self, everyone: bool, slow: bool) -> Vec<f64> {
        let Self { plan, set, watched, probes } = self;
        let known = Known::default();
        let mut streams = Streams::new({
            let (probes, known) = (Arc::clone(probes), Arc::clone(&known));
            move |presence| {
                if presence.user_id.starts_with("probe-") {
                    probes.lock().unwrap().notified(&presence.user_id);
                }
                let pair = (presence.availability, presence.activity);
                known.lock().unwrap().insert(presence.user_id.clone(), pair);
            }
        });
        let before = memory_kib(watched.id());
        let lazy = if slow { 20 } else { 0 };
        let lazy: Vec<_> = (0..lazy).map(|_| streams.runtime.block_on(unread(watched))).collect();
        if everyone {
            streams.open_everyone(watched.grpc);
            let kib = memory_kib(watched.id()).saturating_sub(before);
            println!("memory of a stream of {USERS} users: {} bytes a user", kib * 1_024 / u64::from(USERS));
        } else {
            let all: Vec<_> = (0..PROBES).map(probe).collect();
            streams.open(watched.grpc, all.chunks(USERS_OF_STREAM).map(<[String]>::to_vec));
        }
        probes.lock().unwrap().forget_snapshot();
        let target = set.grpc;
        let seconds = f64::from(plan.seconds);
        let background = thread::spawn(move || {
            let (rate, users) = (CHANGES.to_string(), USERS.to_string());
            bench(target, WIDE, seconds + 2.0, &["--changes", "--rate", &rate, "--users", &users])
        });
        thread::sleep(Duration::from_secs(1));
        streams.runtime.block_on(set_probes(set.grpc, probes, Duration::from_secs_f64(seconds)));
        background.join().unwrap();
        if everyone {
            thread::sleep(Duration::from_secs(1));
            let different = streams.runtime.block_on(different(set, &known));
            println!("users whose last presence differs from a read: {different} of {USERS}");
            assert_eq!(different, 0, "every final state was sent");
        }
        drop(lazy);
        let mut probes = probes.lock().unwrap();
        assert_eq!(probes.open_or_lost(), 0, "every set led to an event");
        probes.take_delays()
    }
}

/// A stream of everybody whose client does not read it.
async fn unread(process: &Process) -> impl Sized {
    let mut client = PresenceServiceClient::new(connect(process.grpc).await);
    let request = WatchPresencesRequest { everyone: true, ..Default::default() };
    client.watch_presences(request).await.expect("a stream opens")
}

/// The number of users whose presence differs from the last one that was sent.
async fn different(process: &Process, known: &Known) -> usize {
    let mut client = PresenceServiceClient::new(connect(process.grpc).await);
    let mut different = 0;
    for first in (0..USERS).step_by(READ as usize) {
        let user_ids = bench_users(first..first + READ);
        let request = BatchGetPresencesRequest { user_ids, ..Default::default() };
        let presences = client.batch_get_presences(request).await.expect("a read").into_inner().presences;
        let known = known.lock().unwrap();
        different += presences
            .iter()
            .filter(|is| known.get(&is.user_id) != Some(&(is.availability, is.activity)))
            .count();
    }
    different
}
