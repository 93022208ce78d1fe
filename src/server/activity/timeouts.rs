//! Decides when a client has timed out, and when a connection can be closed.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{task::AbortHandle, time::sleep};

use super::{ConnectionActivity, OPENING_BYTES, Progress, TimedOut};
use crate::{
    clock::Stopwatch,
    server::{faults::Fault, memory::Memory},
    settings::LimitSettings,
};

/// The time for which a draining connection must have no request before it is closed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The send timeout while memory is short.
const SHORT_SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The send timeout of an endless response while the service stops.
const STOPPING_SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval at which a closing connection is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// What the timeouts of a connection ask for.
enum Timeout {
    /// Nothing, for this time.
    In(Duration),
    /// The end of one request.
    Cut(AbortHandle),
    /// The end of the connection.
    Close(TimedOut),
}

impl ConnectionActivity {
    /// Resolves when the client has timed out. Meanwhile it cuts the requests that time out by
    /// themselves.
    pub(in crate::server) async fn timed_out(&self, memory: &Memory) -> TimedOut {
        loop {
            let left = match self.next_timeout(memory.is_short()) {
                Timeout::In(left) => left,
                Timeout::Cut(task) => {
                    self.0.faults.record(Fault::StalledRequest);
                    task.abort();
                    continue;
                }
                Timeout::Close(reason) => return reason,
            };
            tokio::select! {
                () = sleep(left) => {}
                () = memory.becomes_short() => {}
                () = self.0.too_many_resets.notified() => return TimedOut::Resets,
            }
        }
    }

    /// The timeout that ends next if nothing happens.
    fn next_timeout(&self, memory_is_short: bool) -> Timeout {
        let limits = &self.0.limits;
        let mut send_timeout = limits.send_timeout;
        if memory_is_short {
            send_timeout = send_timeout.min(SHORT_SEND_TIMEOUT);
        }
        let mut progress = self.progress();
        let endless_timeout =
            if progress.stopping { send_timeout.min(STOPPING_SEND_TIMEOUT) } else { send_timeout };
        if let Some(unsent) = progress.unsent {
            let all_endless = progress.requests.iter().all(|(_, request)| request.endless);
            let limit = if all_endless { endless_timeout } else { send_timeout };
            return at(TimedOut::Send, limit, unsent.since, limit);
        }
        if progress.requests.is_empty() {
            let (reason, limit, since) = progress.without_requests(limits);
            // A request or a header that begins meanwhile may have a shorter timeout.
            return at(reason, limit, since, limits.header_timeout.min(send_timeout));
        }
        let response_timeout = limits.send_timeout.max(limits.body_timeout);
        let mut next = limits.header_timeout.min(endless_timeout);
        for (_, request) in progress.requests.iter_mut().filter(|(_, request)| !request.cut) {
            let (limit, since) = match request.stalled {
                Some(stalled) if request.endless => (endless_timeout, stalled),
                Some(stalled) => (send_timeout, stalled),
                None if !request.responded => (response_timeout, request.begun),
                None => continue,
            };
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                request.cut = true;
                // Without a task, h2 or hyper has all of the response, and cannot be asked to drop it.
                return match request.task.take() {
                    Some(task) if !task.is_finished() => Timeout::Cut(task),
                    _ => Timeout::Close(TimedOut::Send),
                };
            }
            next = next.min(left);
        }
        Timeout::In(next)
    }

    /// Waits until the connection had no request, and nothing to send or read, for this time.
    pub(in crate::server) async fn idle_for(&self, time: Duration) {
        loop {
            let left = {
                let progress = self.progress();
                let is_idle = progress.requests.is_empty()
                    && progress.header_begun.is_none()
                    && progress.unsent.is_none();
                if is_idle { time.saturating_sub(progress.advanced.elapsed()) } else { time }
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Waits until a draining connection can be closed: it has no request for [`LEAVE_TIMEOUT`] from
    /// now on, because the client may have sent one that has not arrived, and has to read that the
    /// connection ends. hyper would wait without limit for a client that hangs, and delay shutdown.
    pub(in crate::server) async fn drained(&self) {
        self.progress().advanced = Stopwatch::start();
        self.idle_for(LEAVE_TIMEOUT).await;
    }

    /// Runs a connection until the socket accepted everything that it has written.
    pub(in crate::server) async fn flushed(&self, mut connection: impl Future + Unpin) {
        poll_fn(|context| {
            let is_flushed = self.progress().unsent.is_none();
            if is_flushed { Poll::Ready(()) } else { Pin::new(&mut connection).poll(context).map(drop) }
        })
        .await;
    }

    /// Waits until every request has its response and the socket accepted it.
    pub(in crate::server) async fn answered(&self) {
        while {
            let progress = self.progress();
            !progress.requests.is_empty() || progress.unsent.is_some()
        } {
            sleep(CHECK_INTERVAL).await;
        }
    }
}

impl Progress {
    /// The timeout of a connection without a request.
    fn without_requests(&self, limits: &LimitSettings) -> (TimedOut, Duration, Stopwatch) {
        match self.header_begun {
            Some(begun) => (TimedOut::Header, limits.header_timeout, begun),
            None if self.received < OPENING_BYTES && (self.http2 || self.received == 0) => {
                (TimedOut::Header, limits.header_timeout, self.advanced)
            }
            None => (TimedOut::Idle, limits.idle_timeout, self.advanced),
        }
    }
}

/// What to do about a limit of the time since then, at most `longest` from now.
fn at(reason: TimedOut, limit: Duration, since: Stopwatch, longest: Duration) -> Timeout {
    match limit.saturating_sub(since.elapsed()) {
        Duration::ZERO => Timeout::Close(reason),
        left => Timeout::In(left.min(longest)),
    }
}
