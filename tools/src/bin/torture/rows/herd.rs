//! A refresh of all sessions at once, after an outage of the service.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use presenced_tools::pb::{Activity, Availability, BatchSetPresencesRequest, SetPresenceRequest};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use super::{Client, Row, cluster::Cluster, connect};
use presenced_tools::process::Process;

/// The length of the outage.
const OUTAGE: Duration = Duration::from_secs(10);
/// The expiration of sessions in seconds: when they are opened, and when they are refreshed.
const LIFETIMES: [i64; 2] = [300, 14_400];
/// The number of connections, which many users share as in a client library.
const CONNECTIONS: usize = 400;
/// The number of sessions that one call opens.
const BATCH: usize = 500;
/// The pause before a retry: the second that the response asks for, and up to one more.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(10);

/// Opens sessions, stops the service, and refreshes all sessions at once. Then counts the
/// sessions that a refresh did not extend.
pub async fn refresh(sessions: usize) -> Vec<Row> {
    let cluster = Cluster::start(&[]).await;
    let mut process = Process::start(&cluster.url(), &[]).await;
    let opened = Instant::now();
    open(process.grpc, sessions).await;
    process.kill();
    sleep(OUTAGE).await;
    let process = Process::start(&cluster.url(), &[]).await;

    let herd = Instant::now();
    let mut refreshes = JoinSet::new();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(process.grpc)).collect();
    for user in 0..sessions {
        refreshes.spawn(refresh_one(clients[user % CONNECTIONS].clone(), user));
    }
    let refused: usize =
        timeout(PATIENCE, refreshes.join_all()).await.expect("all sessions are refreshed").iter().sum();
    let steady = herd.elapsed();

    let in_time = opened.elapsed() < Duration::from_secs(LIFETIMES[0].unsigned_abs());
    let ended = sessions - extended(&cluster).await;
    let tried = format!("{sessions} sessions, refreshed at once after an outage of {OUTAGE:?}");
    vec![
        Row {
            property: "restart herd: time until all sessions are refreshed".to_owned(),
            tried: tried.clone(),
            figure: format!("{steady:.2?}, {refused} calls refused and retried"),
            held: in_time,
        },
        Row {
            property: "restart herd: sessions lost that were refreshed in time".to_owned(),
            tried,
            figure: ended.to_string(),
            held: ended == 0,
        },
    ]
}

fn set(user: usize, seconds: i64) -> SetPresenceRequest {
    SetPresenceRequest {
        user_id: format!("user-{user}"),
        session_id: "app".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    }
}

async fn open(grpc: SocketAddr, sessions: usize) {
    let mut client = connect(grpc);
    for first in (0..sessions).step_by(BATCH) {
        let users = first..(first + BATCH).min(sessions);
        let requests = users.map(|user| set(user, LIFETIMES[0])).collect();
        client.batch_set_presences(BatchSetPresencesRequest { requests }).await.unwrap();
    }
}

/// Refreshes one session until the service acknowledges it. Returns the number of refusals.
async fn refresh_one(mut client: Client, user: usize) -> usize {
    let mut refused = 0;
    while let Err(status) = client.set_presence(set(user, LIFETIMES[1])).await {
        assert!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), "{status:?}");
        refused += 1;
        sleep(RETRY_AFTER + RETRY_AFTER.mul_f64(fastrand::f64())).await;
    }
    refused
}

/// The number of sessions that a refresh extended, from the database: waiting for the others to
/// expire would take minutes.
async fn extended(cluster: &Cluster) -> usize {
    let sql = "select count(*) from presence_sessions where cleared_at is null and expires_at > extract(epoch from now()) * 1000 + 3600000";
    let count = sqlx::query_scalar::<_, i64>(sql);
    let count = count.fetch_one(&mut cluster.superuser("presence").await.unwrap()).await.unwrap();
    usize::try_from(count).unwrap()
}
