//! The load: when calls are made, and what came of them.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::AsRawFd,
    time::Duration,
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use rustix::time::{ClockId, clock_gettime};

use super::{
    batch_sizes,
    call::Calls,
    connection::{Connection, read_buffer},
};
use crate::{
    clock::Stopwatch,
    settings::{BenchApi, BenchOperation, BenchSettings},
};

/// How long the last calls may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest latency that is told from a longer one.
const LATENCY_MAX_NANOS: u64 = 60_000_000_000;
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// The code of a call that had no answer in time; no other is that large.
pub(super) const UNANSWERED: u16 = u16::MAX;

/// What came of the calls that were due while it was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// How long it was measured.
    pub(super) length: Duration,
    /// Calls that were answered in that time, well or not.
    pub(super) calls: u64,
    /// Sessions or presences in those that were answered well.
    pub(super) members: u64,
    /// Calls by code.
    pub(super) codes: BTreeMap<u16, u64>,
    /// From when a call was due to its answer, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// The processor time that this process took.
    pub(super) processor: Duration,
}

/// Calls on some connections.
pub(super) struct Load {
    connections: Vec<Connection>,
    /// Tells on which of them something can be read or sent, by its index; once
    /// for each time that there was nothing before.
    poll: Poll,
    events: Events,
    calls: Calls,
    /// The connections that can take a call, once for each.
    free: VecDeque<usize>,
    stopwatch: Stopwatch,
    api: BenchApi,
    rate: Option<u32>,
    /// Whether `NOT_FOUND` is an answer like another one.
    clears: bool,
    progress: ProgressBar,
    /// What is read goes through it, on whichever connection.
    buffer: Box<[u8]>,
}

/// When the calls of one phase are due.
struct Pace {
    start: Duration,
    end: Option<Duration>,
    rate: Option<u32>,
    sent: u64,
}

impl Pace {
    /// When the next call is due; `None` once there is none.
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
    /// The error is the system's, which can't watch the connections.
    pub(super) fn new(
        connections: Vec<Connection>,
        calls: Calls,
        settings: &BenchSettings,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (index, connection) in connections.iter().enumerate() {
            let socket = connection.stream().as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&socket), Token(index), interest)?;
        }
        let most = connections.iter().map(|connection| connection.streams).max().unwrap_or(0);
        // One call on each before another one on any.
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
            stopwatch: Stopwatch::start(),
            api: settings.api,
            rate: settings.rate,
            clears: settings.operation == BenchOperation::Clear,
            progress,
            buffer: read_buffer(),
        })
    }

    /// Loads the users if that is wanted, warms up, measures.
    pub(super) fn run(&mut self, settings: &BenchSettings) -> io::Result<Measured> {
        if settings.load {
            let (batch, _) = batch_sizes(BenchOperation::BatchSet, self.api);
            self.calls.load_all(batch.into());
            let loaded = self.phase("load", None)?;
            if let Some((code, calls)) =
                loaded.codes.iter().find(|(code, _)| !is_done(self.api, false, **code))
            {
                return Err(io::Error::other(format!(
                    "{calls} calls that load users failed with code {code}"
                )));
            }
            self.calls = Calls::new(settings);
        }
        if !settings.warmup.is_zero() {
            self.phase("warm-up", Some(settings.warmup))?;
        }
        self.phase("measuring", Some(settings.duration))
    }

    /// Calls for so long, or until there is nothing more to call, and waits for
    /// the answers.
    fn phase(&mut self, name: &'static str, length: Option<Duration>) -> io::Result<Measured> {
        let (start, processor) = (self.stopwatch.elapsed(), processor_time());
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
            let now = self.stopwatch.elapsed();
            if now.saturating_sub(shown) > PROGRESS_INTERVAL {
                shown = now;
                self.progress.set_position(millis(now.saturating_sub(start)));
            }
            let next = if over.is_none() { self.hand_out(&mut pace, now)? } else { None };
            for connection in &mut self.connections {
                connection.flush()?;
            }
            if next.is_none() && over.is_none() {
                over = Some(now);
                measured.processor = processor_time().saturating_sub(processor);
            }
            let under_way = self.connections.iter().map(Connection::calls_under_way).sum::<usize>();
            if let Some(over) = over
                && (under_way == 0 || now.saturating_sub(over) > LAST_TIMEOUT)
            {
                *measured.codes.entry(UNANSWERED).or_default() += under_way as u64;
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

    /// Writes the calls that are due and for which there is room; says when the
    /// next one is, if any.
    fn hand_out(&mut self, pace: &mut Pace, now: Duration) -> io::Result<Option<Duration>> {
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

    /// Sleeps until something comes in, or can be sent that could not; says on
    /// which connections something came in, and whether it was the last.
    fn wait(&mut self, timeout: Duration) -> io::Result<Vec<(usize, bool)>> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let incoming = self.events.iter().filter(|event| event.is_readable() || event.is_error());
        Ok(incoming.map(|event| (event.token().0, event.is_read_closed())).collect())
    }

    /// Reads what came in.
    fn collect(&mut self, ready: &[(usize, bool)], pace: &Pace, measured: &mut Measured) -> io::Result<()> {
        let mut ended = Vec::new();
        for (index, closed) in ready {
            let Some(connection) = self.connections.get_mut(*index) else { continue };
            match connection.receive(*closed, &mut self.buffer, &mut ended) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                received => received?,
            }
            let now = self.stopwatch.elapsed();
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

/// Whether the code says that a call did what it should.
pub(super) fn is_done(api: BenchApi, clears: bool, code: u16) -> bool {
    match api {
        BenchApi::Grpc => code == 0 || (clears && code == 5),
        BenchApi::Http | BenchApi::Http2 => code == 200 || (clears && code == 404),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What this process has taken until now.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
