//! Connections that do everything at random.

use std::{
    collections::BTreeMap,
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::{
    connect,
    pb::{Activity, Availability, BatchGetPresencesRequest, HoldPresenceRequest, WatchPresencesRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::codegen::tokio_stream::{StreamExt, iter, pending};

use crate::attacks::{Half, Http2, Notes, get_all, read_at};

/// The pace of a reader in bytes a second, and its window.
const READ_PACE: u32 = 32_000;
/// A client that read this much in this time before a cut was reading, and had not stalled: the
/// service allows no less when its memory is short.
const READING: Duration = Duration::from_secs(2);
const READING_BYTES: usize = 16 * 1_024;
/// The requests of a connection that stalls, sends halves or cancels.
const REQUESTS: usize = 4;
/// The reads of a fan-out.
const READS: usize = 10;
/// The pause between two fan-outs.
const FAN_OUT_EVERY: Duration = Duration::from_secs(2);
/// The users of a stream.
const USERS: usize = 50;
/// The window of HTTP/2 by default.
const WINDOW: u32 = 65_535;

/// What a connection does for some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Reads a large response at [`READ_PACE`].
    Read,
    /// Reads no byte, or one a second, of large responses.
    Stall,
    /// Sends requests without their end.
    Halves,
    /// Cancels a fan-out at the first response.
    Cancel,
    Hold,
    Watch,
    /// Follows a stream of events over HTTP/1.1.
    Events,
    /// One request over HTTP/1.1, and then nothing.
    Idle,
}

impl Kind {
    fn random() -> Self {
        match fastrand::u32(..100) {
            0..10 => Self::Read,
            10..16 => Self::Stall,
            16..22 => Self::Halves,
            22..32 => Self::Cancel,
            32..50 => Self::Hold,
            50..60 => Self::Watch,
            60..75 => Self::Events,
            _ => Self::Idle,
        }
    }

    /// Whether it can hold up a drain for as long as the service allows.
    const fn is_rude(self) -> bool {
        matches!(self, Self::Stall | Self::Halves)
    }
}

/// All connections.
pub(super) struct Crowd {
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    grpc: SocketAddr,
    http: SocketAddr,
    /// Whether connections may not be rude.
    polite: watch::Sender<bool>,
    notes: Notes,
    complete: AtomicUsize,
    /// When readers saw that their response was cut.
    cuts: Mutex<Vec<Instant>>,
}

impl Crowd {
    pub(super) fn start(connections: usize, grpc: SocketAddr, http: SocketAddr) -> Self {
        let state = Arc::new(State {
            grpc,
            http,
            polite: watch::Sender::new(false),
            notes: Notes::default(),
            complete: AtomicUsize::new(0),
            cuts: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            tasks.spawn(Arc::clone(&state).run(number));
        }
        Self { state, _tasks: tasks }
    }

    /// Ends what is rude, or allows it again.
    pub(super) fn set_polite(&self, polite: bool) {
        self.state.polite.send_replace(polite);
    }

    /// The large responses that readers got completely.
    pub(super) fn complete(&self) -> usize {
        self.state.complete.load(Ordering::Relaxed)
    }

    /// When readers saw that their response was cut, since the last call.
    pub(super) fn take_cuts(&self) -> Vec<Instant> {
        mem::take(&mut self.state.cuts.lock().unwrap())
    }

    /// How often each thing was done.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.state.notes.seen().counts
    }
}

impl State {
    async fn run(self: Arc<Self>, number: usize) {
        loop {
            sleep(Duration::from_millis(fastrand::u64(..1_000))).await;
            let kind = Kind::random();
            let polite = *self.polite.borrow();
            if polite && kind.is_rude() {
                continue;
            }
            let mut change = self.polite.subscribe();
            let length = Duration::from_secs(fastrand::u64(5..30));
            let done = tokio::select! {
                done = self.act(kind, number, length) => done,
                () = async { drop(change.wait_for(|polite| *polite).await) }, if kind.is_rude() => Some(()),
            };
            let end = if done.is_some() { "" } else { " ended" };
            self.notes.count(format!("{kind:?}{end}"));
        }
    }

    /// Does it for a while; `None` if it was refused or its connection was lost.
    async fn act(&self, kind: Kind, number: usize, length: Duration) -> Option<()> {
        let action = async {
            match kind {
                Kind::Read => self.read().await,
                Kind::Stall => self.stall().await,
                Kind::Halves => self.halves().await,
                Kind::Cancel => self.cancel().await,
                Kind::Hold => self.hold(number).await,
                Kind::Watch => self.watch().await,
                Kind::Events => self.http1(&events_path()).await,
                Kind::Idle => self.http1(&format!("/v1.0/users/user-{number}/presence")).await,
            }
        };
        // A reader reads to the end.
        if kind == Kind::Read { action.await } else { timeout(length, action).await.unwrap_or(Some(())) }
    }

    async fn read(&self) -> Option<()> {
        let connection = Http2::connect(self.http, READ_PACE / 2).await?;
        let (request, body) = get_all();
        let mut response = connection.send(request, body).await.ok()?;
        if response.status() != 200 {
            return None;
        }
        let length: usize = response.headers().get("content-length")?.to_str().ok()?.parse().ok()?;
        let parts = Mutex::new(Vec::new());
        let progress = |part| parts.lock().unwrap().push((Instant::now(), part));
        if read_at(response.body_mut(), READ_PACE, progress).await.is_ok_and(|read| read == length) {
            self.complete.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        let parts = parts.into_inner().unwrap();
        let recent = parts.iter().filter(|(at, _)| at.elapsed() < READING).map(|(_, part)| part);
        if recent.sum::<usize>() >= READING_BYTES {
            self.cuts.lock().unwrap().push(Instant::now());
        }
        None
    }

    async fn stall(&self) -> Option<()> {
        let window = fastrand::u32(..2);
        let connection = Arc::new(Http2::connect(self.http, window).await?);
        let mut reads = JoinSet::new();
        for _ in 0..REQUESTS {
            let connection = Arc::clone(&connection);
            reads.spawn(async move {
                let (request, body) = get_all();
                let mut response = connection.send(request, body).await.ok()?;
                read_at(response.body_mut(), window, |_| ()).await.ok().map(drop)
            });
        }
        reads.join_all().await.into_iter().collect()
    }

    async fn halves(&self) -> Option<()> {
        let to_http = fastrand::bool();
        let (address, half) = if to_http { (self.http, Half::body()) } else { (self.grpc, Half::message()) };
        let connection = Arc::new(Http2::connect(address, WINDOW).await?);
        let mut requests = JoinSet::new();
        for _ in 0..REQUESTS {
            let (connection, half) = (Arc::clone(&connection), half.clone());
            requests.spawn(async move { half.send(&connection).await.ok().map(drop) });
        }
        requests.join_all().await.into_iter().collect()
    }

    async fn cancel(&self) -> Option<()> {
        let client = connect(self.grpc);
        loop {
            let mut reads = JoinSet::new();
            for read in 0..READS {
                let mut client = client.clone();
                let user_ids = vec![format!("user-{read}")];
                let request = BatchGetPresencesRequest { user_ids, ..Default::default() };
                reads.spawn(async move { client.batch_get_presences(request).await.map(drop) });
            }
            reads.join_next().await?.unwrap().ok()?;
            reads.shutdown().await;
            sleep(FAN_OUT_EVERY).await;
        }
    }

    async fn hold(&self, number: usize) -> Option<()> {
        let message = HoldPresenceRequest {
            user_id: format!("held-{number}"),
            session_id: "app".to_owned(),
            availability: Availability::Busy.into(),
            activity: Activity::InACall.into(),
            ..Default::default()
        };
        let mut client = connect(self.grpc);
        let stream = client.hold_presence(iter([message]).chain(pending())).await.ok()?;
        let mut stream = stream.into_inner();
        while stream.message().await.ok()?.is_some() {}
        None
    }

    async fn watch(&self) -> Option<()> {
        let request = WatchPresencesRequest { user_ids: watched().collect(), ..Default::default() };
        let mut client = connect(self.grpc);
        let mut stream = client.watch_presences(request).await.ok()?.into_inner();
        while stream.message().await.ok()?.is_some() {}
        None
    }

    /// Sends a request, and reads until the service closes the connection.
    async fn http1(&self, path: &str) -> Option<()> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut bytes = [0; 1_024];
        while stream.read(&mut bytes).await.ok()? > 0 {}
        None
    }
}

/// The users that all streams watch.
fn watched() -> impl Iterator<Item = String> {
    (0..USERS).map(|user| format!("held-{user}"))
}

fn events_path() -> String {
    format!("/v1.0/communications/watchPresences?ids={}", watched().collect::<Vec<_>>().join(","))
}
