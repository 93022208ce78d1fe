//! A step of the clock of one replica's host.

use std::{
    fs,
    time::{Duration, Instant},
};

use presenced_tools::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest};
use tokio::time::{sleep, timeout};

use super::{Client, Row, cluster::Cluster, connect};
use presenced_tools::process::{Process, command};

/// Changes the wall clock of one process (Debian's package faketime). The monotonic clock
/// stays right.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const PATIENCE: Duration = Duration::from_secs(30);
/// The time within which `/readyz` must report the step, and the recovery.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);
/// The time that the clock stays wrong.
const OFF: Duration = Duration::from_secs(3);

/// Steps the clock forward and back, then back and forward.
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
    for step in ["+1h", "-1h"] {
        rows.push(one(step).await);
    }
    rows
}

/// Runs a replica with a wrong clock and one with the right clock on the same database.
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
    let (mut client, mut other) = (connect(process.grpc), connect(right.grpc));
    set(&mut client, "before").await;

    fs::write(&time, step).unwrap();
    let noticed = reports(&process, "clock differs from the database's by more than 2 s").await;
    // Callers that ignore the probe still get responses.
    let stopwatch = Instant::now();
    let mut slowest = Duration::ZERO;
    while stopwatch.elapsed() < OFF {
        let call = Instant::now();
        set(&mut client, "meanwhile").await;
        shown(&mut client, "meanwhile").await;
        slowest = slowest.max(call.elapsed());
    }
    // Sessions set before and after the step look different at the two replicas. That is why the
    // replica is not ready.
    let mut seen = Vec::new();
    for user in ["before", "meanwhile"] {
        seen.push(format!(
            "a session set {user} is {} here and {} at a replica with the right clock",
            shown(&mut client, user).await,
            shown(&mut other, user).await
        ));
    }
    fs::write(&time, "+0").unwrap();
    let back = reports(&process, "ready").await;
    set(&mut client, "after").await;
    let after = [shown(&mut client, "after").await, shown(&mut other, "after").await];
    Row {
        property: format!(
            "clock of one replica stepped by {step}: not ready, reports why, responds, recovers"
        ),
        tried: "once".to_owned(),
        figure: format!(
            "not ready after {noticed:.2?}; slowest set and get {slowest:.2?}; {}; ready {back:.2?} after the clock was right again",
            seen.join(", ")
        ),
        held: noticed <= NOTICED_WITHIN
            && back <= NOTICED_WITHIN
            && slowest < Duration::from_secs(1)
            && after.iter().all(|shown| shown == "Busy"),
    }
}

/// Waits until `/readyz` returns this state. Returns the time that it took.
async fn reports(process: &Process, state: &str) -> Duration {
    let stopwatch = Instant::now();
    let reported = async {
        loop {
            let response = reqwest::get(format!("http://{}/readyz", process.admin)).await.unwrap();
            if response.text().await.unwrap().trim() == state {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, reported).await.unwrap_or_else(|_| panic!("/readyz does not return {state:?}"));
    stopwatch.elapsed()
}

/// Opens a session with the default expiry of five minutes.
async fn set(client: &mut Client, user: &str) {
    let request = SetPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
    };
    client.set_presence(request).await.unwrap();
}

async fn shown(client: &mut Client, user: &str) -> String {
    let response = client.get_presence(GetPresenceRequest { user_id: user.to_owned() }).await.unwrap();
    format!("{:?}", response.into_inner().presence.unwrap_or_default().availability())
}
