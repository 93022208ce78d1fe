//! A connection and its pending calls.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    call::Call,
    graph::Graph,
    http1::{Http1, Requests},
    http2::{Dialect, Http2},
    settings::{Api, Settings},
};

/// The time that the service has to accept a connection and send its settings.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of the read buffer.
const READ_BYTES: usize = 64 * 1_024;

/// A buffer for reads, which are frequent: zeroing a new one costs more than the read.
pub(crate) fn read_buffer() -> Box<[u8]> {
    vec![0; READ_BYTES].into()
}

enum Wire {
    Http2(Box<Http2>),
    Http1(Http1),
}

/// A call without a response yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingCall {
    /// The time at which the call was due, since the start of the load.
    pub(crate) due: Duration,
    pub(crate) members: u64,
}

/// A connection to the service.
pub(crate) struct Connection {
    stream: TcpStream,
    wire: Wire,
    pending: HashMap<u32, PendingCall>,
    /// The most calls that may be pending.
    pub(crate) streams: u16,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(
        address: SocketAddr,
        authority: &str,
        token: Option<&str>,
        streams: u16,
        settings: &Settings,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, OPEN_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(OPEN_TIMEOUT))?;
        let session_id = &settings.session_id;
        let mut outbox = Vec::new();
        let mut http2 = |dialect| {
            Http2::open(&mut outbox);
            Wire::Http2(Box::new(Http2::new(authority, token, dialect)))
        };
        let wire = match settings.api {
            Api::Grpc => http2(Dialect::Grpc(session_id.clone())),
            Api::Http2 => http2(Dialect::Graph(Graph::new(session_id))),
            Api::Http => Wire::Http1(Http1::new(authority, token, Requests::Graph(Graph::new(session_id)))),
            Api::Webdis => Wire::Http1(Http1::new(authority, token, Requests::Webdis)),
        };
        let mut connection =
            Self { stream, wire, pending: HashMap::new(), streams, inbox: Vec::new(), outbox };
        connection.flush()?;
        connection.wait_for_settings()?;
        connection.stream.set_nonblocking(true)?;
        Ok(connection)
    }

    /// Waits for the service's HTTP/2 settings, and checks its limit of streams.
    fn wait_for_settings(&mut self) -> io::Result<()> {
        let mut buffer = read_buffer();
        loop {
            let Wire::Http2(http2) = &self.wire else { return Ok(()) };
            match http2.streams_max() {
                None => {
                    self.receive(false, &mut buffer, &mut Vec::new()).map_err(|error| {
                        match error.kind() {
                            io::ErrorKind::WouldBlock => {
                                io::Error::other("the service does not speak unencrypted HTTP/2")
                            }
                            _ => error,
                        }
                    })?;
                }
                Some(max) if u32::from(self.streams) > max => {
                    return Err(io::Error::other(format!(
                        "the service allows {max} concurrent calls per connection: give --streams {max} or less"
                    )));
                }
                Some(_) => return self.flush(),
            }
        }
    }

    /// Queues a call that is due at `due`; [`Self::flush`] sends it.
    pub(crate) fn send(&mut self, call: &Call, due: Duration) -> io::Result<()> {
        let id = match &mut self.wire {
            Wire::Http2(http2) => http2.send(call, &mut self.outbox)?,
            Wire::Http1(http1) => {
                http1.send(call, &mut self.outbox)?;
                0
            }
        };
        self.pending.insert(id, PendingCall { due, members: call.members() });
        Ok(())
    }

    /// Sends the queued bytes that the socket accepts.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn pending_calls(&self) -> usize {
        self.pending.len()
    }

    /// Reads the available bytes, and appends each call that ended with its code. `closed`
    /// says that the service closed the connection, so that all must be read.
    pub(crate) fn receive(
        &mut self,
        closed: bool,
        buffer: &mut [u8],
        ended: &mut Vec<(PendingCall, u16)>,
    ) -> io::Result<()> {
        let end = loop {
            match self.stream.read(buffer) {
                Ok(0) => break Some(io::Error::other("the service closed a connection")),
                Ok(read) => {
                    self.inbox.extend_from_slice(buffer.get(..read).unwrap_or_default());
                    // A read that does not fill the buffer has emptied the socket.
                    if read < buffer.len() && !closed {
                        break None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.inbox.is_empty() => {
                    break None;
                }
                Err(error) => break Some(error),
            }
        };
        let mut ids = Vec::new();
        let read = match &mut self.wire {
            Wire::Http2(http2) => http2.receive(&self.inbox, &mut self.outbox, &mut ids)?,
            Wire::Http1(http1) => http1.receive(&self.inbox, &mut ids)?,
        };
        self.inbox.drain(..read);
        ended.extend(ids.into_iter().filter_map(|(id, code)| Some((self.pending.remove(&id)?, code))));
        // An error in the bytes themselves, returned above, explains more than this one.
        end.map_or(Ok(()), Err)
    }
}
