//! Every background task of the process, in one list, each with a name.
//!
//! A background task runs until the service stops. The service is broken without any of them, so if
//! one ends or panics before, [`Tasks::ended`] resolves, and `commands` drains and exits.
//!
//! [`start`] is the list, except for two of the tasks that it receives: a worker starts its own thread,
//! and its batchers belong to that thread. A task of a connection, a request or a batch is not in the
//! list, because its end fails only its client's calls. Nor is the SDK's thread that sends traces:
//! it cannot be observed, and without it only spans are lost.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    admin::{self, Admin},
    auth::KeptCurrent,
    cleanup, sampler,
    server::{CertificateReader, Slots, accept, connections_max},
    settings::Settings,
    store::Store,
    telemetry::{Api, panic_text},
    watch::{self as watching, Sources},
    worker::{Parts, Worker},
};

/// A background task that ended before the service stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedTask {
    /// Its name.
    pub name: String,
    /// The text of its panic, if it panicked.
    pub panic: Option<String>,
}

impl fmt::Display for EndedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.panic {
            Some(text) => write!(f, "the background task {:?} panicked: {text}", self.name),
            None => write!(f, "the background task {:?} ended", self.name),
        }
    }
}

/// The background tasks of a service. Clones share them.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The name of each task, and the token that ends it.
    tasks: Mutex<Vec<(String, CancellationToken)>>,
    /// The first task that ended too early.
    ended: watch::Sender<Option<EndedTask>>,
    stop: CancellationToken,
}

impl Tasks {
    /// No tasks yet. They may end once `stop` is cancelled.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { tasks: Mutex::default(), ended: watch::Sender::new(None), stop }))
    }

    /// Starts a task on the current runtime. Names are unique.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (name, end) = (name.into(), CancellationToken::new());
        self.tasks().push((name.clone(), end.clone()));
        let running = Running { name, panic: None, shared: Arc::clone(&self.0) };
        tokio::spawn(async move {
            // The whole value moves here, so that it is dropped with the task.
            let mut running = running;
            let ended = AssertUnwindSafe(end.run_until_cancelled(task)).catch_unwind().await;
            running.panic = ended.err().map(|panic| panic_text(&*panic).to_owned());
        })
    }

    /// The names of all tasks.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.tasks().iter().map(|(name, _)| name.clone()).collect()
    }

    /// Ends the task with this name.
    pub fn end(&self, name: &str) {
        for (_, end) in self.tasks().iter().filter(|(other, _)| other == name) {
            end.cancel();
        }
    }

    /// Waits until a task ends although the service does not stop. Returns the first one.
    pub async fn ended(&self) -> EndedTask {
        let mut ended = self.0.ended.subscribe();
        loop {
            if let Some(task) = ended.borrow_and_update().clone() {
                return task;
            }
            // The sender lives as long as `self`.
            drop(ended.changed().await);
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<(String, CancellationToken)>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that runs. It is also dropped if its runtime ends.
struct Running {
    name: String,
    panic: Option<String>,
    shared: Arc<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.shared.stop.is_cancelled() && self.panic.is_none() {
            return;
        }
        let task = EndedTask { name: std::mem::take(&mut self.name), panic: self.panic.take() };
        self.shared.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(task);
            is_first
        });
    }
}

/// The parts of which only the background tasks know.
#[derive(Debug)]
pub struct Background {
    /// The store of the main runtime.
    pub store: Arc<dyn Store>,
    /// The store of the watch hub.
    pub watched: Arc<dyn Store>,
    /// The main runtime's store on the read replica, if there is one.
    pub replica: Option<Arc<dyn Store>>,
    /// What authentication keeps current.
    pub auth: KeptCurrent,
    /// Reads the certificates again; none without TLS.
    pub certificates: Option<CertificateReader>,
    /// The admin API, and its listener.
    pub admin: (Admin, TcpListener),
    /// The listeners of both APIs.
    pub listeners: [(Api, TcpListener); 2],
    /// The workers, whose threads run already.
    pub workers: Vec<Worker>,
    /// Resolves when the deliverer of notifications, whose thread runs already, has ended.
    pub deliverer: oneshot::Receiver<()>,
}

/// The tasks for which a stop waits.
#[derive(Debug)]
pub struct Handles {
    /// The tasks that accept connections, which end first.
    pub acceptors: Vec<JoinHandle<()>>,
    /// The workers and the deliverer, which end when all requests under way have completed.
    pub workers: Vec<JoinHandle<()>>,
    /// The tasks that use the store of the main runtime.
    pub store_users: Vec<JoinHandle<()>>,
}

