//! A node whose clock is stepped under the service.

use std::{
    fs,
    time::{Duration, Instant},
};

use presenced_tools::pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest};
use tokio::time::{sleep, timeout};

use super::{Client, Row, cluster::Cluster, connect};
use presenced_tools::process::{Process, command};

/// Lets a process see another time than its machine's (Debian's package faketime).
/// Intervals, which the monotonic clock measures, stay what they are.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const PATIENCE: Duration = Duration::from_secs(30);
/// Within this the probes say that the clock is off, and that it is right again.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);
/// How long the service runs with a clock that is off.
const OFF: Duration = Duration::from_secs(3);

/// Steps the clock by each of these, and back.
pub async fn steps() -> Vec<Row> {
    if !fs::exists(LIBRARY).unwrap() {
        return vec![Row {
            property: "clock stepped".to_owned(),
            tried: "not at all".to_owned(),
            figure: format!("{LIBRARY} is not there: install faketime"),
            held: false,
        }];
    }
    let mut rows = Vec::new();
    for step in ["+1h", "-1h"] {
        rows.push(one(step).await);
    }
    rows
}

/// A service in its own time, and another one on the same database in the right time.
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
    let noticed = says(&process, "clock more than 2 s off the database's").await;
    // Who calls it in spite of that is answered, from intervals that go on.
    let stopwatch = Instant::now();
    let mut slowest = Duration::ZERO;
    while stopwatch.elapsed() < OFF {
        let call = Instant::now();
        set(&mut client, "meanwhile").await;
        shown(&mut client, "meanwhile").await;
        slowest = slowest.max(call.elapsed());
    }
    // What each replica shows of what was set in the right time, and in the wrong one: that is
    // why it is not ready.
    let mut seen = Vec::new();
    for user in ["before", "meanwhile"] {
        seen.push(format!(
            "a session set {user} is {} here and {} at a replica in the right time",
            shown(&mut client, user).await,
            shown(&mut other, user).await
        ));
    }
    fs::write(&time, "+0").unwrap();
    let back = says(&process, "ready").await;
    set(&mut client, "after").await;
    let after = [shown(&mut client, "after").await, shown(&mut other, "after").await];
    Row {
        property: format!("clock of one replica stepped by {step}: not ready, says why, goes on, comes back"),
        tried: "once".to_owned(),
        figure: format!(
            "not ready after {noticed:.2?}; slowest set and get {slowest:.2?}; {}; ready {back:.2?} after it was put right",
            seen.join(", ")
        ),
        held: noticed <= NOTICED_WITHIN
            && back <= NOTICED_WITHIN
            && slowest < Duration::from_secs(1)
            && after.iter().all(|shown| shown == "Busy"),
    }
}

/// How long it takes until `/readyz` says this.
async fn says(process: &Process, word: &str) -> Duration {
    let stopwatch = Instant::now();
    let says = async {
        loop {
            let answer = reqwest::get(format!("http://{}/readyz", process.admin)).await.unwrap();
            if answer.text().await.unwrap().trim() == word {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, says).await.unwrap_or_else(|_| panic!("/readyz does not say {word:?}"));
    stopwatch.elapsed()
}

/// A session of the usual five minutes.
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
    let answer = client.get_presence(GetPresenceRequest { user_id: user.to_owned() }).await.unwrap();
    format!("{:?}", answer.into_inner().presence.unwrap_or_default().availability())
}
