//! One connection, and the calls that are under way on it.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    call::Call,
    graph::Graph,
    http1::Http1,
    http2::{Dialect, Http2},
};
use crate::settings::{BenchApi, BenchSettings};

/// How long the service may take to let a connection in.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read at once, in bytes.
const READ_BYTES: usize = 64 * 1_024;

/// To read into: to zero one for each read would cost more than to read.
pub(super) fn read_buffer() -> Box<[u8]> {
    vec![0; READ_BYTES].into()
}

enum Wire {
    Http2(Box<Http2>),
    Http1(Http1),
}

/// A call that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    /// When it should have been sent, since the start of the load.
    pub(super) due: Duration,
    pub(super) members: u64,
}

/// A connection to the service.
pub(super) struct Connection {
    stream: TcpStream,
    wire: Wire,
    under_way: HashMap<u32, UnderWay>,
    /// Calls that it can have under way.
    pub(super) streams: u16,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Connection {
    pub(super) fn open(
        address: SocketAddr,
        authority: &str,
        token: Option<&str>,
        streams: u16,
        settings: &BenchSettings,
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
            BenchApi::Grpc => http2(Dialect::Grpc(session_id.clone())),
            BenchApi::Http2 => http2(Dialect::Graph(Graph::new(session_id))),
            BenchApi::Http => Wire::Http1(Http1::new(authority, token, Graph::new(session_id))),
        };
        let mut connection =
            Self { stream, wire, under_way: HashMap::new(), streams, inbox: Vec::new(), outbox };
        connection.flush()?;
        connection.wait_until_begun()?;
        connection.stream.set_nonblocking(true)?;
        Ok(connection)
    }

    fn wait_until_begun(&mut self) -> io::Result<()> {
        let mut buffer = read_buffer();
        loop {
            let Wire::Http2(http2) = &self.wire else { return Ok(()) };
            match http2.begun() {
                None => {
                    self.receive(false, &mut buffer, &mut Vec::new()).map_err(|error| {
                        match error.kind() {
                            io::ErrorKind::WouldBlock => {
                                io::Error::other("it does not speak HTTP/2 unencrypted")
                            }
                            _ => error,
                        }
                    })?;
                }
                Some(max) if u32::from(self.streams) > max => {
                    return Err(io::Error::other(format!(
                        "it takes {max} calls at once on a connection: give --streams {max} or less"
                    )));
                }
                Some(_) => return self.flush(),
            }
        }
    }

    /// Writes a call that was due at `due`; [`Self::flush`] sends it.
    pub(super) fn send(&mut self, call: &Call, due: Duration) -> io::Result<()> {
        let id = match &mut self.wire {
            Wire::Http2(http2) => http2.send(call, &mut self.outbox)?,
            Wire::Http1(http1) => {
                http1.send(call, &mut self.outbox)?;
                0
            }
        };
        self.under_way.insert(id, UnderWay { due, members: call.members() });
        Ok(())
    }

    /// Sends what is written, as far as the service takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
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

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn calls_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Reads what is there, to the end if that has come; notes the calls that
    /// ended, and their codes.
    pub(super) fn receive(
        &mut self,
        closed: bool,
        buffer: &mut [u8],
        ended: &mut Vec<(UnderWay, u16)>,
    ) -> io::Result<()> {
        let end = loop {
            match self.stream.read(buffer) {
                Ok(0) => break Some(io::Error::other("the service closed a connection")),
                Ok(read) => {
                    self.inbox.extend_from_slice(buffer.get(..read).unwrap_or_default());
                    // Less than there was room for is all that there is.
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
            Wire::Http1(_) => Http1::receive(&self.inbox, &mut ids)?,
        };
        self.inbox.drain(..read);
        ended.extend(ids.into_iter().filter_map(|(id, code)| Some((self.under_way.remove(&id)?, code))));
        // What the service said before says more.
        end.map_or(Ok(()), Err)
    }
}
