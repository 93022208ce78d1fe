//! Callers of a service whose database fails, and the responses that they get.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use presenced_tools::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use super::{Client, Row, connect};
use presenced_tools::{
    machine::memory,
    process::{Process, command},
};

/// The limit of the response time, with a margin for a busy machine.
const RESPONSE_WITHIN: Duration = Duration::from_millis(3_500);
/// The limit of the time until a write succeeds again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The memory that a fault may add in MiB: full queues, and many connections.
const MEMORY: u64 = 100;
/// The queue's limit in the service's one worker: far fewer than the callers.
const QUEUE_MAX: usize = 1_000;
const CALLERS_OF_A_CONNECTION: usize = 200;
/// A caller's pause after a response.
const PAUSE: Duration = Duration::from_millis(250);
/// The time of calls before the fault.
const WARM_UP: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);

/// The extent of the load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: usize,
    pub length: Duration,
}

/// The calls that fail during a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// All calls.
    Everything,
    /// All calls, and so slowly that the queues fill if there are enough callers.
    EverythingLate,
    /// Most writes; reads succeed.
    Writes,
    /// Some calls of any kind.
    Something,
}

/// The responses of all callers, by operation and code.
#[derive(Debug, Default)]
pub struct Responses {
    counts: BTreeMap<(&'static str, String), usize>,
    slowest: Duration,
    /// The service's peak memory in MiB.
    peak: u64,
}

impl Responses {
    fn record(&mut self, operation: &'static str, code: String, took: Duration) {
        *self.counts.entry((operation, code)).or_default() += 1;
        self.slowest = self.slowest.max(took);
    }

    fn calls(&self) -> usize {
        self.counts.values().sum()
    }

    /// The number of responses that match.
    fn count(&self, of: impl Fn(&str, &str) -> bool) -> usize {
        self.counts.iter().filter(|((operation, code), _)| of(operation, code)).map(|(_, calls)| calls).sum()
    }
}

/// A service with callers at both APIs.
pub struct Bench {
    name: String,
    process: Process,
    load: Load,
    before: u64,
}

impl Bench {
    /// Starts the service, and checks that calls succeed.
    pub async fn start(name: &str, url: &str, load: Load) -> Self {
        let mut with_queue = command();
        with_queue.env("PRESENCE_TEST_QUEUE_MAX", QUEUE_MAX.to_string());
        let process = Process::start_by(with_queue, url, &["--workers", "1"]).await;
        let mut bench = Self { name: name.to_owned(), process, load, before: 0 };
        // The same number of callers as later, so that `before` includes their connections.
        let responses = bench.call(load.callers, WARM_UP).await;
        assert!(responses.count(|_, code| is_done(code)) > 0, "{responses:?}");
        bench.before = memory(bench.process.child.id());
        bench
    }

    /// Calls during the fault.
    pub async fn call_during_fault(&self) -> Responses {
        // Calls that were pending when the fault began may still succeed.
        sleep(Duration::from_millis(100)).await;
        self.call(self.load.callers, self.load.length).await
    }

    /// Waits until the service recovers. Returns the row.
    pub async fn recover(self, responses: &Responses, fails: Fails) -> Row {
        let well = Instant::now();
        let mut client = connect(self.process.grpc);
        let works = async { while set(&mut client, "first").await != Code::Ok {} };
        timeout(PATIENCE, works).await.expect("a write succeeds again");
        let back = well.elapsed();
        self.process.wait_until_ready(PATIENCE).await;
        let ready = well.elapsed();
        let after = memory(self.process.child.id());
        let Responses { slowest, peak, .. } = responses;
        let mut figure = format!("slowest response {slowest:.2?};");
        for ((operation, code), calls) in &responses.counts {
            write!(figure, " {operation} {code} {calls},").unwrap();
        }
        write!(figure, " MiB {} before, {peak} at most, {after} after;", self.before).unwrap();
        write!(figure, " first success after {back:.2?}, ready after {ready:.2?}").unwrap();
        let bounded = *peak <= self.before + MEMORY && after <= self.before + MEMORY;
        Row {
            property: format!("database {}: responds in time with the right codes; recovers", self.name),
            tried: format!("{} calls of {} callers", responses.calls(), self.load.callers),
            figure,
            held: *slowest <= RESPONSE_WITHIN
                && back <= BACK_WITHIN
                && bounded
                && self.has_right_codes(responses, fails),
        }
    }

