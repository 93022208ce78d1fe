//! The load: the schedule of calls, and their results.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    batch_sizes,
    call::Calls,
    connection::{Connection, PendingCall, read_buffer},
    settings::{Api, Operation, Settings},
};

/// The time that the last calls may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest recorded latency; longer ones count as this one.
const LATENCY_MAX_NANOS: u64 = 60_000_000_000;
/// The interval of progress updates.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// The code of a call without a response within [`LAST_TIMEOUT`]; no real code is as large.
pub(crate) const NO_RESPONSE: u16 = u16::MAX;

/// The results of the calls that were due during the measurement.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The length of the measurement.
    pub(crate) length: Duration,
    /// Calls that ended in that time, successful or not.
    pub(crate) calls: u64,
    /// Sessions or presences in the successful ones.
    pub(crate) members: u64,
    /// Calls by code.
    pub(crate) codes: BTreeMap<u16, u64>,
    /// Time from the moment that a call was due to its response, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The processor time of this process.
    pub(crate) processor: Duration,
}

/// Load on a number of connections.
pub(crate) struct Load {
    connections: Vec<Connection>,
    /// Reports which connections are readable or writable, by index, edge-triggered.
    poll: Poll,
    events: Events,
    calls: Calls,
    /// The connections with a free stream, one entry for each free stream.
    free: VecDeque<usize>,
    start: Instant,
    api: Api,
    rate: Option<u32>,
    /// Whether `NOT_FOUND` counts as success.
    clears: bool,
    progress: ProgressBar,
    /// The read buffer that all connections share.
    buffer: Box<[u8]>,
}

/// The schedule of one phase.
struct Pace {
    start: Duration,
    end: Option<Duration>,
    rate: Option<u32>,
    sent: u64,
}

