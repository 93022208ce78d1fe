//! Callers of a service whose database has a bad day, and what they are told.

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

/// Within this everybody is answered, the delay of a busy machine included.
const ANSWERED_WITHIN: Duration = Duration::from_millis(3_500);
/// Within this a write succeeds again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// What a fault may add to the memory, in MiB: full queues, and many connections.
const MEMORY: u64 = 100;
/// The members that may wait in the service's one worker: far fewer than call.
const QUEUE_MAX: usize = 1_000;
const CALLERS_OF_A_CONNECTION: usize = 200;
/// How long a caller waits after an answer.
const PAUSE: Duration = Duration::from_millis(250);
/// How long they call before the fault.
const WARM_UP: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: usize,
    pub length: Duration,
}

/// What can't be done while a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    Everything,
    /// And so slowly that the queues fill, if there are callers enough.
    EverythingLate,
    /// Reads go on, and so may some writes, for which there is room.
    Writes,
    /// Some of all.
    Something,
}

/// What callers were told: an operation and the answer's code.
#[derive(Debug, Default)]
pub struct Felt {
    answers: BTreeMap<(&'static str, String), usize>,
    slowest: Duration,
    /// In use by the service at most, in MiB.
    peak: u64,
}

impl Felt {
    fn answered(&mut self, operation: &'static str, code: String, took: Duration) {
        *self.answers.entry((operation, code)).or_default() += 1;
        self.slowest = self.slowest.max(took);
    }

    fn calls(&self) -> usize {
        self.answers.values().sum()
    }

    /// Of the calls that were answered so.
    fn count(&self, of: impl Fn(&str, &str) -> bool) -> usize {
        self.answers.iter().filter(|((operation, code), _)| of(operation, code)).map(|(_, calls)| calls).sum()
    }
}

/// A service, with callers at both its APIs.
pub struct Bench {
    name: String,
    process: Process,
    load: Load,
    before: u64,
}

impl Bench {
    /// Starts the service; all that is called works.
    pub async fn start(name: &str, url: &str, load: Load) -> Self {
        let mut with_queue = command();
        with_queue.env("PRESENCE_TEST_QUEUE_MAX", QUEUE_MAX.to_string());
        let process = Process::start_by(with_queue, url, &["--workers", "1"]).await;
        let mut bench = Self { name: name.to_owned(), process, load, before: 0 };
        // As many callers as later, so that their connections are counted before.
        let felt = bench.call(load.callers, WARM_UP).await;
        assert!(felt.count(|_, code| is_done(code)) > 0, "{felt:?}");
        bench.before = memory(bench.process.child.id());
        bench
    }

    /// Calls for as long as the fault lasts.
    pub async fn suffer(&self) -> Felt {
        // What was under way when it began may have been done.
        sleep(Duration::from_millis(100)).await;
        self.call(self.load.callers, self.load.length).await
    }

    /// Waits until it works again; what came of it all.
    pub async fn recover(self, felt: &Felt, fails: Fails) -> Row {
        let well = Instant::now();
        let mut client = connect(self.process.grpc);
        let works = async { while set(&mut client, "first").await != Code::Ok {} };
        timeout(PATIENCE, works).await.expect("it works again");
        let back = well.elapsed();
        self.process.wait_until_ready(PATIENCE).await;
        let ready = well.elapsed();
        let after = memory(self.process.child.id());
        let Felt { slowest, peak, .. } = felt;
        let mut figure = format!("slowest answer {slowest:.2?};");
        for ((operation, code), calls) in &felt.answers {
            write!(figure, " {operation} {code} {calls},").unwrap();
        }
        write!(figure, " MiB {} before, {peak} at most, {after} after;", self.before).unwrap();
        write!(figure, " first success after {back:.2?}, ready after {ready:.2?}").unwrap();
        let bounded = *peak <= self.before + MEMORY && after <= self.before + MEMORY;
        Row {
            property: format!("database {}: answers in time, with the right codes; comes back", self.name),
            tried: format!("{} calls of {} callers", felt.calls(), self.load.callers),
            figure,
            held: *slowest <= ANSWERED_WITHIN
                && back <= BACK_WITHIN
                && bounded
                && self.has_right_codes(felt, fails),
        }
    }

