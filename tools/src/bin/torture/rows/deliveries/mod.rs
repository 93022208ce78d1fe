//! Change notifications while replicas are killed and stopped, PostgreSQL is killed, and receivers fail.

mod applied;
mod changers;
mod receiver;

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::{
    pb::{BatchGetPresencesRequest, CreateSubscriptionRequest, Presence, PresenceView},
    process::{Process, command},
};
use tokio::{task::JoinSet, time::sleep};

use super::{Row, cluster::Cluster, connect};
use changers::{CHANGING, Changers};
use receiver::{HANG, Receiver};

const REPLICAS: usize = 3;
const USERS: usize = 600;
const CHANGERS: usize = 8;
/// The users of each subscription, the first and the number; 0 is everyone. Two of them overlap.
const LISTS: [(usize, usize); 5] = [(0, 0), (0, 400), (200, 400), (0, 1), (0, 0)];
/// The settle time of the last subscription.
const SETTLE: prost_types::Duration = prost_types::Duration { seconds: 1, nanos: 0 };
/// Every this many turns PostgreSQL is killed too.
const DATABASE_KILLS: usize = 5;
/// The limit of the time from the last change to the last delivery. The pause after failures doubles up to
/// some 64 s with the failures that these receivers have in a row.
const DELIVERED_WITHIN: Duration = Duration::from_mins(2);

struct Torture {
    cluster: Cluster,
    lease: Duration,
    replicas: Vec<Process>,
    receivers: Vec<(Receiver, &'static [String])>,
    changers: Changers,
    fails: Arc<AtomicBool>,
    stops: usize,
    database_kills: usize,
}

/// Kills a replica this many times, and stops others for longer than the lease, which lasts some seconds.
pub async fn kills(kills: usize, lease_seconds: u64, settings: &[&str]) -> Row {
    let mut torture = Torture::start(Duration::from_secs(lease_seconds), settings).await;
    let mut callers = JoinSet::new();
    for _ in 0..CHANGERS {
        callers.spawn(torture.changers.clone().run());
    }
    for turn in 0..kills {
        torture.turn(turn).await;
    }
    torture.changers.over.store(true, Ordering::Relaxed);
    torture.fails.store(false, Ordering::Relaxed);
    callers.join_all().await;
    let (lost, within) = torture.settle().await;
    let [mut notifications, mut late, mut repetitions, mut stale] = [0; 4];
    for (receiver, _) in &torture.receivers {
        let applied = receiver.applied.lock().unwrap();
        notifications += applied.notifications;
        late += applied.late;
        repetitions += applied.repetitions;
        stale += applied.stale;
    }
    let changes = torture.changers.changes.load(Ordering::Relaxed);
    let Torture { stops, database_kills, .. } = torture;
    Row {
        property: "change notifications that SIGKILL, SIGSTOP and failing receivers lost".to_owned(),
        tried: format!(
            "{kills} kills and {stops} stops of {REPLICAS} replicas, {database_kills} kills of PostgreSQL, \
             {changes} changes, {notifications} notifications"
        ),
        figure: format!(
            "{lost} lost, {stale} stale; {repetitions} repetitions, {late} late; the last within {within:.1?}"
        ),
        held: lost == 0 && stale == 0 && changes > 0 && notifications > 0,
    }
}

impl Torture {
    async fn start(lease: Duration, settings: &[&str]) -> Self {
        let cluster = Cluster::start(settings).await;
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(start(&cluster, lease).await);
        }
        // The process ends soon after the row.
        let users: &'static [String] =
            (0..USERS).map(|user| format!("user-{user}")).collect::<Vec<_>>().leak();
        let fails = Arc::new(AtomicBool::new(true));
        let mut receivers = Vec::new();
        for (subscription, (first, number)) in LISTS.into_iter().enumerate() {
            let receiver = Receiver::start(Arc::clone(&fails)).await;
            let listed = &users[first..first + number];
            let request = CreateSubscriptionRequest {
                user_ids: listed.to_vec(),
                everyone: listed.is_empty(),
                url: format!("http://{}/notify", receiver.address),
                settle_duration: (subscription + 1 == LISTS.len()).then_some(SETTLE),
                ..Default::default()
            };
            let grpc = replicas[subscription % REPLICAS].grpc;
            connect(grpc).create_subscription(request).await.expect("a subscription");
            receivers.push((receiver, if listed.is_empty() { users } else { listed }));
        }
        let changers = Changers {
            users: Arc::new(users.to_vec()),
            addresses: Arc::new(RwLock::new(replicas.iter().map(|replica| replica.grpc).collect())),
            first: Arc::default(),
            over: Arc::default(),
            changes: Arc::default(),
        };
        Self { cluster, lease, replicas, receivers, changers, fails, stops: 0, database_kills: 0 }
    }

