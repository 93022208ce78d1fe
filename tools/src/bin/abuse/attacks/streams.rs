//! More streams on one connection than it may have.

use std::{net::SocketAddr, time::Duration};

use presenced_tools::{
    Client, connect,
    pb::{Activity, Availability, BatchGetPresencesRequest, HoldPresenceRequest},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::codegen::tokio_stream::{StreamExt, iter, pending};

use super::Notes;

/// The held sessions that must all show.
const HOLDS: usize = 300;
/// More than the default of `--streams-max`.
const TOO_MANY: usize = 2_100;
/// The time in which the first ones must show.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between the starts of two further streams.
const START_PAUSE: Duration = Duration::from_millis(1);
/// All users of the first holds are Busy.
pub(super) const ALL_BUSY: &str = "all 300 held sessions show";

pub(super) async fn too_many(grpc: SocketAddr, notes: &Notes) {
    loop {
        let client = connect(grpc);
        let mut tasks = JoinSet::new();
        let (set, mut is_set) = mpsc::channel(TOO_MANY);
        for hold in 0..HOLDS {
            tasks.spawn(keep(client.clone(), hold, set.clone()));
        }
        let all = async {
            for _ in 0..HOLDS {
                is_set.recv().await;
            }
        };
        let _ = timeout(PATIENCE, all).await;
        // Another connection: the first one may be full.
        match busy(connect(grpc)).await {
            Some(HOLDS) => notes.count(ALL_BUSY),
            Some(busy) => notes.fault(format!("only {busy} of {HOLDS} held sessions show")),
            None => notes.count("reads refused"),
        }
        for hold in HOLDS..TOO_MANY {
            sleep(START_PAUSE).await;
            tasks.spawn(keep(client.clone(), hold, set.clone()));
        }
        sleep(PATIENCE).await;
    }
}

async fn keep(mut client: Client, hold: usize, set: mpsc::Sender<()>) {
    let message = HoldPresenceRequest {
        user_id: format!("held-{hold}"),
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        ..Default::default()
    };
    let messages = iter([message]).chain(pending());
    let Ok(stream) = client.hold_presence(messages).await else { return };
    let mut stream = stream.into_inner();
    while let Ok(Some(_)) = stream.message().await {
        let _ = set.try_send(());
    }
}

/// The number of users that are Busy; `None` if there was no response.
async fn busy(mut client: Client) -> Option<usize> {
    let user_ids = (0..HOLDS).map(|hold| format!("held-{hold}")).collect();
    let request = BatchGetPresencesRequest { user_ids, ..Default::default() };
    let response = client.batch_get_presences(request).await.ok()?.into_inner();
    Some(response.presences.iter().filter(|one| one.availability() == Availability::Busy).count())
}
