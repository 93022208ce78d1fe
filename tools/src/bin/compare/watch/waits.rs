//! Waits for one presence over two replicas, and their delay against that of streams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use presenced_tools::{
    machine::median,
    pb::{
        Activity, Availability, SetPresenceRequest, WaitForPresenceRequest, WatchPresencesRequest,
        presence_service_client::PresenceServiceClient, watch_presences_response::Event,
    },
    process::{Process, command},
};
use tokio::{
    runtime::Builder,
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, transport::Channel};

use super::{Plan, p99, streams::connect, tails};
use crate::postgres::Postgres;

/// The waits at a time, and over all.
const WAITING: usize = 500;
const WAITS: usize = 10_000;
/// How long a user is shown so, and the longest pause before.
const SHOWN: Duration = Duration::from_secs(1);
const PAUSE_MS: u64 = 2_000;
/// The longest time to wait for what happens.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 4;

/// The two replicas: one is written to, and the other waits, in turn.
struct Replicas {
    connections: [Vec<PresenceServiceClient<Channel>>; 2],
}

pub(super) fn run(plan: Plan) {
    let database = Postgres::create("bench_waits");
    let processes = [(); 2].map(|()| Process::start_blocking(command(), &database.url));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connections = [Vec::new(), Vec::new()];
        for (connections, process) in connections.iter_mut().zip(&processes) {
            for _ in 0..CONNECTIONS {
                connections.push(PresenceServiceClient::new(connect(process.grpc).await));
            }
        }
        let replicas = Arc::new(Replicas { connections });
        let waits = WAITS / plan.rounds;
        let mut ratios = Vec::new();
        for round in 0..plan.rounds {
            let (streams, missed_by_streams) = measure(&replicas, round, waits, false).await;
            let (calls, missed) = measure(&replicas, round, waits, true).await;
            ratios.push(p99(&calls) / p99(&streams));
            println!("round {}:", round + 1);
            println!("  WatchPresences:  {missed_by_streams} missed, {}", tails(streams));
            println!("  WaitForPresence: {missed} missed, {}", tails(calls));
            assert_eq!(missed, 0, "no state that lasts a second is missed");
        }
        let median = median(ratios);
        println!("p99 of WaitForPresence / p99 of WatchPresences: {median:.2} (median of {})", plan.rounds);
    });
}

/// Waits for users who are Available for a second at a random moment. Returns the delays from the
/// response to the set, in milliseconds, and the number of missed states.
async fn measure(replicas: &Arc<Replicas>, round: usize, waits: usize, calls: bool) -> (Vec<f64>, usize) {
    let numbers = Arc::new(Mutex::new(0..waits));
    let mut tasks = JoinSet::new();
    for _ in 0..WAITING {
        let (replicas, numbers) = (Arc::clone(replicas), Arc::clone(&numbers));
        tasks.spawn(async move {
            let mut results = Vec::new();
            loop {
                let Some(number) = numbers.lock().await.next() else { return results };
                let user = format!("wait-{round}-{calls}-{number}");
                results.push(replicas.one(number, user, calls).await);
            }
        });
    }
    let results: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let missed = results.iter().filter(|result| result.is_none()).count();
    (results.into_iter().flatten().collect(), missed)
}

impl Replicas {
    fn client(&self, replica: usize, number: usize) -> PresenceServiceClient<Channel> {
        self.connections[replica % 2][number / 2 % CONNECTIONS].clone()
    }

    /// The delay of one wait; `None` if it missed the state.
    async fn one(&self, number: usize, user: String, call: bool) -> Option<f64> {
        let (waiter, mut writer) = (self.client(number, number), self.client(number + 1, number));
        let waiting = {
            let user = user.clone();
            tokio::spawn(async move {
                let seen = async { if call { wait(waiter, user).await } else { watch(waiter, user).await } };
                timeout(PATIENCE, seen).await.ok().flatten()
            })
        };
        sleep(Duration::from_millis(fastrand::u64(500..PAUSE_MS))).await;
        let set = |availability: Availability, activity: Activity| SetPresenceRequest {
            user_id: user.clone(),
            session_id: "wait".to_owned(),
            availability: availability.into(),
            activity: activity.into(),
            ..Default::default()
        };
        writer.set_presence(set(Availability::Available, Activity::Available)).await.expect("a set");
        let responded = Instant::now();
        sleep(SHOWN).await;
        writer.set_presence(set(Availability::Busy, Activity::InACall)).await.expect("a set");
        let seen = waiting.await.unwrap()?;
        Some(seen.saturating_duration_since(responded).as_secs_f64() * 1_000.0)
    }
}

async fn wait(mut client: PresenceServiceClient<Channel>, user: String) -> Option<Instant> {
    let request = WaitForPresenceRequest {
        user_ids: vec![user],
        availabilities: vec![Availability::Available.into()],
        ..Default::default()
    };
    match client.wait_for_presence(request).await {
        Ok(_) => Some(Instant::now()),
        Err(status) => {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
            None
        }
    }
}

async fn watch(mut client: PresenceServiceClient<Channel>, user: String) -> Option<Instant> {
    let request = WatchPresencesRequest { user_ids: vec![user], ..Default::default() };
    let mut stream = client.watch_presences(request).await.expect("a stream opens").into_inner();
    while let Some(response) = stream.message().await.expect("the stream continues") {
        if let Some(Event::Presence(presence)) = response.event
            && presence.availability == i32::from(Availability::Available)
        {
            return Some(Instant::now());
        }
    }
    None
}
