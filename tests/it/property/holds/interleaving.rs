//! One random interleaving of streams and other callers on one session.

use std::time::Duration;

use fastrand::Rng;
use presenced::{
    app::Addresses,
    clock::{Clock, Stopwatch},
};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    model::{ENDED, Model, State, held, set},
    report::Report,
    stream::{End, Stream},
};
use crate::support::{
    client::{Client, Outcome},
    proxy::Network,
    wait::eventually,
};

const PAIRS: [&str; 5] =
    ["Busy/InACall", "Busy/InAConferenceCall", "Away/Away", "DoNotDisturb/Presenting", "Available/Available"];
const STREAMS_MAX: usize = 3;
/// The number of waits for an extension, which takes 2.5 s.
const WAITS_MAX: usize = 2;
const INTERVAL: Duration = Duration::from_millis(2_500);
/// The tolerance between the clocks of the test and of the service, and for a busy machine.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A replica, through both APIs.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) addresses: Addresses,
    pub(super) clients: [Client; 2],
}

/// A call that takes the session from its stream, if it has one.
enum Taking {
    /// A set or a clear by another caller.
    Call { result: JoinHandle<Outcome>, state: State, replica: usize },
    /// A new stream, by its number.
    Open(usize, State),
}

pub(super) struct Interleaving<'a> {
    replicas: &'a [Replica],
    user: String,
    random: Rng,
    stopwatch: Stopwatch,
    model: Model,
    streams: Vec<Stream>,
    /// The streams that lost the session, when that was acknowledged, and by which replica.
    losses: Vec<(usize, Duration, usize)>,
    waits_left: usize,
    report: Report,
    /// What happened, which is printed if an assertion fails.
    log: Vec<String>,
}

impl Drop for Interleaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{} failed after {:#?}, {:#?}", self.user, self.log, self.model);
        }
    }
}