    fn has_right_codes(&self, responses: &Responses, fails: Fails) -> bool {
        // Half of the callers set, and half get.
        let fill = self.load.callers > 2 * QUEUE_MAX;
        let [done, sets, refused] = [
            responses.count(|_, code| is_done(code)),
            responses.count(|operation, code| operation == "set" && is_done(code)),
            responses.count(|_, code| is_refusal(code)),
        ];
        let unavailable = responses.count(|_, code| matches!(code, "Unavailable" | "503"));
        done + refused == responses.calls()
            && match fails {
                Fails::Everything => done == 0 && unavailable > 0,
                Fails::EverythingLate => done == 0 && unavailable > 0 && (unavailable < refused || !fill),
                Fails::Writes => {
                    unavailable > 0 && sets * 10 < responses.count(|operation, _| operation == "set")
                }
                Fails::Something => true,
            }
    }

    /// Lets each caller set and get in turn, at one of the APIs, for `length`.
    async fn call(&self, callers: usize, length: Duration) -> Responses {
        let (over, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let turn = Arc::new(AtomicUsize::new(0));
        let http = reqwest::Client::new();
        let clients: Vec<_> =
            (0..callers.div_ceil(CALLERS_OF_A_CONNECTION)).map(|_| connect(self.process.grpc)).collect();
        for caller in 0..callers {
            let caller = Caller {
                grpc: clients[caller / CALLERS_OF_A_CONNECTION].clone(),
                // One in fifty uses the HTTP API.
                http: (caller.is_multiple_of(50)).then(|| (http.clone(), self.process.http)),
                over: Arc::clone(&over),
                turn: Arc::clone(&turn),
            };
            tasks.spawn(caller.run());
        }
        let mut responses = Responses::default();
        let watch = Instant::now();
        while watch.elapsed() < length {
            responses.peak = responses.peak.max(memory(self.process.child.id()));
            sleep(Duration::from_millis(50)).await;
        }
        over.store(true, Ordering::Relaxed);
        while let Some(one) = tasks.join_next().await {
            for (operation, code, took) in one.unwrap() {
                responses.record(operation, code, took);
            }
        }
        responses
    }
}

struct Caller {
    grpc: Client,
    http: Option<(reqwest::Client, SocketAddr)>,
    over: Arc<AtomicBool>,
    turn: Arc<AtomicUsize>,
}

impl Caller {
    async fn run(mut self) -> Vec<(&'static str, String, Duration)> {
        let mut responses = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            // Each set opens the session of a new user, so the table grows.
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let user = format!("user-{turn}");
            let operation = if turn.is_multiple_of(2) { "set" } else { "get" };
            let stopwatch = Instant::now();
            let code = match (&self.http, operation) {
                (Some((http, address)), _) => graph(http, *address, operation, &user).await,
                (None, "set") => format!("{:?}", set(&mut self.grpc, &user).await),
                (None, _) => format!("{:?}", get(&mut self.grpc, &user).await),
            };
            responses.push((operation, code, stopwatch.elapsed()));
            sleep(PAUSE).await;
        }
        responses
    }
}

async fn set(client: &mut Client, user: &str) -> Code {
    let request = SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
        ..Default::default()
    };
    client.set_presence(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn get(client: &mut Client, user: &str) -> Code {
    let request = GetPresenceRequest { user_id: user.to_owned(), ..Default::default() };
    client.get_presence(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The same over HTTP. Returns the status.
async fn graph(http: &reqwest::Client, address: SocketAddr, operation: &str, user: &str) -> String {
    let path = format!("http://{address}/v1.0/users/{user}/presence");
    let body = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
    let request = match operation {
        "set" => http.post(path + "/setPresence").body(body).header("content-type", "application/json"),
        _ => http.get(path),
    };
    request
        .send()
        .await
        .map_or_else(|error| error.to_string(), |response| response.status().as_u16().to_string())
}

fn is_done(code: &str) -> bool {
    matches!(code, "Ok" | "200")
}

fn is_refusal(code: &str) -> bool {
    matches!(code, "Unavailable" | "ResourceExhausted" | "503" | "429")
}
