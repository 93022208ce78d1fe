//! Writers, and a ledger of the responses that they get.
//!
//! Each writer has keys of its own (a user with one session) and writes to them in turn, one
//! write at a time. The writes of a key are numbered, and the number decides the value. So a
//! read shows which write was the last. A write that failed, or got no response, is retried
//! until it succeeds.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use crate::{
    Client, connect,
    pb::{
        Activity, Availability, BatchGetPresencesRequest, ClearPresenceRequest, GetPresenceRequest, Presence,
        SetPresenceRequest,
    },
};

const WRITERS: usize = 64;
/// The number of writers that share a connection.
const WRITERS_OF_A_CONNECTION: usize = 16;
/// The keys of a writer: those that it always has, and those of this start.
const KEYS: [usize; 2] = [2, 2];
/// The pause before a retry.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// The expiration of sessions: longer than any run.
const LIFETIME: prost_types::Duration = prost_types::Duration { seconds: 14_400, nanos: 0 };

type Pair = (Availability, Activity);

const OFFLINE: Pair = (Availability::Offline, Activity::Offline);

/// The value of a write by its number; `None` is a clear. Numbers start at 1.
fn written_by(number: u64) -> Option<Pair> {
    match number % 5 {
        1 => Some((Availability::Busy, Activity::InACall)),
        2 => Some((Availability::Away, Activity::Away)),
        3 => Some((Availability::DoNotDisturb, Activity::Presenting)),
        4 => Some((Availability::Busy, Activity::InAConferenceCall)),
        _ => None,
    }
}

fn shown_after(number: u64) -> Pair {
    written_by(number).unwrap_or(OFFLINE)
}

/// The last write of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    number: u64,
    acknowledged: bool,
}

impl Last {
    /// Whether a read may return this pair: an unacknowledged write may or may not have happened.
    fn allows(self, shown: Pair) -> bool {
        shown == shown_after(self.number)
            || (!self.acknowledged && shown == shown_after(self.number.saturating_sub(1)))
    }
}

/// The responses to all writers.
#[derive(Debug)]
pub struct Ledger {
    /// Part of its keys, so that two ledgers on one database have none in common.
    id: usize,
    keys: Mutex<HashMap<String, Last>>,
    acknowledged: AtomicUsize,
    failed: AtomicUsize,
    retried: AtomicUsize,
    wrong: AtomicUsize,
}

impl Default for Ledger {
    fn default() -> Self {
        static LEDGERS: AtomicUsize = AtomicUsize::new(0);
        Self {
            id: LEDGERS.fetch_add(1, Ordering::Relaxed),
            keys: Mutex::default(),
            acknowledged: AtomicUsize::default(),
            failed: AtomicUsize::default(),
            retried: AtomicUsize::default(),
            wrong: AtomicUsize::default(),
        }
    }
}

impl Ledger {
    /// The number of acknowledged writes.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The number of attempts that failed or got no response.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// The number of writes that succeeded after a retry.
    #[must_use]
    pub fn retried(&self) -> usize {
        self.retried.load(Ordering::Relaxed)
    }