impl<'a> Interleaving<'a> {
    pub(super) fn new(replicas: &'a [Replica], user: String, seed: u64, stopwatch: Stopwatch) -> Self {
        Self {
            replicas,
            user,
            random: Rng::with_seed(seed),
            stopwatch,
            model: Model::new(),
            streams: Vec::new(),
            losses: Vec::new(),
            waits_left: WAITS_MAX,
            report: Report::default(),
            log: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) -> Report {
        for _ in 0..self.random.usize(3..=10) {
            self.step().await;
            let replica = self.random_replica();
            self.check_shown(replica).await;
        }
        self.hear_of_losses().await;
        self.pause(200).await;
        for replica in 0..self.replicas.len() {
            self.check_shown(replica).await;
        }
        self.report.extensions = self.streams.iter().map(|stream| stream.seen().extensions).sum();
        std::mem::take(&mut self.report)
    }

    async fn step(&mut self) {
        let sender = self.random_stream(Stream::can_send);
        let open = self.random_stream(Stream::is_open);
        match (self.random.u8(..14), sender, open) {
            (0 | 1, Some(stream), _) => self.message(stream).await,
            (2, Some(stream), _) => self.half_close(stream).await,
            (3, _, Some(stream)) => {
                self.log(&format!("cancel {stream}"));
                self.streams[stream].cancel().await;
            }
            (4 | 5, _, Some(_)) => self.extension().await,
            (6 | 7, Some(stream), _) => self.race(stream).await,
            (8, Some(stream), _) => self.lose_message(stream).await,
            (9, ..) => self.lose_call().await,
            (10 | 11, ..) | (_, _, None) if self.streams.len() < STREAMS_MAX => {
                let taking = self.open().await;
                self.finish(taking).await;
            }
            _ => {
                let taking = self.call();
                self.finish(taking).await;
            }
        }
    }

    /// A message of a stream, which may have lost the session.
    async fn message(&mut self, stream: usize) {
        let pair = self.random_pair();
        self.log(&format!("message {pair} on {stream}"));
        self.streams[stream].send(pair);
        self.model.sent(stream, held(pair, stream));
        self.respond(stream, held(pair, stream)).await;
    }

    /// Waits for the response to what a stream sent last.
    async fn respond(&mut self, stream: usize, effect: State) {
        match self.streams[stream].acknowledged().await {
            Ok(()) => {
                assert!(self.model.may_own(stream), "stream {stream} had lost the session");
                self.model.applied(stream, effect);
                self.report.acknowledged += 1;
            }
            Err(end) => self.ended(stream, end),
        }
    }

    async fn half_close(&mut self, stream: usize) {
        self.log(&format!("end of {stream}"));
        self.streams[stream].half_close();
        self.model.sent(stream, ENDED);
        let end = self.streams[stream].end().await;
        self.ended(stream, end);
    }

    /// Notes the end of a stream.
    fn ended(&mut self, stream: usize, end: End) {
        self.log(&format!("{stream} ended: {end:?}"));
        match end {
            End::Clean => {
                self.model.applied(stream, ENDED);
                self.report.acknowledged += 1;
            }
            End::Taken => self.model.disowned(stream),
            End::Unavailable => self.report.unavailable += 1,
            End::Broken => panic!("stream {stream} broke"),
        }
    }

    /// Waits for an extension of the session.
    async fn extension(&mut self) {
        let Some(owner) = self.model.owner().filter(|owner| self.streams[*owner].is_open()) else { return };
        if self.waits_left == 0 {
            return;
        }
        self.waits_left -= 1;
        let stream = &mut self.streams[owner];
        let extensions = stream.seen().extensions;
        if let Err(end) = stream.until(|seen| seen.extensions > extensions).await {
            self.ended(owner, end);
        }
        self.log(&format!("{owner} was extended"));
    }

    /// A message, the end or the extension of a stream beside a call that takes the session.
    async fn race(&mut self, stream: usize) {
        let at_extension = self.waits_left > 0 && self.random.u8(..3) == 0;
        if at_extension {
            self.waits_left -= 1;
            sleep(INTERVAL.saturating_sub(Duration::from_millis(self.random.u64(..40)))).await;
            if !self.streams[stream].is_open() {
                return;
            }
        }
        let taking = if self.random.bool() { Some(self.taking().await) } else { None };
        self.pause(3).await;
        let pair = self.random_pair();
        let does_end = self.random.u8(..3) == 0;
        let effect = if does_end { ENDED } else { held(pair, stream) };
        self.log(&format!("race: {effect:?} by {stream}"));
        self.model.sent(stream, effect);
        if does_end {
            self.streams[stream].half_close();
        } else if !at_extension {
            self.streams[stream].send(pair);
        }
        let taking = if let Some(taking) = taking {
            taking
        } else {
            self.pause(3).await;
            self.taking().await
        };
        let may_own = self.model.may_own(stream);
        self.finish(taking).await;
        let stream_of = &mut self.streams[stream];
        let response = if does_end { Err(stream_of.end().await) } else { stream_of.acknowledged().await };
        match response {
            Ok(()) if at_extension => {}
            Ok(()) => {
                assert!(may_own, "stream {stream} had lost the session");
                self.model.applied(stream, effect);
            }
            Err(end) => self.ended(stream, end),
        }
    }

    /// A message, and perhaps the end, whose response is lost.
    async fn lose_message(&mut self, stream: usize) {
        let pair = self.random_pair();
        self.log(&format!("message {pair} on {stream}, and its connection breaks"));
        self.report.lost += 1;
        self.streams[stream].send(pair);
        self.model.sent(stream, held(pair, stream));
        if self.random.u8(..4) == 0 {
            self.streams[stream].half_close();
            self.model.sent(stream, ENDED);
        }
        self.pause(4).await;
        let network = if self.random.bool() { Network::Cut } else { Network::Reset };
        self.streams[stream].break_off(network).await;
    }

    /// A call that takes the session, whose response is lost.
    async fn lose_call(&mut self) {
        self.report.lost += 1;
        let taking = self.taking().await;
        self.pause(4).await;
        self.log("its response is lost");
        match taking {
            Taking::Call { result, state, .. } => {
                result.abort();
                self.model.lost(state);
            }
            Taking::Open(stream, state) => {
                self.streams[stream].break_off(Network::Reset).await;
                self.model.lost(state);
            }
        }
    }

    async fn taking(&mut self) -> Taking {
        if self.streams.len() < STREAMS_MAX && self.random.bool() { self.open().await } else { self.call() }
    }

    /// Begins to open another stream.
    async fn open(&mut self) -> Taking {
        let (replica, pair) = (self.random_replica(), self.random_pair());
        let (keep, can_break) = (self.random.u8(..4) == 0, self.random.u8(..4) == 0);
        let number = self.streams.len();
        self.log(&format!("open {number} with {pair} on {replica}, keep: {keep}, proxy: {can_break}"));
        let at = (replica, self.replicas[replica].addresses);
        let stream = Stream::open(at, (&self.user, pair), keep, can_break, self.stopwatch).await;
        self.streams.push(stream);
        Taking::Open(number, held(pair, number))
    }

    /// Begins a set or a clear by another caller.
    fn call(&mut self) -> Taking {
        let (replica, user) = (self.random_replica(), self.user.clone());
        let pair = (self.random.u8(..3) > 0).then(|| self.random_pair());
        let client = self.random.choice(self.replicas[replica].clients.clone()).unwrap();
        self.log(&format!("set {pair:?} on {replica}"));
        let result = tokio::spawn(async move {
            match pair {
                Some(pair) => client.set(&user, "app", pair, "PT1H").await,
                None => client.clear(&user, "app").await,
            }
        });
        Taking::Call { result, state: pair.map_or(ENDED, set), replica }
    }

    /// Waits for the response of a call that takes the session.
    async fn finish(&mut self, taking: Taking) {
        let owner = self.model.owner();
        let (state, replica, acknowledged) = match taking {
            Taking::Call { result, state, replica } => {
                let outcome = result.await.unwrap();
                let is_right = match (outcome, state.shown) {
                    (Outcome::Unavailable, _) => None,
                    (Outcome::Done, Some(_)) => Some(true),
                    (Outcome::Done, None) => Some(self.model.states().any(|state| state.shown.is_some())),
                    (Outcome::NotFound, None) => Some(self.may_show(None)),
                    (outcome, _) => panic!("{outcome:?}"),
                };
                assert_ne!(is_right, Some(false), "the outcome of a clear");
                (state, replica, is_right.is_some())
            }
            Taking::Open(stream, state) => {
                let opened = self.streams[stream].acknowledged().await;
                assert!(matches!(opened, Ok(()) | Err(End::Unavailable | End::Taken)), "{opened:?}");
                (state, self.streams[stream].replica, opened.is_ok())
            }
        };
        let at = self.stopwatch.elapsed();
        self.log(&format!("{state:?} acknowledged: {acknowledged}"));
        if !acknowledged {
            self.report.unavailable += 1;
            return self.model.may_be_taken(state);
        }
        self.report.acknowledged += 1;
        self.model.taken(state);
        // Another stream that held the session hears of it.
        if let Some(owner) = owner.filter(|owner| Some(*owner) != state.owner) {
            self.losses.push((owner, at, replica));
            if self.streams[owner].is_open() && self.random.u8(..3) > 0 {
                self.streams[owner].end().await;
            }
        }
    }

    /// Waits until each stream that lost the session has heard of it, and no other one has.
    async fn hear_of_losses(&mut self) {
        for stream in 0..self.streams.len() {
            if self.streams[stream].is_open() && !self.model.may_own(stream) {
                let end = self.streams[stream].end().await;
                assert_eq!(end, End::Taken, "stream {stream}");
            }
        }
        if let Some(owner) = self.model.owner()
            && let Some((end, _)) = self.streams[owner].seen().end
        {
            assert_ne!(end, End::Taken, "no other call took the session from stream {owner}");
        }
        for (stream, acknowledged, replica) in std::mem::take(&mut self.losses) {
            if let Some((End::Taken, heard)) = self.streams[stream].seen().end {
                let other = usize::from(self.streams[stream].replica != replica);
                self.report.heard[other].push(heard.saturating_sub(acknowledged));
            }
        }
    }

    /// Checks that a replica shows a state that the session may have.
    async fn check_shown(&mut self, replica: usize) {
        let client = self.random.choice(self.replicas[replica].clients.clone()).unwrap();
        let (user, mut outcome) = (self.user.clone(), Outcome::Unavailable);
        eventually("the database is available", async || {
            outcome = client.get(&user).await;
            outcome != Outcome::Unavailable
        })
        .await;
        let Outcome::Presences(presences) = outcome else { panic!("{outcome:?}") };
        let shown = presences[0].split_once(' ').unwrap().1;
        let shown = (shown != "Offline/Offline").then_some(shown);
        self.log(&format!("{replica} shows {shown:?}"));
        assert!(self.may_show(shown), "an acknowledged state was undone: {shown:?}");
    }

    fn may_show(&self, shown: Option<&str>) -> bool {
        let expires = |state: &State| {
            let stream = &self.streams[state.owner?];
            let expires_at = stream.seen().expires_at?;
            Some(!stream.is_open() && Clock::new().now() + TOLERANCE >= expires_at)
        };
        let has_expired = |state: &State| shown.is_none() && expires(state) == Some(true);
        self.model.states().any(|state| state.shown == shown || has_expired(state))
    }

    fn log(&mut self, text: &str) {
        self.log.push(format!("{:?}: {text}", self.stopwatch.elapsed()));
    }

    async fn pause(&mut self, max_millis: u64) {
        sleep(Duration::from_millis(self.random.u64(..max_millis))).await;
    }

    fn random_pair(&mut self) -> &'static str {
        self.random.choice(PAIRS).unwrap()
    }

    fn random_replica(&mut self) -> usize {
        self.random.usize(..self.replicas.len())
    }

    fn random_stream(&mut self, filter: impl Fn(&Stream) -> bool) -> Option<usize> {
        let streams = self.streams.iter().enumerate();
        let fit: Vec<_> = streams.filter(|(_, stream)| filter(stream)).map(|(number, _)| number).collect();
        self.random.choice(fit)
    }
}
