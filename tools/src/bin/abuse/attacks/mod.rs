//! The attacks. Each runs in a process of its own for a while, and tells what it saw.

mod bodies;
mod cancels;
mod http2;
mod pages;
mod raw;
mod readers;
mod resets;
mod streams;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::{Args, ValueEnum};
use presenced_tools::machine::cpu_seconds;
use serde::{Deserialize, Serialize};
use tokio::{runtime, task::JoinSet, time::timeout};

pub(crate) use bodies::Half;
pub(crate) use http2::{Http2, get_all, grpc};
pub(crate) use readers::read_at;

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// 1,000 connections that each send a byte a second.
    Slow,
    /// 1,000 connections that send nothing.
    Silent,
    /// 1,000 connections that send half of HTTP/2's preface.
    HalfOpen,
    /// 10,000 connections at once.
    Flood,
    /// Requests over HTTP/2 as fast as possible, each cancelled at once.
    RapidReset,
    /// 100 headers of 1 MiB a second.
    Headers,
    /// 20 bodies a second of 250 KiB that decompress to 250 MiB.
    GzipBomb,
    /// 50 JSON bodies a second of 750 KiB, nested 150,000 deep.
    Nesting,
    /// 20 `$batch` requests a second of 1 MiB, with 20,000 items.
    Batch,
    /// 240 responses of 650 users, read through windows of 0, 1 and 1,000 bytes.
    SlowReaders,
    /// 120 bodies and 448 gRPC messages of 1 MiB without their last byte, on 7 connections.
    HalfBodies,
    /// 20 requests a second as a page of another origin can send them.
    Pages,
    /// 20 requests a second by the name of a page's own host.
    Rebinding,
    /// Honest cancels: fan-outs of 100 reads, and 50 callers with deadlines of 3 ms.
    Cancels,
    /// 100 downloads a second of the documentation's largest file, in gzip.
    Bundle,
    /// 300 streams on one connection, then more than --streams-max.
    Streams,
    /// 50 requests a second with two addresses as their `:authority`.
    Authority,
    /// 50 requests a second with a path of 40 KiB.
    RequestLine,
}

/// What must be seen of an attack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    /// Something that the attacker counts.
    pub(crate) seen: Option<&'static str>,
    /// A counter of the service, as in its metrics.
    pub(crate) metric: Option<&'static str>,
    /// A part of a line in the service's log.
    pub(crate) log: Option<&'static str>,
}

impl Attack {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The name on the command line, and the description in `--help`.
    pub(crate) fn texts(self) -> (String, String) {
        let value = self.to_possible_value().expect("no attack is hidden");
        (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default())
    }

    /// What must be seen of it.
    pub(crate) fn expected(self) -> Expected {
        let refusals = Expected { seen: Some("refused as it must be"), ..Expected::default() };
        match self {
            Self::RapidReset => Expected {
                seen: Some(resets::CALMED),
                metric: Some(r#"presence_connections_timed_out_total{api="grpc",reason="resets"}"#),
                log: Some("its client cancelled too many requests"),
            },
            Self::Streams => Expected {
                seen: Some(streams::ALL_BUSY),
                metric: Some(r#"presence_streams_max_reached_total{api="grpc"}"#),
                log: Some("a connection has reached --streams-max"),
            },
            Self::Authority => Expected {
                metric: Some(r#"presence_requests_refused_total{api="grpc",reason="malformed"}"#),
                log: Some("HTTP/2 request refused before it was read"),
                ..refusals
            },
            Self::Pages | Self::Rebinding | Self::RequestLine => refusals,
            Self::Cancels => Expected { seen: Some(cancels::ROUND), ..Expected::default() },
            Self::Bundle => Expected { seen: Some("downloads"), ..Expected::default() },
            _ => Expected::default(),
        }
    }
}

/// The addresses of the service.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Target {
    /// Address of the gRPC API.
    #[arg(long)]
    pub(crate) grpc: SocketAddr,
    /// Address of the HTTP API.
    #[arg(long)]
    pub(crate) http: SocketAddr,
}

/// What an attacker saw, and the processor time that it took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The processor time in seconds.
    pub(crate) cpu: f64,
    /// How often it saw what.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What it must never see.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Seen {
    /// Adds what the attacker saw in another round.
    pub(crate) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        for (what, times) in other.counts {
            *self.counts.entry(what).or_default() += times;
        }
        for (what, times) in other.faults {
            *self.faults.entry(what).or_default() += times;
        }
    }
}

/// Collects what an attacker sees. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Seen>>);

impl Notes {
    /// Counts something.
    pub(crate) fn count(&self, what: impl Into<String>) {
        self.change(|seen| *seen.counts.entry(what.into()).or_default() += 1);
    }

    /// Counts something that must not happen.
    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.change(|seen| *seen.faults.entry(what.into()).or_default() += 1);
    }

    /// Counts a refusal if it is one, else a fault.
    fn must_be_refused(&self, refused: bool, what: impl FnOnce() -> String) {
        if refused {
            self.count("refused as it must be");
        } else {
            self.fault(what());
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Attacks for `duration`, and prints what it saw as JSON.
pub(crate) fn run(kinds: &[Attack], target: Target, duration: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let notes = Notes::default();
    let mut attacks = JoinSet::new();
    for kind in kinds.iter().copied() {
        let notes = notes.clone();
        attacks.spawn_on(async move { attack(kind, target, &notes).await }, runtime.handle());
    }
    // An attack has no end of its own.
    let _ = runtime.block_on(async { timeout(duration, attacks.join_all()).await });
    let seen = Seen { cpu: cpu_seconds(process::id()), ..notes.seen() };
    println!("{}", serde_json::to_string(&seen).unwrap());
}

/// Attacks without end.
pub(crate) async fn attack(kind: Attack, target: Target, notes: &Notes) {
    let Target { grpc, http } = target;
    match kind {
        Attack::Slow => raw::hold(http, 1_000, b"GET /v1.0/users/a/presence HTTP/1.1\r\n", true).await,
        Attack::Silent => raw::hold(http, 1_000, b"", false).await,
        Attack::HalfOpen => raw::hold(grpc, 1_000, b"PRI * HTTP/2.0\r\n", false).await,
        Attack::Flood => raw::hold(http, 10_000, b"", false).await,
        Attack::Headers => raw::headers(http).await,
        Attack::GzipBomb => raw::gzip_bomb(http).await,
        Attack::Nesting => raw::nesting(http).await,
        Attack::Batch => raw::batch(http).await,
        Attack::RequestLine => raw::request_line(http, notes).await,
        Attack::RapidReset => resets::rapid(grpc, notes).await,
        Attack::Authority => resets::authority(grpc, notes).await,
        Attack::SlowReaders => readers::slow(http, notes).await,
        Attack::HalfBodies => bodies::half(target, notes).await,
        Attack::Pages => pages::foreign(target, notes).await,
        Attack::Rebinding => pages::rebinding(http, notes).await,
        Attack::Bundle => pages::bundle(http, notes).await,
        Attack::Cancels => cancels::honest(grpc, notes).await,
        Attack::Streams => streams::too_many(grpc, notes).await,
    }
}
