//! A wrong clock on the host of one replica.

use std::{
    fs,
    time::{Duration, Instant},
};

use presenced_tools::{
    pb::{
        Activity, Availability, ExplainPresenceRequest, SetPresenceRequest, SetStatusMessageRequest,
        WatchPresencesRequest, watch_presences_response::Event,
    },
    process::{Process, command},
};
use tokio::time::sleep;
use tonic::Streaming;

use super::{Client, Row, cluster::Cluster, connect};

/// Changes the wall clock of one process (Debian's package faketime). The monotonic clock
/// stays right.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// The time that the clock stays wrong before the replicas are compared.
const WRONG_FOR: Duration = Duration::from_secs(3);
/// The number of comparisons.
const ROUNDS: usize = 50;
/// The largest difference that is allowed.
const DIFFERENCE_MAX_MS: f64 = 50.0;
/// The time until the message of a watched user expires.
const MESSAGE_MS: i64 = 1_500;

/// Compares a replica with a wrong clock with one whose clock is right.
pub async fn steps() -> Vec<Row> {
    if !fs::exists(LIBRARY).unwrap() {
        return vec![Row {
            property: "clock stepped".to_owned(),
            tried: "not at all".to_owned(),
            figure: format!("{LIBRARY} is missing: install faketime"),
            held: false,
        }];
    }
    let mut rows = Vec::new();
    for step in ["+10s", "-10s", "+1h", "-1h"] {
        rows.push(one(step).await);
    }
    rows
}

async fn one(step: &str) -> Row {
    let cluster = Cluster::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    fs::write(&time, "+0").unwrap();
    let mut stepped = command();
    stepped
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", &time)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let process = Process::start_by(stepped, &cluster.url(), &[]).await;
    let right = Process::start(&cluster.url(), &[]).await;
    fs::write(&time, step).unwrap();
    sleep(WRONG_FOR).await;

    let (mut wrong, mut other) = (connect(process.grpc), connect(right.grpc));
    let (mut clocks, mut expiries) = (0.0_f64, 0.0_f64);
    for round in 0..ROUNDS {
        let user = format!("user-{round}");
        let here = offsets(&mut wrong, &user, "here").await;
        let there = offsets(&mut other, &user, "there").await;
        clocks = clocks.max((here.0 - there.0).abs());
        expiries = expiries.max((here.1 - there.1).abs());
    }
    let watched = watch(&mut wrong, &mut other).await;
    let ready = reqwest::get(format!("http://{}/readyz", process.admin)).await.unwrap().status();
    Row {
        property: format!("clock of one replica's host wrong by {step}: no difference to a right one"),
        tried: format!("{ROUNDS} sets and reads at each, an expiry watched at both"),
        figure: format!(
            "times of reads differ by {clocks:.0} ms at most, of sets by {expiries:.0} ms, the watched expiry by \
             {watched:.0} ms; /readyz {}",
            ready.as_u16()
        ),
        held: ready.is_success() && [clocks, expiries, watched].iter().all(|ms| *ms <= DIFFERENCE_MAX_MS),
    }
}

/// Sets a session and reads it. Returns by how much the replica's time of the read, and of the set,
/// is ahead of this process's monotonic clock, in milliseconds from any zero.
async fn offsets(client: &mut Client, user: &str, session: &str) -> (f64, f64) {
    let before = millis();
    let request = SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
        ..Default::default()
    };
    client.set_presence(request).await.unwrap();
    let between = millis();
    let explained = client
        .explain_presence(ExplainPresenceRequest { user_id: user.to_owned(), ..Default::default() })
        .await
        .unwrap();
    let (after, explained) = (millis(), explained.into_inner());
    let session = explained.sessions.iter().find(|found| found.session_id == session).unwrap();
    let read = timestamp_ms(explained.read_time.unwrap()) - f64::midpoint(between, after);
    (read, timestamp_ms(session.set_time.unwrap()) - f64::midpoint(before, between))
}

/// Watches a message that expires at both replicas. Returns the time between the two events, in
/// milliseconds.
async fn watch(wrong: &mut Client, other: &mut Client) -> f64 {
    let request = || WatchPresencesRequest { user_ids: vec!["watched".to_owned()], ..Default::default() };
    let here = wrong.watch_presences(request()).await.unwrap().into_inner();
    let there = other.watch_presences(request()).await.unwrap().into_inner();
    let user_id = "watched".to_owned();
    let explained = other
        .explain_presence(ExplainPresenceRequest { user_id: user_id.clone(), ..Default::default() })
        .await
        .unwrap();
    let now = explained.into_inner().read_time.unwrap();
    let nanos = i64::from(now.nanos) + MESSAGE_MS * 1_000_000;
    let seconds = now.seconds + nanos / 1_000_000_000;
    let nanos = i32::try_from(nanos % 1_000_000_000).unwrap();
    let expire_time = Some(prost_types::Timestamp { seconds, nanos });
    let request = SetStatusMessageRequest { user_id, content: "soon".to_owned(), expire_time };
    wrong.set_status_message(request).await.unwrap();
    let (here, there) = tokio::join!(message_ends(here), message_ends(there));
    (here - there).abs()
}

/// Waits until the user of the stream had a message and has none, and returns the time.
async fn message_ends(mut events: Streaming<presenced_tools::pb::WatchPresencesResponse>) -> f64 {
    let mut had_one = false;
    loop {
        let event = events.message().await.unwrap().expect("the stream stays open").event;
        let Some(Event::Presence(presence)) = event else { continue };
        if had_one && presence.status_message.is_none() {
            return millis();
        }
        had_one = presence.status_message.is_some();
    }
}

/// The time of this process's monotonic clock, in milliseconds.
fn millis() -> f64 {
    static ZERO: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    ZERO.elapsed().as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "an f64 holds the milliseconds of this century")]
fn timestamp_ms(time: prost_types::Timestamp) -> f64 {
    time.seconds as f64 * 1_000.0 + f64::from(time.nanos) / 1_000_000.0
}
