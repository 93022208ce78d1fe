//! Writers, and a ledger of what they were told.
//!
//! Each writer has keys of its own (a user with one session) and goes through them
//! in turn, one write at a time. The writes of a key are numbered, and the number
//! says what is written: so what is read tells after which write it is. A write
//! that was answered as failed, or not at all, is sent again until it is done.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use presenced_tools::pb::{
    Activity, Availability, BatchGetPresencesRequest, ClearPresenceRequest, GetPresenceRequest, Presence,
    SetPresenceRequest,
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use super::{Client, connect};

const WRITERS: usize = 64;
/// Writers that share one.
const WRITERS_OF_A_CONNECTION: usize = 16;
/// Of a writer: those that it always has, and those that it gets for this time.
const KEYS: [usize; 2] = [2, 2];
/// How long a writer that was refused waits.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Longer than any run.
const LIFETIME: prost_types::Duration = prost_types::Duration { seconds: 14_400, nanos: 0 };

type Pair = (Availability, Activity);

const OFFLINE: Pair = (Availability::Offline, Activity::Offline);

/// What the write of a number sets; `None` is a clear. Nothing is numbered 0.
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
    /// Whether the key may be shown as this: a write that was not acknowledged may
    /// have happened.
    fn allows(self, shown: Pair) -> bool {
        shown == shown_after(self.number)
            || (!self.acknowledged && shown == shown_after(self.number.saturating_sub(1)))
    }
}

/// What the writers were told.
#[derive(Debug, Default)]
pub struct Ledger {
    keys: Mutex<HashMap<String, Last>>,
    acknowledged: AtomicUsize,
    failed: AtomicUsize,
    sent_again: AtomicUsize,
    wrong: AtomicUsize,
}

impl Ledger {
    /// The writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The answers that a write failed, and the answers that never came.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Writes that were done once they were sent again.
    pub fn sent_again(&self) -> usize {
        self.sent_again.load(Ordering::Relaxed)
    }

    /// What was not as it should be right after it was acknowledged.
    pub fn wrong(&self) -> usize {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Waits until so many are acknowledged.
    pub async fn reaches(&self, acknowledged: usize) {
        while self.acknowledged() < acknowledged {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads every key; how many are shown as what they were before the last write that
    /// was acknowledged. Nobody may be writing.
    pub async fn lost(&self, grpc: SocketAddr) -> usize {
        let keys: Vec<_> = self.keys.lock().unwrap().iter().map(|(key, last)| (key.clone(), *last)).collect();
        let mut lost = 0;
        for keys in keys.chunks(500) {
            let user_ids: Vec<_> = keys.iter().map(|(key, _)| key.clone()).collect();
            let request = BatchGetPresencesRequest { user_ids };
            let answer = loop {
                match connect(grpc).batch_get_presences(request.clone()).await {
                    Ok(answer) => break answer.into_inner(),
                    Err(_) => sleep(AGAIN_AFTER).await,
                }
            };
            for ((key, last), presence) in keys.iter().zip(&answer.presences) {
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

/// Writers that are at work.
pub struct Writers {
    tasks: JoinSet<()>,
    over: Arc<AtomicBool>,
}

impl Writers {
    /// Starts them at one service; `time` is a number of its own for each start.
    pub fn start(ledger: &Arc<Ledger>, grpc: SocketAddr, time: usize) -> Self {
        let (mut tasks, over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..WRITERS.div_ceil(WRITERS_OF_A_CONNECTION)).map(|_| connect(grpc)).collect();
        for writer in 0..WRITERS {
            let [old, new] = KEYS;
            let keys = (0..old).map(|key| format!("key-{writer}-{key}"));
            let keys = keys.chain((0..new).map(|key| format!("key-{writer}-{time}-{key}"))).collect();
            let client = clients[writer / WRITERS_OF_A_CONNECTION].clone();
            let writer = Writer { client, ledger: Arc::clone(ledger), over: Arc::clone(&over) };
            tasks.spawn(writer.run(keys));
        }
        Self { tasks, over }
    }

    /// Ends them; what is under way is waited for.
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

    /// The next write of a key, or again the one that was not acknowledged, until it
    /// is done.
    async fn write_next(&mut self, key: &str) {
        let mut last = self.ledger.keys.lock().unwrap().get(key).copied().unwrap_or_default();
        let mut again = last.number > 0 && !last.acknowledged;
        if !again {
            last.number += 1;
        }
        loop {
            last.acknowledged = false;
            self.ledger.keys.lock().unwrap().insert(key.to_owned(), last);
            let answer = self.write(key, last.number).await;
            match &answer {
                Ok(()) => break,
                // What it should end had ended by its first sending.
                Err(status) if again && status.code() == Code::NotFound => break,
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
            again = true;
            sleep(AGAIN_AFTER).await;
        }
        last.acknowledged = true;
        self.ledger.keys.lock().unwrap().insert(key.to_owned(), last);
        self.ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
        if again {
            self.ledger.sent_again.fetch_add(1, Ordering::Relaxed);
            self.look(key, last).await;
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
                };
                self.client.set_presence(request).await.map(drop)
            }
            None => self.client.clear_presence(ClearPresenceRequest { user_id, session_id }).await.map(drop),
        }
    }

    /// Whether a write that was sent again led to what it asked for.
    async fn look(&mut self, key: &str, last: Last) {
        while !self.over.load(Ordering::Relaxed) {
            let request = GetPresenceRequest { user_id: key.to_owned() };
            let Ok(answer) = self.client.get_presence(request).await else {
                sleep(AGAIN_AFTER).await;
                continue;
            };
            let presence = answer.into_inner().presence.unwrap_or_default();
            if !last.allows(shown(&presence)) {
                println!("{key} is shown as {:?} right after {last:?} was sent again", shown(&presence));
                self.ledger.wrong.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
    }
}
