//! Callers that change the presences of users all the time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use presenced_tools::pb::{
    Activity, Availability, ClearPresenceRequest, SetPresenceRequest, SetStatusMessageRequest,
};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::super::{Client, connect};

/// The number of users that change at a time.
pub const CHANGING: usize = 20;
/// A caller's pause after a response.
const PACE: Duration = Duration::from_millis(20);
/// The time for which a caller waits for a response: a stopped replica sends none.
const PATIENCE: Duration = Duration::from_secs(2);
/// The expiration of sessions: longer than any run.
const LIFETIME: prost_types::Duration = prost_types::Duration { seconds: 14_400, nanos: 0 };
const PAIRS: [(Availability, Activity); 4] = [
    (Availability::Available, Activity::Available),
    (Availability::Busy, Activity::InACall),
    (Availability::Away, Activity::Away),
    (Availability::DoNotDisturb, Activity::Presenting),
];

/// What all callers share.
#[derive(Clone)]
pub struct Changers {
    pub users: Arc<Vec<String>>,
    /// The first of the users that change now. The others keep their last presence, so that a later change
    /// does not hide a loss.
    pub first: Arc<AtomicUsize>,
    /// The addresses of the replicas; one changes with each restart.
    pub addresses: Arc<RwLock<Vec<SocketAddr>>>,
    pub over: Arc<AtomicBool>,
    /// The acknowledged changes.
    pub changes: Arc<AtomicUsize>,
}

impl Changers {
    /// Changes presences until it is over. Failed changes are not repeated.
    pub async fn run(self) {
        let mut connections = BTreeMap::new();
        while !self.over.load(Ordering::Relaxed) {
            let address = {
                let addresses = self.addresses.read().unwrap();
                addresses[fastrand::usize(..addresses.len())]
            };
            let client = connections.entry(address).or_insert_with(|| connect(address));
            let user = self.first.load(Ordering::Relaxed) + fastrand::usize(..CHANGING);
            let user_id = self.users[user % self.users.len()].clone();
            if matches!(timeout(PATIENCE, change(client, user_id)).await, Ok(Ok(()))) {
                self.changes.fetch_add(1, Ordering::Relaxed);
            }
            sleep(PACE).await;
        }
    }
}

async fn change(client: &mut Client, user_id: String) -> Result<(), Status> {
    let session_id = "app".to_owned();
    match fastrand::u8(..10) {
        0..6 => {
            let (availability, activity) = PAIRS[fastrand::usize(..PAIRS.len())];
            let request = SetPresenceRequest {
                user_id,
                session_id,
                availability: availability.into(),
                activity: activity.into(),
                expiration_duration: Some(LIFETIME),
                ..Default::default()
            };
            client.set_presence(request).await.map(drop)
        }
        6..9 => {
            let request = ClearPresenceRequest { user_id, session_id, observed_time: None };
            client.clear_presence(request).await.map(drop)
        }
        _ => {
            let content = if fastrand::bool() { String::new() } else { format!("text {}", fastrand::u8(..)) };
            let request = SetStatusMessageRequest { user_id, content, ..Default::default() };
            client.set_status_message(request).await.map(drop)
        }
    }
}
