//! Sockets: accepted in one place, handed to the workers in turn, served as HTTP.
//!
//! Not by `SO_REUSEPORT`: with it, a second copy of the service that was
//! started by mistake would take half of the connections in silence.

mod activity;
mod connection;
mod slots;
mod tls;
mod validity;

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry::Api;

pub use activity::TimedOut;
pub use connection::{Connections, Protocol, TURN_BYTES};
pub use slots::{Slot, Slots, connections_max, connections_possible, files_needed};
pub use tls::{Certificates, Tls, read_certificates};
pub use validity::Validity;

/// How long to wait when a socket can't be accepted: the process is out of
/// descriptors, and trying at once would only burn the processor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The connections that each worker is handed before those that it has get a
/// turn: ten thousand at once must not hold up a request that is under way.
const ACCEPT_BURST: usize = 4;
/// How long that turn is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

/// The connections that the system keeps for us meanwhile.
const BACKLOG: u32 = 4_096;

/// A connection on its way to a worker. It belongs to no runtime meanwhile.
#[derive(Debug)]
pub struct Incoming {
    /// Where it came in.
    pub api: Api,
    /// The socket.
    pub stream: std::net::TcpStream,
    /// The room that it takes.
    pub slot: Slot,
}

/// Binds the address of a setting; the error says which.
pub fn bind(setting: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Or a restart would have to wait for the connections of the run before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {setting} {address}: {error}"))
    })
}

/// Accepts connections of one API and hands them to the workers in turn, until
/// `stop`. One for which there is no room is closed at once: its client learns
/// of it, and may find room elsewhere.
pub async fn accept(
    api: Api,
    listener: TcpListener,
    slots: Slots,
    workers: Vec<mpsc::Sender<Incoming>>,
    stop: CancellationToken,
) {
    let burst = workers.len() * ACCEPT_BURST;
    for (number, worker) in workers.iter().cycle().enumerate() {
        let hand_over = async {
            if number % burst == burst - 1 {
                sleep(ACCEPT_PAUSE).await;
            }
            let stream = next(&listener).await;
            let Some(slot) = slots.take() else { return };
            match stream.into_std() {
                // A worker that does not listen has ended, and the process with it.
                Ok(stream) => drop(worker.send(Incoming { api, stream, slot }).await),
                Err(error) => warn!(%error, "lost a connection"),
            }
        };
        if stop.run_until_cancelled(hand_over).await.is_none() {
            return;
        }
    }
}

/// The next connection, however long it takes.
pub async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small, and nobody wants them held back.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
