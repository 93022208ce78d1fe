//! Clients that send all of a request but its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{task::JoinSet, time::sleep};

use super::{Http2, Notes, Target, http2::post};

/// The length of a body or message.
const LENGTH: usize = 1 << 20;
/// The requests of each connection to the HTTP API.
const BODIES: [usize; 3] = [40, 40, 40];
/// The requests of each connection to the gRPC API.
const MESSAGES: [usize; 4] = [64, 64, 64, 256];
/// The pause after a refusal or a lost connection.
const PAUSE: Duration = Duration::from_secs(1);

/// A request that never ends.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    path: &'static str,
    content_type: &'static str,
    body: Bytes,
}

impl Half {
    /// To the HTTP API.
    pub(crate) fn body() -> Self {
        Self {
            path: "/v1.0/communications/getPresencesByUserId",
            content_type: "application/json",
            body: vec![b' '; LENGTH - 1].into(),
        }
    }

    /// To the gRPC API.
    pub(crate) fn message() -> Self {
        let length = u32::try_from(LENGTH - 5).unwrap().to_be_bytes();
        let mut body = vec![0; LENGTH - 1];
        body[1..5].copy_from_slice(&length);
        Self {
            path: "/presence.v1.PresenceService/BatchGetPresences",
            content_type: "application/grpc",
            body: body.into(),
        }
    }

    /// Sends it, and waits for the response. Returns the status of HTTP or gRPC.
    pub(crate) async fn send(&self, connection: &Http2) -> Result<String, h2::Error> {
        let request: Request<()> = post(self.path, self.content_type);
        let (response, mut send) = connection.begin(request).await?;
        send.send_data(self.body.clone(), false)?;
        let response = response.await?;
        let grpc = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
        Ok(grpc.map_or_else(|| response.status().as_u16().to_string(), |code| format!("grpc-status {code}")))
    }
}

/// Sends halves of requests on several connections to each API.
pub(super) async fn half(target: Target, notes: &Notes) {
    let (body, message) = (Half::body(), Half::message());
    let mut tasks = JoinSet::new();
    let mut start = |address: SocketAddr, requests: usize, half: &Half| {
        let (half, notes) = (half.clone(), notes.clone());
        tasks.spawn(async move {
            loop {
                if let Some(connection) = Http2::connect(address, 65_535).await {
                    one_connection(connection, requests, &half, &notes).await;
                }
                sleep(PAUSE).await;
            }
        });
    };
    for requests in BODIES {
        start(target.http, requests, &body);
    }
    for requests in MESSAGES {
        start(target.grpc, requests, &message);
    }
    tasks.join_all().await;
}

async fn one_connection(connection: Http2, requests: usize, half: &Half, notes: &Notes) {
    let connection = Arc::new(connection);
    let mut tasks = JoinSet::new();
    for _ in 0..requests {
        let (connection, half, notes) = (Arc::clone(&connection), half.clone(), notes.clone());
        tasks.spawn(async move {
            while connection.is_open() {
                match half.send(&connection).await {
                    Ok(status) => notes.count(format!("halves {status}")),
                    Err(error) => notes.count(format!("halves: {error}")),
                }
                sleep(PAUSE).await;
            }
        });
    }
    tasks.join_all().await;
}
