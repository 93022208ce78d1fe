//! Many streams from one process, on a thread of their own.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use presenced_tools::pb::{
    WatchPresencesRequest, presence_service_client::PresenceServiceClient, watch_presences_response::Event,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tonic::transport::{Channel, Endpoint};

/// As many as one connection may have, less a few.
const STREAMS_OF_CONNECTION: usize = 250;
const WINDOW_BYTES: u32 = 1_024 * 1_024;

/// What is done with a user of whom there is news.
type Hear = dyn Fn(&str) + Send + Sync;

/// Streams that are open; they end when this is dropped.
pub(crate) struct Streams {
    pub(crate) runtime: Runtime,
    watching: JoinSet<()>,
    complete: Arc<AtomicUsize>,
    hear: Arc<Hear>,
}

impl Streams {
    /// None as yet; `hear` is called with the user whenever one is told of that is
    /// not of a snapshot.
    pub(crate) fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, watching: JoinSet::new(), complete: Arc::default(), hear: Arc::new(hear) }
    }

    /// Opens as many streams as there are lists of users, and waits until all have
    /// had their snapshots.
    pub(crate) fn open(&mut self, at: SocketAddr, users: impl Iterator<Item = Vec<String>>) {
        let mut channel = None;
        for (number, user_ids) in users.enumerate() {
            if number % STREAMS_OF_CONNECTION == 0 {
                channel = Some(self.runtime.block_on(connect(at)));
            }
            let client = PresenceServiceClient::new(channel.clone().unwrap());
            let (complete, hear) = (Arc::clone(&self.complete), Arc::clone(&self.hear));
            self.watching.spawn_on(watch(client, user_ids, complete, hear), self.runtime.handle());
        }
        while self.complete.load(Ordering::Relaxed) < self.watching.len() {
            assert!(self.watching.try_join_next().is_none(), "a stream ended");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A connection that takes what comes.
pub(crate) async fn connect(at: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let endpoint = endpoint.initial_connection_window_size(WINDOW_BYTES).tcp_nodelay(true);
    endpoint.connect().await.unwrap()
}

async fn watch(
    mut client: PresenceServiceClient<Channel>,
    user_ids: Vec<String>,
    complete: Arc<AtomicUsize>,
    hear: Arc<Hear>,
) {
    let stream = client.watch_presences(WatchPresencesRequest { user_ids }).await;
    let mut stream = stream.expect("a stream").into_inner();
    let mut in_snapshot = true;
    while let Some(response) = stream.message().await.expect("the stream goes on") {
        match response.event.expect("an event") {
            Event::Presence(_) if in_snapshot => {}
            Event::Presence(presence) => hear(&presence.user_id),
            Event::SnapshotComplete(_) => {
                in_snapshot = false;
                complete.fetch_add(1, Ordering::Relaxed);
            }
            Event::Heartbeat(_) => {}
        }
    }
}

/// The users that `presenced bench` calls for.
pub(crate) fn bench_users(numbers: Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("bench-{number}")).collect()
}
