//! Clients that read large responses slowly.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use h2::RecvStream;
use tokio::{task::JoinSet, time::sleep};

use super::{Http2, Notes, get_all};

/// The responses that wait on one connection.
const RESPONSES: usize = 40;
/// The connections with each window.
const CONNECTIONS: usize = 2;
/// The bytes of a window, and that are read in a second.
const WINDOWS: [u32; 3] = [0, 1, 1_000];
/// The pause between the starts of two responses on a connection: to begin them all at once would be
/// an attack of another kind.
const START_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a refusal, a cut or a lost connection, and between small calls.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads large responses through small windows, and sends a small call a second beside them.
pub(super) async fn slow(http: SocketAddr, notes: &Notes) {
    let mut tasks = JoinSet::new();
    for window in WINDOWS.into_iter().cycle().take(WINDOWS.len() * CONNECTIONS) {
        let notes = notes.clone();
        tasks.spawn(async move {
            loop {
                if let Some(connection) = Http2::connect(http, window).await {
                    one_connection(connection, window, &notes).await;
                }
                sleep(PAUSE).await;
            }
        });
    }
    tasks.join_all().await;
}

/// Reads on one connection until it is lost.
async fn one_connection(connection: Http2, window: u32, notes: &Notes) {
    let connection = Arc::new(connection);
    let mut readers = JoinSet::new();
    for response in 0..RESPONSES {
        let (connection, notes) = (Arc::clone(&connection), notes.clone());
        readers.spawn(async move {
            sleep(START_PAUSE * u32::try_from(response).unwrap()).await;
            while connection.is_open() {
                let (request, body) = get_all();
                match connection.send(request, body).await {
                    Ok(response) if response.status() == 200 => {
                        notes.count("responses begun");
                        if read_at(&mut response.into_body(), window, |_| ()).await.is_err() {
                            notes.count("responses cut");
                        }
                    }
                    Ok(response) => notes.count(format!("responses {}", response.status().as_u16())),
                    Err(_) => {}
                }
                sleep(PAUSE).await;
            }
        });
    }
    loop {
        sleep(PAUSE).await;
        match connection.set("beside").await {
            Ok(status) => notes.count(format!("small calls {status}")),
            Err(error) => return notes.count(format!("connections lost: {error}")),
        }
    }
}

/// Reads a body at this number of bytes a second, and calls `progress` with the length of each
/// part. Returns the length of the body.
pub(crate) async fn read_at(
    body: &mut RecvStream,
    per_second: u32,
    progress: impl Fn(usize),
) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part?.len();
        length += part;
        progress(part);
        let part_length = u32::try_from(part).unwrap_or(u32::MAX);
        sleep(Duration::from_secs(1) * part_length / per_second.max(1)).await;
        body.flow_control().release_capacity(part)?;
    }
    Ok(length)
}
