//! From the answer of a set at one replica to the news on a stream of another.

use std::{
    collections::HashMap,
    mem::take,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use presenced_tools::{
    pb::{Activity, Availability, SetPresenceRequest, presence_service_client::PresenceServiceClient},
    process::{Process, command},
};
use tokio::time::{interval, sleep};

use super::{
    BULK, Plan, WIDE,
    streams::{Streams, bench_users, connect},
    tails,
};
use crate::{postgres::Postgres, subject::bench};

/// Sets a second besides those that are measured; four of five change something.
const BACKGROUND: u32 = 5_000;
/// How often one is measured, and among how many users.
const INTERVAL: Duration = Duration::from_millis(5);
const PROBES: usize = 1_000;
const USERS_OF_STREAM: u32 = 10_000;
/// How long the last news may take.
const WAIT: Duration = Duration::from_secs(2);

/// The sets that are measured: when each was answered, and when it was heard of.
struct Probes {
    clock: Instant,
    open: HashMap<String, (Option<Duration>, Option<Duration>)>,
    /// How often each user was set.
    turns: usize,
    /// In milliseconds; one that was heard of before it was answered took none.
    delays: Vec<f64>,
    lost: usize,
}

impl Probes {
    fn new() -> Self {
        Self { clock: Instant::now(), open: HashMap::new(), turns: 0, delays: Vec::new(), lost: 0 }
    }

    fn answered(&mut self, user: &str) {
        self.open.entry(user.to_owned()).or_default().0 = Some(self.clock.elapsed());
        self.close(user);
    }

    fn heard(&mut self, user: &str) {
        self.open.entry(user.to_owned()).or_default().1 = Some(self.clock.elapsed());
        self.close(user);
    }

    fn close(&mut self, user: &str) {
        if let Some((Some(answered), Some(heard))) = self.open.get(user) {
            self.delays.push(heard.saturating_sub(*answered).as_secs_f64() * 1_000.0);
            self.open.remove(user);
        }
    }
}

pub(super) fn run(plan: Plan) {
    let database = Postgres::create("bench_watch_delay");
    let [set, watched] = [(); 2].map(|()| Process::start_blocking(command(), &database.url));
    let users = plan.users.to_string();
    bench(set.grpc, BULK, 0.1, &["--load", "--users", &users]);
    database.execute("vacuum analyze");

    let probes = Arc::new(Mutex::new(Probes::new()));
    let mut streams = Streams::new({
        let probes = Arc::clone(&probes);
        move |user| {
            if user.starts_with("probe-") {
                probes.lock().unwrap().heard(user);
            }
        }
    });
    let all = (0..plan.users).step_by(USERS_OF_STREAM as usize);
    let all = all.map(|first| bench_users(first..plan.users.min(first + USERS_OF_STREAM)));
    streams.open(watched.grpc, [(0..PROBES).map(probe).collect()].into_iter().chain(all));

    for (name, at) in [("nothing else", None), ("5,000 sets a second", Some(BACKGROUND))] {
        let seconds = f64::from(plan.seconds);
        let background = at.map(|rate| {
            let (target, users) = (set.grpc, users.clone());
            thread::spawn(move || {
                let rate = rate.to_string();
                bench(target, WIDE, seconds + 2.0, &["--changes", "--rate", &rate, "--users", &users])
            })
        });
        thread::sleep(Duration::from_secs(1));
        streams.runtime.block_on(set_probes(set.grpc, &probes, Duration::from_secs_f64(seconds)));
        if let Some(background) = background {
            let report = background.join().unwrap();
            println!(
                "  the background: {:.0} sets a second, p50 {:.1} p99 {:.1} ms",
                report["calls_per_second"].as_f64().unwrap(),
                report["latency_ms"]["p50"].as_f64().unwrap(),
                report["latency_ms"]["p99"].as_f64().unwrap(),
            );
        }
        let mut probes = probes.lock().unwrap();
        assert_eq!(probes.open.len() + probes.lost, 0, "all that was set was heard of");
        println!("answer at one replica to news at another, {name}: {}", tails(take(&mut probes.delays)));
    }
}

fn probe(number: usize) -> String {
    format!("probe-{number}")
}

/// Sets one user after the other, each time to something else.
async fn set_probes(at: SocketAddr, probes: &Arc<Mutex<Probes>>, length: Duration) {
    const PAIRS: [(Availability, Activity); 3] = [
        (Availability::DoNotDisturb, Activity::Presenting),
        (Availability::Busy, Activity::InACall),
        (Availability::Away, Activity::Away),
    ];
    let client = PresenceServiceClient::new(connect(at).await);
    let mut ticks = interval(INTERVAL);
    for set in 0..(length.as_millis() / INTERVAL.as_millis()) as usize {
        ticks.tick().await;
        let user_id = probe(set % PROBES);
        let turns = {
            let mut probes = probes.lock().unwrap();
            // It was not heard of in five seconds.
            probes.lost += usize::from(probes.open.remove(&user_id).is_some());
            probes.turns += usize::from(set % PROBES == 0);
            probes.turns
        };
        let (availability, activity) = PAIRS[turns % PAIRS.len()];
        let request = SetPresenceRequest {
            user_id: user_id.clone(),
            session_id: "probe".to_owned(),
            availability: availability.into(),
            activity: activity.into(),
            expiration_duration: None,
        };
        let (mut client, probes) = (client.clone(), Arc::clone(probes));
        tokio::spawn(async move {
            client.set_presence(request).await.expect("it is set");
            probes.lock().unwrap().answered(&user_id);
        });
    }
    sleep(WAIT).await;
}