    fn has_right_codes(&self, felt: &Felt, fails: Fails) -> bool {
        // Half of them set, and half get.
        let fill = self.load.callers > 2 * QUEUE_MAX;
        let [done, sets, refused] = [
            felt.count(|_, code| is_done(code)),
            felt.count(|operation, code| operation == "set" && is_done(code)),
            felt.count(|_, code| is_refusal(code)),
        ];
        let unavailable = felt.count(|_, code| matches!(code, "Unavailable" | "503"));
        done + refused == felt.calls()
            && match fails {
                Fails::Everything => done == 0 && unavailable > 0,
                Fails::EverythingLate => done == 0 && unavailable > 0 && (unavailable < refused || !fill),
                Fails::Writes => unavailable > 0 && sets * 10 < felt.count(|operation, _| operation == "set"),
                Fails::Something => true,
            }
    }

    /// Each caller sets and gets in turn, each at one of the APIs, for so long.
    async fn call(&self, callers: usize, length: Duration) -> Felt {
        let (over, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let turn = Arc::new(AtomicUsize::new(0));
        let http = reqwest::Client::new();
        let clients: Vec<_> =
            (0..callers.div_ceil(CALLERS_OF_A_CONNECTION)).map(|_| connect(self.process.grpc)).collect();
        for caller in 0..callers {
            let caller = Caller {
                grpc: clients[caller / CALLERS_OF_A_CONNECTION].clone(),
                // One in fifty comes by the other API.
                http: (caller.is_multiple_of(50)).then(|| (http.clone(), self.process.http)),
                over: Arc::clone(&over),
                turn: Arc::clone(&turn),
            };
            tasks.spawn(caller.run());
        }
        let mut felt = Felt::default();
        let watch = Instant::now();
        while watch.elapsed() < length {
            felt.peak = felt.peak.max(memory(self.process.child.id()));
            sleep(Duration::from_millis(50)).await;
        }
        over.store(true, Ordering::Relaxed);
        while let Some(one) = tasks.join_next().await {
            for (operation, code, took) in one.unwrap() {
                felt.answered(operation, code, took);
            }
        }
        felt
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
        let mut answers = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            // A user that nobody has set yet: it takes room.
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let user = format!("user-{turn}");
            let operation = if turn.is_multiple_of(2) { "set" } else { "get" };
            let stopwatch = Instant::now();
            let code = match (&self.http, operation) {
                (Some((http, address)), _) => graph(http, *address, operation, &user).await,
                (None, "set") => format!("{:?}", set(&mut self.grpc, &user).await),
                (None, _) => format!("{:?}", get(&mut self.grpc, &user).await),
            };
            answers.push((operation, code, stopwatch.elapsed()));
            sleep(PAUSE).await;
        }
        answers
    }
}

async fn set(client: &mut Client, user: &str) -> Code {
    let request = SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
    };
    client.set_presence(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn get(client: &mut Client, user: &str) -> Code {
    let request = GetPresenceRequest { user_id: user.to_owned() };
    client.get_presence(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The same over HTTP; the status.
async fn graph(http: &reqwest::Client, address: SocketAddr, operation: &str, user: &str) -> String {
    let path = format!("http://{address}/v1.0/users/{user}/presence");
    let body = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
    let request = match operation {
        "set" => http.post(path + "/setPresence").body(body).header("content-type", "application/json"),
        _ => http.get(path),
    };
    request.send().await.map_or_else(|error| error.to_string(), |answer| answer.status().as_u16().to_string())
}

fn is_done(code: &str) -> bool {
    matches!(code, "Ok" | "200")
}

fn is_refusal(code: &str) -> bool {
    matches!(code, "Unavailable" | "ResourceExhausted" | "503" | "429")
}
