//! Accepts sockets, hands them to the workers in turn, and serves HTTP on them.
//!
//! Workers share one listener. With `SO_REUSEPORT`, a second copy of the service
//! that was started by mistake would silently take half of the connections.

mod activity;
mod bodies;
mod connection;
mod event_stream;
mod faults;
mod frames;
mod hosts;
mod http1;
mod http2;
mod io;
mod memory;
mod resets;
mod respond;
mod slots;
#[cfg(test)]
mod tests;
mod tls;
mod validity;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry::Api;

pub use activity::TimedOut;
pub use bodies::TURN_BYTES;
pub use connection::{ApiService, Connections, Protocol};
pub use faults::ClientFaults;
pub use hosts::{Hosts, authority};
pub use memory::{Memory, MemoryFull, MemoryUse, RequestMemory, memory_limit};
pub use respond::{Endless, LongWait};
pub use slots::{Slot, Slots, connections_max, connections_possible, files_needed};
pub use tls::{CertificateReader, Certificates, Tls, read_certificates};
pub use validity::Validity;

/// The delay after a failed accept. The process is out of file descriptors, and an
/// immediate retry would only use the processor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The connections that each worker receives before its existing connections get a
/// turn: thousands of new connections must not delay active requests.
const ACCEPT_BURST: usize = 4;
/// The length of that turn.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

/// The connections that the system queues until the service accepts them.
const BACKLOG: u32 = 4_096;

/// A connection on its way to a worker. It does not belong to a runtime yet.
#[derive(Debug)]
pub struct Incoming {
    /// The API whose listener accepted it.
    pub api: Api,
    /// The socket.
    pub stream: std::net::TcpStream,
    /// Its share of the connection limit.
    pub slot: Slot,
}

/// Binds the address of a setting. The error names the setting.
pub fn bind(setting: &str, address: SocketAddr) -> std::io::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Otherwise a restart fails until the old process's connections have expired.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| {
        std::io::Error::new(error.kind(), format!("cannot listen on {setting} {address}: {error}"))
    })
}

/// Accepts the connections of one API and hands them to the workers in turn, until
/// `stop`. A connection above the limit is closed at once, so that its client can try
/// another replica.
pub async fn accept(
    api: Api,
    listener: TcpListener,
    slots: Slots,
    workers: Vec<mpsc::Sender<Incoming>>,
    stop: CancellationToken,
) {
    let burst = workers.len() * ACCEPT_BURST;
    for number in 0_usize.. {
        let hand_over = async {
            if number % burst == burst - 1 {
                sleep(ACCEPT_PAUSE).await;
            }
            let stream = next(&listener).await;
            let Some(slot) = slots.take() else { return };
            match stream.into_std() {
                Ok(stream) => hand(Incoming { api, stream, slot }, &workers, number).await,
                Err(error) => warn!(%error, "connection lost"),
            }
        };
        if stop.run_until_cancelled(hand_over).await.is_none() {
            return;
        }
    }
}

/// Hands a connection to the next worker in turn, or to another if the queue of that one is full: a
/// worker that is busy must not delay the connections of the others.
async fn hand(mut connection: Incoming, workers: &[mpsc::Sender<Incoming>], turn: usize) {
    loop {
        let first = turn % workers.len().max(1);
        let (before, after) = workers.split_at_checked(first).unwrap_or_default();
        for worker in after.iter().chain(before) {
            match worker.try_send(connection) {
                Ok(()) => return,
                // A worker without a receiver has ended, and the process ends with it.
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => connection = back,
            }
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Waits for the next connection. Errors are logged and retried.
pub async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Responses are small, and Nagle's algorithm would delay them.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}