impl Pace {
    /// The time at which the next call is due, or `None` at the end of the phase.
    fn next(&self, now: Duration) -> Option<Duration> {
        let due = match self.rate {
            None => now,
            Some(rate) => {
                let nanos = u128::from(self.sent) * 1_000_000_000 / u128::from(rate);
                self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        self.end.is_none_or(|end| due < end).then_some(due)
    }
}

impl Load {
    /// Prepares the load; fails if the operating system can't poll the connections.
    pub(crate) fn new(connections: Vec<Connection>, calls: Calls, settings: &Settings) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (index, connection) in connections.iter().enumerate() {
            let socket = connection.stream().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&socket), Token(index), interest)?;
        }
        let most = connections.iter().map(|connection| connection.streams).max().unwrap_or(0);
        // Every connection gets a call before any gets a second one.
        let free = (0..most).flat_map(|_| 0..connections.len()).collect();
        let target = if settings.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let progress = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg:9} [{bar:40}] {percent}%") {
            progress.set_style(style.progress_chars("=> "));
        }
        Ok(Self {
            events: Events::with_capacity(connections.len().max(1)),
            poll,
            connections,
            calls,
            free,
            start: Instant::now(),
            api: settings.api,
            rate: settings.rate,
            clears: settings.operation == Operation::Clear,
            progress,
            buffer: read_buffer(),
        })
    }

    /// Loads the users if the settings ask for it, warms up, and measures.
    pub(crate) fn run(&mut self, settings: &Settings) -> io::Result<Measured> {
        if settings.load {
            let (batch, _) = batch_sizes(Operation::BatchSet, self.api);
            self.calls.load_all(batch.into());
            let loaded = self.phase("load", None)?;
            if let Some((code, calls)) =
                loaded.codes.iter().find(|(code, _)| !is_done(self.api, false, **code))
            {
                return Err(io::Error::other(format!("--load failed: {calls} calls ended with code {code}")));
            }
            self.calls = Calls::new(settings);
        }
        if settings.each_user {
            return self.phase("measuring", None);
        }
        if !settings.warmup.is_zero() {
            self.phase("warm-up", Some(settings.warmup))?;
        }
        self.phase("measuring", Some(settings.duration))
    }

    /// Sends calls for `length`, or until no call is left, and waits for the responses.
    fn phase(&mut self, name: &'static str, length: Option<Duration>) -> io::Result<Measured> {
        let (start, processor) = (self.start.elapsed(), processor_time());
        let rate = self.rate.filter(|_| length.is_some());
        let mut pace = Pace { start, end: length.map(|length| start + length), rate, sent: 0 };
        let mut measured = Measured {
            length: Duration::ZERO,
            calls: 0,
            members: 0,
            codes: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, 3).map_err(io::Error::other)?,
            processor: Duration::ZERO,
        };
        self.progress.set_message(name);
        self.progress.set_length(length.map_or(1, millis));
        let (mut over, mut shown) = (None, start);
        loop {
            let now = self.start.elapsed();
            if now.saturating_sub(shown) > PROGRESS_INTERVAL {
                shown = now;
                self.progress.set_position(millis(now.saturating_sub(start)));
            }
            let next = if over.is_none() { self.send_due(&mut pace, now)? } else { None };
            for connection in &mut self.connections {
                connection.flush()?;
            }
            if next.is_none() && over.is_none() {
                over = Some(now);
                measured.processor = processor_time().saturating_sub(processor);
            }
            let pending = self.connections.iter().map(Connection::pending_calls).sum::<usize>();
            if let Some(over) = over
                && (pending == 0 || now.saturating_sub(over) > LAST_TIMEOUT)
            {
                *measured.codes.entry(NO_RESPONSE).or_default() += pending as u64;
                measured.codes.retain(|_, calls| *calls > 0);
                measured.length = pace.end.unwrap_or(now).saturating_sub(start);
                return Ok(measured);
            }
            let until = next.filter(|due| *due > now).or(pace.end.filter(|end| *end > now));
            let ready = self.wait(
                until.map_or(PROGRESS_INTERVAL, |until| until.saturating_sub(now).min(PROGRESS_INTERVAL)),
            )?;
            self.collect(&ready, &pace, &mut measured)?;
        }
    }

    /// Queues the due calls for which a stream is free. Returns the time at which the next call
    /// is due, or `None` if there is none.
    fn send_due(&mut self, pace: &mut Pace, now: Duration) -> io::Result<Option<Duration>> {
        let mut next = pace.next(now);
        while let Some(due) = next.filter(|due| *due <= now) {
            let Some(index) = self.free.pop_front() else { break };
            let Some(call) = self.calls.next() else {
                self.free.push_back(index);
                next = None;
                break;
            };
            pace.sent += 1;
            next = pace.next(now);
            if let Some(connection) = self.connections.get_mut(index) {
                connection.send(&call, due)?;
            }
        }
        Ok(next)
    }

    /// Waits until a connection becomes readable or writable. Returns the readable ones, each with
    /// whether the service has closed it.
    fn wait(&mut self, timeout: Duration) -> io::Result<Vec<(usize, bool)>> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let readable = self.events.iter().filter(|event| event.is_readable() || event.is_error());
        Ok(readable.map(|event| (event.token().0, event.is_read_closed())).collect())
    }

    /// Reads from the given connections, and records the calls that ended.
    fn collect(&mut self, ready: &[(usize, bool)], pace: &Pace, measured: &mut Measured) -> io::Result<()> {
        let mut ended: Vec<(PendingCall, u16)> = Vec::new();
        for (index, closed) in ready {
            let Some(connection) = self.connections.get_mut(*index) else { continue };
            match connection.receive(*closed, &mut self.buffer, &mut ended) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                received => received?,
            }
            let now = self.start.elapsed();
            for (call, code) in ended.drain(..) {
                self.free.push_back(*index);
                *measured.codes.entry(code).or_default() += 1;
                if pace.end.is_none_or(|end| now <= end) {
                    measured.calls += 1;
                    measured.members += if is_done(self.api, self.clears, code) { call.members } else { 0 };
                }
                let latency = u64::try_from(now.saturating_sub(call.due).as_nanos()).unwrap_or(u64::MAX);
                measured.latency.saturating_record(latency);
            }
        }
        Ok(())
    }
}

/// Whether the code means success.
pub(crate) fn is_done(api: Api, clears: bool, code: u16) -> bool {
    match api {
        Api::Grpc => code == 0 || (clears && code == 5),
        Api::Http | Api::Http2 | Api::Webdis => code == 200 || (clears && code == 404),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The processor time of this process since its start.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
