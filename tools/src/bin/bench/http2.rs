//! HTTP/2 frames, for the gRPC API and for the HTTP API.
//!
//! Headers are literals without indexing, so that the encoder has no state. The client's
//! settings ask the service for the same.

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use loona_hpack::Decoder;

use crate::{
    call::Call,
    graph::{self, Graph},
    grpc,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The header of a frame: length, type, flags and stream.
const FRAME_HEADER_BYTES: usize = 9;
/// The largest frame that every server must accept.
const FRAME_MAX_BYTES: usize = 16_384;
/// The largest flow-control window.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// The initial window of a connection, and of a stream without a setting.
const WINDOW_DEFAULT: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flag of HEADERS and DATA: the last frame of the stream.
const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING.
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_ENABLE_PUSH: u16 = 2;
const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

/// Indexes in the static table of HPACK.
const GET: u8 = 0x82;
const POST: u8 = 0x83;
const HTTP: u8 = 0x86;
const STATUS_200: u8 = 0x88;

/// gRPC status codes that HTTP/2 errors map to.
const CANCELLED: u16 = 1;
const UNKNOWN: u16 = 2;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

/// The client's side of one connection.
pub(crate) struct Http2 {
    dialect: Dialect,
    /// The header block that all calls share.
    headers: Vec<u8>,
    next_stream: u32,
    /// The rest of the connection's send window in bytes.
    window: i64,
    /// The initial send window of a stream in bytes.
    stream_window: i64,
    streams_max: u32,
    /// Whether the service's SETTINGS have arrived.
    has_settings: bool,
    /// Bytes received since the last `WINDOW_UPDATE`.
    received: u32,
    /// DATA frames that wait for the window, with their length.
    held: VecDeque<(usize, Vec<u8>)>,
    /// Codes by header block. A block always means the same, because the client allows no
    /// dynamic table.
    codes: HashMap<Vec<u8>, u16>,
    /// Codes other than 200 of responses of the HTTP API whose body is incomplete.
    failed: HashMap<u32, u16>,
    /// The incomplete bodies of `$batch` responses, whose items have a code each.
    batches: HashMap<u32, Vec<u8>>,
}

/// The API that the frames carry.
pub(crate) enum Dialect {
    /// The gRPC API, with the session id.
    Grpc(String),
    /// The HTTP API.
    Graph(Graph),
}

impl Http2 {
    pub(crate) fn new(authority: &str, token: Option<&str>, dialect: Dialect) -> Self {
        let mut headers = vec![HTTP];
        literal(&mut headers, ":authority", authority);
        match dialect {
            Dialect::Grpc(_) => {
                literal(&mut headers, "content-type", "application/grpc");
                literal(&mut headers, "te", "trailers");
            }
            Dialect::Graph(_) => literal(&mut headers, "content-type", "application/json"),
        }
        if let Some(token) = token {
            literal(&mut headers, "authorization", &format!("Bearer {token}"));
        }
        Self {
            dialect,
            headers,
            next_stream: 1,
            window: WINDOW_DEFAULT.into(),
            stream_window: WINDOW_DEFAULT.into(),
            streams_max: u32::MAX,
            has_settings: false,
            received: 0,
            held: VecDeque::new(),
            codes: HashMap::new(),
            failed: HashMap::new(),
            batches: HashMap::new(),
        }
    }

    /// Appends the client's preface and settings to `out`.
    pub(crate) fn open(out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        let mut settings = Vec::new();
        for (name, value) in [
            (SETTINGS_HEADER_TABLE_SIZE, 0),
            (SETTINGS_ENABLE_PUSH, 0),
            (SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_MAX),
        ] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame(out, SETTINGS, 0, 0, &settings);
        frame(out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_DEFAULT).to_be_bytes());
    }

    /// The service's limit of concurrent streams, once its settings have arrived.
    pub(crate) fn streams_max(&self) -> Option<u32> {
        self.has_settings.then_some(self.streams_max)
    }

    /// Appends a call to `out`. Returns its stream.
    pub(crate) fn send(&mut self, call: &Call, out: &mut Vec<u8>) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let (method, path, message) = match &self.dialect {
            Dialect::Grpc(session_id) => {
                let (path, message) = grpc::message(call, session_id);
                (POST, path.to_owned(), message)
            }
            Dialect::Graph(graph) => {
                if let Call::BatchSet(_) = call {
                    self.batches.insert(stream, Vec::new());
                }
                let (path, body) = graph.request(call)?;
                let method = if body.is_some() { POST } else { GET };
                (method, path, body.unwrap_or_default().into_bytes())
            }
        };
        let mut headers = vec![method];
        literal(&mut headers, ":path", &path);
        headers.extend_from_slice(&self.headers);
        if message.is_empty() {
            frame(out, HEADERS, END_HEADERS | END_STREAM, stream, &headers);
            return Ok(stream);
        }
        frame(out, HEADERS, END_HEADERS, stream, &headers);

        let length = message.len();
        if i64::try_from(length).is_ok_and(|length| length > self.stream_window) {
            return Err(io::Error::other(format!(
                "the service's stream window is smaller than the message of {length} bytes"
            )));
        }
        let mut data = Vec::with_capacity(length + FRAME_HEADER_BYTES);
        let mut chunks = message.chunks(FRAME_MAX_BYTES).peekable();
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() { END_STREAM } else { 0 };
            frame(&mut data, DATA, flags, stream, chunk);
        }
        self.held.push_back((length, data));
        self.release(out);
        Ok(stream)
    }

    /// Appends the held DATA frames for which the window has room.
    fn release(&mut self, out: &mut Vec<u8>) {
        while let Some((length, _)) = self.held.front() {
            let length = i64::try_from(*length).unwrap_or(i64::MAX);
            if length > self.window {
                return;
            }
            self.window -= length;
            if let Some((_, data)) = self.held.pop_front() {
                out.extend_from_slice(&data);
            }
        }
    }

    /// Parses the complete frames in `bytes`, appends the frames that they require to `out`, and
    /// the calls that ended to `ended`. Returns the number of parsed bytes.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        ended: &mut Vec<(u32, u16)>,
    ) -> io::Result<usize> {
        let mut read = 0;
        while let Some((kind, flags, stream, payload)) = next_frame(bytes.get(read..).unwrap_or_default()) {
            read += FRAME_HEADER_BYTES + payload.len();
            match kind {
                DATA => {
                    self.received =
                        self.received.saturating_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
                    if self.received > WINDOW_MAX / 2 {
                        frame(out, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
                        self.received = 0;
                    }
                    let last = flags & END_STREAM != 0;
                    self.data(stream, payload, last, ended);
                }
                HEADERS if flags & END_HEADERS == 0 => {
                    return Err(io::Error::other("the service sent headers that need more than one frame"));
                }
                HEADERS if flags & END_STREAM != 0 => ended.push((stream, self.code(payload)?)),
                HEADERS if matches!(self.dialect, Dialect::Graph(_)) => {
                    let code = self.code(payload)?;
                    if code != 200 {
                        self.failed.insert(stream, code);
                    }
                }
                RST_STREAM => ended.push((stream, code_of_reset(number(payload)))),
                SETTINGS if flags & ACK == 0 => {
                    self.settings(payload);
                    frame(out, SETTINGS, ACK, 0, &[]);
                }
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                GOAWAY => {
                    let why = number(payload.get(4..).unwrap_or_default());
                    return Err(io::Error::other(format!(
                        "the service closed the connection with GOAWAY, error code {why}"
                    )));
                }
                WINDOW_UPDATE if stream == 0 => {
                    self.window += i64::from(number(payload));
                    self.release(out);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Handles DATA. A gRPC response ends with trailers instead, so the end of DATA is an error.
    fn data(&mut self, stream: u32, payload: &[u8], last: bool, ended: &mut Vec<(u32, u16)>) {
        if let Some(body) = self.batches.get_mut(&stream) {
            body.extend_from_slice(payload);
        }
        if last {
            let code = match self.dialect {
                Dialect::Grpc(_) => UNKNOWN,
                Dialect::Graph(_) => self.failed.remove(&stream).unwrap_or(200),
            };
            let in_batch = self.batches.remove(&stream).and_then(|body| graph::failed_in_batch(&body));
            ended.push((stream, in_batch.unwrap_or(code)));
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        self.has_settings = true;
        for setting in payload.chunks_exact(6) {
            let (name, value) = setting.split_at(2);
            match u16::from_be_bytes([name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0)])
            {
                SETTINGS_MAX_CONCURRENT_STREAMS => self.streams_max = number(value),
                SETTINGS_INITIAL_WINDOW_SIZE => self.stream_window = number(value).into(),
                _ => {}
            }
        }
    }

    /// The code in a header block.
    fn code(&mut self, block: &[u8]) -> io::Result<u16> {
        /// The limit of the cache, because each error may have its own text.
        const KNOWN_MAX: usize = 100;

        let name = match self.dialect {
            Dialect::Grpc(_) => &b"grpc-status"[..],
            // Each response of the HTTP API has its own request id, so caching blocks is useless.
            Dialect::Graph(_) if block.first() == Some(&STATUS_200) => return Ok(200),
            Dialect::Graph(_) => b":status",
        };
        if let Some(code) = self.codes.get(block) {
            return Ok(*code);
        }
        let headers = Decoder::new().decode(block).map_err(|error| {
            io::Error::other(format!("the response headers are invalid HPACK: {error:?}"))
        })?;
        let code = headers.iter().find(|(of, _)| of == name);
        let code = code.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok()).unwrap_or(UNKNOWN);
        if self.codes.len() < KNOWN_MAX {
            self.codes.insert(block.to_vec(), code);
        }
        Ok(code)
    }
}

/// The gRPC status code for an `RST_STREAM` error code.
const fn code_of_reset(error: u32) -> u16 {
    match error {
        7 => UNAVAILABLE,
        8 => CANCELLED,
        11 => RESOURCE_EXHAUSTED,
        _ => INTERNAL,
    }
}

/// Appends an HPACK literal header without indexing.
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        integer(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends an HPACK integer with a prefix of 7 bits.
fn integer(out: &mut Vec<u8>, value: usize) {
    const PREFIX_MAX: usize = 127;
    let low = |value: usize| u8::try_from(value & 0x7f).unwrap_or_default();
    if value < PREFIX_MAX {
        return out.push(low(value));
    }
    out.push(low(PREFIX_MAX));
    let mut rest = value - PREFIX_MAX;
    while rest > PREFIX_MAX {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The type, flags, stream and payload of the first frame in `bytes`, if it is complete.
fn next_frame(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let (header, rest) = bytes.split_at_checked(FRAME_HEADER_BYTES)?;
    let &[a, b, c, kind, flags, ref stream @ ..] = header else { return None };
    let payload = rest.get(..usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?)?;
    Some((kind, flags, number(stream) & WINDOW_MAX, payload))
}

/// The big-endian number in the first four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