/// Starts all background tasks. They end at `stop`, except for [`ADMIN`].
pub fn start(tasks: &Tasks, settings: &Settings, parts: &Parts, background: Background) -> Handles {
    let Background { store, watched, replica, auth, certificates, admin, listeners, workers, deliverer } =
        background;
    let Parts { database, clock, metrics, health, stop, streams, .. } = parts.clone();
    let sources = Sources {
        store: watched,
        invalidations: database.invalidations(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let cleaned = (Arc::clone(&store), clock.clone(), metrics.clone());
    let (retention, history) = (settings.retention, settings.history);
    let store_users = vec![
        tasks.spawn("health", health.watch(Arc::clone(&database), Arc::clone(&store), stop.clone())),
        tasks.spawn("hub", watching::run(streams.hub, sources, stop.clone())),
        tasks.spawn(
            "cleanup",
            cleanup::run(cleaned.0, cleaned.1, cleaned.2, retention, history, stop.clone()),
        ),
        tasks.spawn("sampler", sampler::run(store, metrics.clone(), stop.clone())),
    ];
    if database.is_distributed() {
        let (database, stop) = (Arc::clone(&database), stop.clone());
        tasks.spawn("shards", async move { database.follow_shards(stop).await });
    }
    if let Some((store, (_, health))) = replica.zip(parts.replica.clone()) {
        // The task closes its connection when it ends, if the process lives long enough.
        tasks.spawn("read replica", health.watch(store, clock, stop.clone()));
    }
    if let Some(keys) = auth.keys {
        tasks.spawn("token keys", keys.run(stop.clone()));
    }
    if let Some(rates) = auth.rates {
        tasks.spawn("rate limits", rates.run(stop.clone()));
    }
    if let Some(certificates) = certificates {
        tasks.spawn("certificates", certificates.run(stop.clone()));
    }
    tasks.spawn(ADMIN, admin::serve(admin.0, admin.1));

    let connections_max = connections_max(settings.limits.connections_max);
    let acceptors = listeners.into_iter().map(|(api, listener)| {
        let incoming = workers.iter().map(|worker| worker.incoming.clone()).collect();
        let slots = Slots::new(connections_max, metrics.clients().of(api));
        tasks
            .spawn(format!("{} acceptor", api.as_str()), accept(api, listener, slots, incoming, stop.clone()))
    });
    let acceptors = acceptors.collect();
    let workers = workers.into_iter().map(|worker| {
        let ended = async move {
            let statement = worker.service.batcher_ended().await;
            error!(statement, "the dispatcher of a batcher ended");
        };
        let ended = stop.clone().run_until_cancelled_owned(ended).map(drop);
        tasks.spawn(format!("{} batchers", worker.name), ended);
        // An error means that the thread has panicked.
        tasks.spawn(worker.name, worker.ended.map(drop))
    });
    // An error means that its thread has panicked.
    let deliverer = tasks.spawn("deliverer", deliverer.map(drop));
    Handles { acceptors, workers: workers.chain([deliverer]).collect(), store_users }
}

/// The task that serves the admin API. It ends when [`Tasks::end`] is called, last of all.
pub const ADMIN: &str = "admin";

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::{task::yield_now, time::timeout};

    use super::*;

    fn tasks() -> (Tasks, CancellationToken) {
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        drop(tasks.spawn("lasting", pending()));
        (tasks, stop)
    }

    #[tokio::test]
    async fn a_task_that_ends_is_named() {
        let (tasks, _stop) = tasks();
        drop(tasks.spawn("short", yield_now()));
        assert_eq!(tasks.ended().await, EndedTask { name: "short".to_owned(), panic: None });
        assert_eq!(tasks.names(), ["lasting", "short"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named_with_the_text_of_the_panic() {
        for (task, text) in [(0, "a text"), (1, "index 7")] {
            let (tasks, _stop) = tasks();
            drop(tasks.spawn("broken", async move {
                yield_now().await;
                if task == 0 { panic!("a text") } else { panic!("index {}", task + 6) }
            }));
            let ended = tasks.ended().await;
            assert_eq!(ended, EndedTask { name: "broken".to_owned(), panic: Some(text.to_owned()) });
            assert!(ended.to_string().contains("\"broken\" panicked: "), "{ended}");
        }
    }

    #[tokio::test]
    async fn the_first_of_several_ended_tasks_is_named_also_to_one_that_asks_later() {
        let (tasks, _stop) = tasks();
        for name in ["first", "second"] {
            tasks.spawn(name, async {}).await.unwrap();
        }
        assert_eq!([tasks.ended().await.name, tasks.ended().await.name], ["first", "first"]);
    }

    #[tokio::test]
    async fn a_task_whose_runtime_ends_is_named() {
        let (tasks, _stop) = tasks();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let entered = runtime.enter();
        drop(tasks.spawn("dropped", pending()));
        drop(entered);
        runtime.shutdown_background();
        assert_eq!(tasks.ended().await.name, "dropped");
    }

    #[tokio::test]
    async fn a_task_may_end_after_stop_but_not_panic() {
        let (tasks, stop) = tasks();
        stop.cancel();
        tasks.spawn("ends", async {}).await.unwrap();
        tasks.end("lasting");
        assert!(timeout(Duration::from_millis(50), tasks.ended()).await.is_err());
        tasks.spawn("panics", async { panic!("at the end") }).await.unwrap();
        assert_eq!(tasks.ended().await.name, "panics");
    }
}
