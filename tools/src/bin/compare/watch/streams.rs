//! Many streams of this process, on a thread of their own.

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
    Presence, WatchPresencesRequest, presence_service_client::PresenceServiceClient,
    watch_presences_response::Event,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tonic::transport::{Channel, Endpoint};

/// Streams per connection: a few less than the service's limit.
const STREAMS_OF_CONNECTION: usize = 250;
const WINDOW_BYTES: u32 = 1_024 * 1_024;

/// A callback with the presence of a user who changed.
type OnEvent = dyn Fn(&Presence) + Send + Sync;

/// Open streams, which end when this is dropped.
pub(crate) struct Streams {
    pub(crate) runtime: Runtime,
    watching: JoinSet<()>,
    complete: Arc<AtomicUsize>,
    on_event: Arc<OnEvent>,
}

impl Streams {
    /// Prepares streams. They call `on_event` for each presence after the snapshot.
    pub(crate) fn new(on_event: impl Fn(&Presence) + Send + Sync + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, watching: JoinSet::new(), complete: Arc::default(), on_event: Arc::new(on_event) }
    }

    /// Opens a stream for each list of users, and waits until all snapshots are complete.
    pub(crate) fn open(&mut self, at: SocketAddr, users: impl Iterator<Item = Vec<String>>) {
        let mut channel = None;
        for (number, user_ids) in users.enumerate() {
            if number % STREAMS_OF_CONNECTION == 0 {
                channel = Some(self.runtime.block_on(connect(at)));
            }
            let client = PresenceServiceClient::new(channel.clone().unwrap());
            let (complete, on_event) = (Arc::clone(&self.complete), Arc::clone(&self.on_event));
            let request = WatchPresencesRequest { user_ids, ..Default::default() };
            self.watching.spawn_on(watch(client, request, complete, on_event), self.runtime.handle());
        }
        self.completed();
    }

    /// Opens a stream of everybody, and waits until its snapshot is complete. It calls `on_event` also for
    /// the snapshot.
    pub(crate) fn open_everyone(&mut self, at: SocketAddr) {
        let client = PresenceServiceClient::new(self.runtime.block_on(connect(at)));
        let (complete, on_event) = (Arc::clone(&self.complete), Arc::clone(&self.on_event));
        let request = WatchPresencesRequest { everyone: true, ..Default::default() };
        self.watching.spawn_on(watch(client, request, complete, on_event), self.runtime.handle());
        self.completed();
    }

    fn completed(&mut self) {
        while self.complete.load(Ordering::Relaxed) < self.watching.len() {
            assert!(self.watching.try_join_next().is_none(), "a stream ended");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Opens a connection with a large window.
pub(crate) async fn connect(at: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let endpoint = endpoint.initial_connection_window_size(WINDOW_BYTES).tcp_nodelay(true);
    endpoint.connect().await.unwrap()
}

async fn watch(
    mut client: PresenceServiceClient<Channel>,
    request: WatchPresencesRequest,
    complete: Arc<AtomicUsize>,
    on_event: Arc<OnEvent>,
) {
    let mut in_snapshot = !request.everyone;
    let stream = client.watch_presences(request).await;
    let mut stream = stream.expect("a stream opens").into_inner();
    while let Some(response) = stream.message().await.expect("the stream continues") {
        match response.event.expect("an event") {
            Event::Presence(_) if in_snapshot => {}
            Event::Presence(presence) => on_event(&presence),
            Event::SnapshotComplete(_) => {
                in_snapshot = false;
                complete.fetch_add(1, Ordering::Relaxed);
            }
            Event::Heartbeat(_) => {}
        }
    }
}

/// The ids of the users of `bench`.
pub(crate) fn bench_users(numbers: Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("bench-{number}")).collect()
}
