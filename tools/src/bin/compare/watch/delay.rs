//! The time from the response to a set at one replica to the event at another.

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

/// Sets per second besides the measured ones; four of five change the presence.
const BACKGROUND: u32 = 5_000;
/// The interval of measured sets, and the number of their users.
const INTERVAL: Duration = Duration::from_millis(5);
pub(super) const PROBES: usize = 1_000;
const USERS_OF_STREAM: u32 = 10_000;
/// The time that the last event may take.
const WAIT: Duration = Duration::from_secs(2);

/// The measured sets: the times of each response and of each event.
pub(super) struct Probes {
    clock: Instant,
    open: HashMap<String, (Option<Duration>, Option<Duration>)>,
    /// The number of sets of each user.
    turns: usize,
    /// Delays in milliseconds; an event before the response has a delay of 0.
    delays: Vec<f64>,
    lost: usize,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self { clock: Instant::now(), open: HashMap::new(), turns: 0, delays: Vec::new(), lost: 0 }
    }

    fn responded(&mut self, user: &str) {
        self.open.entry(user.to_owned()).or_default().0 = Some(self.clock.elapsed());
        self.close(user);
    }

    pub(super) fn notified(&mut self, user: &str) {
        self.open.entry(user.to_owned()).or_default().1 = Some(self.clock.elapsed());
        self.close(user);
    }

    /// Forgets the events of a snapshot, which no set caused.
    pub(super) fn forget_snapshot(&mut self) {
        self.open.clear();
    }

    /// The number of sets without an event.
    pub(super) fn open_or_lost(&self) -> usize {
        self.open.len() + self.lost
    }

    /// Removes the delays.
    pub(super) fn take_delays(&mut self) -> Vec<f64> {
        take(&mut self.delays)
    }

    fn close(&mut self, user: &str) {
        if let Some((Some(response), Some(event))) = self.open.get(user) {
            self.delays.push(event.saturating_sub(*response).as_secs_f64() * 1_000.0);
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
        move |presence| {
            if presence.user_id.starts_with("probe-") {
                probes.lock().unwrap().notified(&presence.user_id);
            }
        }
    });
    let all = (0..plan.users).step_by(USERS_OF_STREAM as usize);
    let all = all.map(|first| bench_users(first..plan.users.min(first + USERS_OF_STREAM)));
    streams.open(watched.grpc, [(0..PROBES).map(probe).collect()].into_iter().chain(all));

    for (name, at) in [("no other load", None), ("5,000 sets a second", Some(BACKGROUND))] {
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
                "  background: {:.0} sets a second, p50 {:.1} p99 {:.1} ms",
                report["calls_per_second"].as_f64().unwrap(),
                report["latency_ms"]["p50"].as_f64().unwrap(),
                report["latency_ms"]["p99"].as_f64().unwrap(),
            );
        }
        let mut probes = probes.lock().unwrap();
        assert_eq!(probes.open_or_lost(), 0, "every set led to an event");
        println!("response at one replica to event at another, {name}: {}", tails(probes.take_delays()));
    }
}

pub(super) fn probe(number: usize) -> String {
    format!("probe-{number}")
}

/// Sets the users in turn, each time to another pair.
pub(super) async fn set_probes(at: SocketAddr, probes: &Arc<Mutex<Probes>>, length: Duration) {
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
            // The previous set of this user, 5 s ago, led to no event.
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
            ..Default::default()
        };
        let (mut client, probes) = (client.clone(), Arc::clone(probes));
        tokio::spawn(async move {
            client.set_presence(request).await.expect("the set succeeds");
            probes.lock().unwrap().responded(&user_id);
        });
    }
    sleep(WAIT).await;
}
