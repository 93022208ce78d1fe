//! Honest clients that cancel much of what they began. None of their other calls may suffer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use presenced_tools::pb::{
    Activity, Availability, BatchGetPresencesRequest, GetPresenceRequest, HoldPresenceRequest,
    WatchPresencesRequest,
};
use prost::Message;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::{Http2, Notes, grpc, http2::grpc_status};

/// A fan-out was cancelled.
pub(super) const ROUND: &str = "fan-outs cancelled";

/// The reads of a fan-out.
const READS: usize = 100;
/// The watching streams, and the holding ones, beside each kind of cancels.
const BYSTANDERS: usize = 10;
/// The callers with a short deadline: those of `ghz -n 3000 -c 50 --timeout 3ms`.
const CALLERS: usize = 50;
/// The pause of such a caller.
const CALLER_PAUSE: Duration = Duration::from_millis(50);
/// A deadline that often runs out.
const DEADLINE: Duration = Duration::from_millis(3);
/// The interval of the calls of one more client.
const PACE: Duration = Duration::from_millis(10);
/// The pause between two fan-outs.
const PAUSE: Duration = Duration::from_millis(50);
const WINDOW: u32 = 65_535;

type Connection = Arc<Http2>;

pub(super) async fn honest(grpc: SocketAddr, notes: &Notes) {
    let mut tasks = JoinSet::new();
    let mut connections = Vec::new();
    for name in ["fan-outs", "callers", "paced"] {
        let connection = Arc::new(Http2::connect(grpc, WINDOW).await.expect("the service accepts"));
        for bystander in 0..BYSTANDERS {
            let session = format!("{name}-{bystander}");
            tasks.spawn(follow(Arc::clone(&connection), "WatchPresences", watch(), name, notes.clone()));
            tasks.spawn(follow(Arc::clone(&connection), "HoldPresence", hold(session), name, notes.clone()));
        }
        connections.push(connection);
    }
    let [fan_outs, callers, paced] = connections.try_into().ok().expect("three connections");
    tasks.spawn(fan_out(fan_outs, notes.clone()));
    for _ in 0..CALLERS {
        let (connection, notes) = (Arc::clone(&callers), notes.clone());
        tasks.spawn(async move {
            loop {
                call(&connection, &notes).await;
                sleep(CALLER_PAUSE).await;
            }
        });
    }
    let mut ticks = interval(PACE);
    loop {
        ticks.tick().await;
        let (connection, notes) = (Arc::clone(&paced), notes.clone());
        tasks.spawn(async move { call(&connection, &notes).await });
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
}

/// Reads from many places at once, and cancels the others at the first response.
async fn fan_out(connection: Connection, notes: Notes) {
    loop {
        let mut reads = JoinSet::new();
        for read in 0..READS {
            let connection = Arc::clone(&connection);
            let user_ids = (0..20).map(|user| format!("user-{read}-{user}")).collect();
            let request = BatchGetPresencesRequest { user_ids, ..Default::default() };
            reads.spawn(async move {
                let (response, _) = connection.call(grpc("BatchGetPresences"), &request, true).await?;
                grpc_status(response).await
            });
        }
        match reads.join_next().await.map(|read| read.unwrap()) {
            Some(Ok(status)) if status == "0" => notes.count(ROUND),
            other => notes.fault(format!("fan-out read: {other:?}")),
        }
        reads.shutdown().await;
        sleep(PAUSE).await;
    }
}

/// Calls with a short deadline, and cancels the call when it runs out.
async fn call(connection: &Http2, notes: &Notes) {
    let mut request = grpc("GetPresence");
    let milliseconds = format!("{}m", DEADLINE.as_millis());
    request.headers_mut().insert("grpc-timeout", milliseconds.parse().unwrap());
    let message = GetPresenceRequest { user_id: "deadline".to_owned(), ..Default::default() };
    let response = async {
        let (response, _) = connection.call(request, &message, true).await?;
        grpc_status(response).await
    };
    match timeout(DEADLINE, response).await {
        Ok(Ok(status)) if status == "0" => notes.count("calls in time"),
        // DEADLINE_EXCEEDED.
        Ok(Ok(status)) if status == "4" => notes.count("calls past their deadline"),
        Ok(Ok(status)) => notes.fault(format!("call with a deadline: status {status}")),
        Ok(Err(error)) => notes.fault(format!("call with a deadline: {error}")),
        Err(_) => notes.count("calls cancelled at their deadline"),
    }
}

fn watch() -> impl Message {
    let user_ids = (0..5).map(|user| format!("watched-{user}")).collect();
    WatchPresencesRequest { user_ids, ..Default::default() }
}

fn hold(session: String) -> impl Message {
    HoldPresenceRequest {
        user_id: session.clone(),
        session_id: session,
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        ..Default::default()
    }
}

/// Follows a stream, which must not end.
async fn follow(connection: Connection, method: &str, message: impl Message, beside: &str, notes: Notes) {
    let ended = async {
        let (response, _send) = connection.call(grpc(method), &message, method == "WatchPresences").await?;
        notes.count("bystanders");
        grpc_status(response).await
    };
    let ended = ended.await;
    notes.fault(format!("{method} beside {beside} ended: {ended:?}"));
}