    /// The number of writes whose effect was wrong right after they were acknowledged.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Waits until this number of writes is acknowledged.
    pub async fn reaches(&self, acknowledged: usize) {
        while self.acknowledged() < acknowledged {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads every key. Returns how many acknowledged writes are missing. No writer may be running.
    pub async fn lost(&self, grpc: SocketAddr) -> usize {
        let keys: Vec<_> = self.keys.lock().unwrap().iter().map(|(key, last)| (key.clone(), *last)).collect();
        let mut lost = 0;
        for keys in keys.chunks(500) {
            let user_ids: Vec<_> = keys.iter().map(|(key, _)| key.clone()).collect();
            let request = BatchGetPresencesRequest { user_ids, ..Default::default() };
            let response = loop {
                match connect(grpc).batch_get_presences(request.clone()).await {
                    Ok(response) => break response.into_inner(),
                    Err(_) => sleep(RETRY_AFTER).await,
                }
            };
            for ((key, last), presence) in keys.iter().zip(&response.presences) {
                if !last.allows(shown(presence)) {
                    lost += 1;
                    println!("{key} is shown as {:?} after {last:?}", shown(presence));
                }
            }
        }
        lost
    }
}

fn shown(presence: &Presence) -> Pair {
    (presence.availability(), presence.activity())
}

/// Running writers.
#[derive(Debug)]
pub struct Writers {
    tasks: JoinSet<()>,
    over: Arc<AtomicBool>,
}

impl Writers {
    /// Starts writers at one service; `time` must differ for each start.
    pub fn start(ledger: &Arc<Ledger>, grpc: SocketAddr, time: usize) -> Self {
        let (mut tasks, over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..WRITERS.div_ceil(WRITERS_OF_A_CONNECTION)).map(|_| connect(grpc)).collect();
        for writer in 0..WRITERS {
            let [old, new] = KEYS;
            let prefix = format!("key-{}-{writer}", ledger.id);
            let keys = (0..old).map(|key| format!("{prefix}-{key}"));
            let keys = keys.chain((0..new).map(|key| format!("{prefix}-{time}-{key}"))).collect();
            let client = clients[writer / WRITERS_OF_A_CONNECTION].clone();
            let writer = Writer { client, ledger: Arc::clone(ledger), over: Arc::clone(&over) };
            tasks.spawn(writer.run(keys));
        }
        Self { tasks, over }
    }

    /// Stops the writers, and waits for pending writes.
    pub async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

struct Writer {
    client: Client,
    ledger: Arc<Ledger>,
    over: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self, keys: Vec<String>) {
        for key in keys.iter().cycle() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            self.write_next(key).await;
        }
    }

    /// Sends the next write of a key, or the last one if it is unacknowledged, until it succeeds.
    async fn write_next(&mut self, key: &str) {
        let mut last = self.ledger.keys.lock().unwrap().get(key).copied().unwrap_or_default();
        let mut is_retry = last.number > 0 && !last.acknowledged;
        if !is_retry {
            last.number += 1;
        }
        loop {
            last.acknowledged = false;
            self.ledger.keys.lock().unwrap().insert(key.to_owned(), last);
            let response = self.write(key, last.number).await;
            match &response {
                Ok(()) => break,
                // The first attempt has already cleared the session.
                Err(status) if is_retry && status.code() == Code::NotFound => break,
                Err(status) if status.code() == Code::NotFound => {
                    println!("{key}: {} found nothing to clear", last.number);
                    self.ledger.wrong.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(_) => {}
            }
            self.ledger.failed.fetch_add(1, Ordering::Relaxed);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            is_retry = true;
            sleep(RETRY_AFTER).await;
        }
        last.acknowledged = true;
        self.ledger.keys.lock().unwrap().insert(key.to_owned(), last);
        self.ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
        if is_retry {
            self.ledger.retried.fetch_add(1, Ordering::Relaxed);
            self.check(key, last).await;
        }
    }

    async fn write(&mut self, key: &str, number: u64) -> Result<(), Status> {
        let (user_id, session_id) = (key.to_owned(), "app".to_owned());
        match written_by(number) {
            Some((availability, activity)) => {
                let request = SetPresenceRequest {
                    user_id,
                    session_id,
                    availability: availability.into(),
                    activity: activity.into(),
                    expiration_duration: Some(LIFETIME),
                    ..Default::default()
                };
                self.client.set_presence(request).await.map(drop)
            }
            None => self
                .client
                .clear_presence(ClearPresenceRequest { user_id, session_id, observed_time: None })
                .await
                .map(drop),
        }
    }

    /// Checks the effect of a retried write.
    async fn check(&mut self, key: &str, last: Last) {
        while !self.over.load(Ordering::Relaxed) {
            let request = GetPresenceRequest { user_id: key.to_owned(), ..Default::default() };
            let Ok(response) = self.client.get_presence(request).await else {
                sleep(RETRY_AFTER).await;
                continue;
            };
            let presence = response.into_inner().presence.unwrap_or_default();
            if !last.allows(shown(&presence)) {
                println!("{key} is shown as {:?} right after {last:?} was retried", shown(&presence));
                self.ledger.wrong.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
    }
}
