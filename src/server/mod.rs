//! Sockets: accepted in one place, handed to the lanes in turn, served as HTTP.
//!
//! Not by `SO_REUSEPORT`: with it, a second copy of the service that was
//! started by mistake would take half of the connections in silence.

mod activity;
mod connection;
mod slots;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry::Door;

pub use activity::Overdue;
pub use connection::{Connections, Protocol};
pub use slots::{Slot, Slots, connections_max};
pub use tls::Tls;

/// How long to wait when a socket can't be accepted: the process is out of
/// descriptors, and trying at once would only burn the processor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A connection on its way to a lane. It belongs to no runtime meanwhile.
#[derive(Debug)]
pub struct Incoming {
    /// Where it came in.
    pub door: Door,
    /// The socket.
    pub stream: std::net::TcpStream,
    /// The room that it takes.
    pub slot: Slot,
}

/// Binds the address of a setting; the error says which.
pub async fn bind(setting: &str, address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {setting} {address}: {error}"))
    })
}

/// Accepts connections of one door and hands them to the lanes in turn, until
/// `stop`. One for which there is no room is closed at once: its client learns
/// of it, and may find room elsewhere.
pub async fn accept(
    door: Door,
    listener: TcpListener,
    slots: Slots,
    lanes: Vec<mpsc::Sender<Incoming>>,
    stop: CancellationToken,
) {
    for lane in lanes.iter().cycle() {
        let hand_over = async {
            let stream = next(&listener).await;
            let Some(slot) = slots.take() else { return };
            match stream.into_std() {
                // A lane that does not listen has ended, and the process with it.
                Ok(stream) => drop(lane.send(Incoming { door, stream, slot }).await),
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