    /// Kills a replica and starts it again; in every second turn another one is stopped for longer than its
    /// lease.
    async fn turn(&mut self, turn: usize) {
        let (victim, other) = (turn % REPLICAS, (turn + 1) % REPLICAS);
        sleep(self.lease.mul_f64(fastrand::f64() * 1.5)).await;
        let stopped = turn.is_multiple_of(2).then(Instant::now);
        if stopped.is_some() {
            self.replicas[other].signal("STOP");
            self.stops += 1;
        }
        self.replicas[victim].kill();
        self.change_others();
        if turn % DATABASE_KILLS == DATABASE_KILLS - 1 {
            self.cluster.kill();
            sleep(self.lease.mul_f64(fastrand::f64())).await;
            self.cluster.restart().await;
            self.database_kills += 1;
        }
        sleep(self.lease.mul_f64(fastrand::f64() * 2.0)).await;
        self.replicas[victim] = start(&self.cluster, self.lease).await;
        self.changers.addresses.write().unwrap()[victim] = self.replicas[victim].grpc;
        self.change_others();
        if let Some(stopped) = stopped {
            let pause = self.lease.mul_f64(1.5 + fastrand::f64());
            sleep(pause.saturating_sub(stopped.elapsed())).await;
            self.replicas[other].signal("CONT");
        }
    }

    /// Half of the users that change are other ones from now on.
    fn change_others(&self) {
        self.changers.first.fetch_add(CHANGING / 2, Ordering::Relaxed);
    }

    /// Waits until every receiver has the presence of each of its users. Returns the number of those that are
    /// missing, and the time that it took.
    async fn settle(&self) -> (usize, Duration) {
        let ended = Instant::now();
        while !self.lost().await.is_empty() && ended.elapsed() < DELIVERED_WITHIN {
            sleep(Duration::from_millis(200)).await;
        }
        let within = ended.elapsed();
        // A request that hangs is applied late, and must not replace anything.
        sleep(HANG.saturating_sub(within) + Duration::from_secs(1)).await;
        let lost = self.lost().await;
        for line in &lost {
            println!("{line}");
        }
        (lost.len(), within)
    }

    /// Describes what the receivers miss.
    async fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for (number, (receiver, users)) in self.receivers.iter().enumerate() {
            let presences = self.presences(users).await;
            let missing = receiver.applied.lock().unwrap().lost(&presences);
            lost.extend(missing.into_iter().map(|line| format!("subscription {number}: {line}")));
        }
        lost
    }

    async fn presences(&self, users: &[String]) -> Vec<Presence> {
        let view = PresenceView::Full.into();
        loop {
            let request = BatchGetPresencesRequest { user_ids: users.to_vec(), view };
            match connect(self.replicas[0].grpc).batch_get_presences(request).await {
                Ok(response) => return response.into_inner().presences,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Starts a replica with this lease. No flag sets it.
async fn start(cluster: &Cluster, lease: Duration) -> Process {
    let mut command = command();
    command.env("PRESENCE_TEST_SUBSCRIPTION_LEASE", format!("{}s", lease.as_secs()));
    let flags = ["--subscription-allow", "127.0.0.1/32", "--subscription-max-age", "24h"];
    Process::start_by(command, &cluster.url(), &flags).await
}
