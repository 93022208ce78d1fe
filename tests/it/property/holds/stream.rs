//! A client's stream that holds a session, with a task that notes its responses.

use std::time::Duration;

use presenced::{
    app::Addresses,
    clock::Stopwatch,
    grpc::pb::{
        HoldPresenceRequest, KeepPresenceRequest, hold_presence_response, keep_presence_response,
        presence_service_client::PresenceServiceClient,
    },
    presence::Timestamp,
};
use prost_types::Timestamp as ProtoTime;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    support::{
        client::{activity_number, availability_number},
        proxy::{Network, Proxy},
    },
    watch::PATIENCE,
};

/// The grace of all streams, which is the shortest one.
const GRACE: prost_types::Duration = prost_types::Duration { seconds: 5, nanos: 0 };

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// OK: the client had ended its side.
    Clean,
    /// The service told that another caller took the session.
    Taken,
    /// The service told that the database is unavailable.
    Unavailable,
    /// The connection broke.
    Broken,
}

/// What a client has read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The number of messages that the service acknowledged.
    pub(super) sets: usize,
    pub(super) extensions: usize,
    /// The latest expiry that the service told.
    pub(super) expires_at: Option<Timestamp>,
    /// The end, and when it was read.
    pub(super) end: Option<(End, Duration)>,
}

pub(super) struct Stream {
    pub(super) replica: usize,
    messages: Option<mpsc::Sender<HoldPresenceRequest>>,
    /// The number of messages that were sent, and not lost.
    pub(super) sent: usize,
    seen: watch::Receiver<Seen>,
    reader: JoinHandle<()>,
    proxy: Option<Proxy>,
}

fn message(user: &str, pair: &str) -> HoldPresenceRequest {
    let (availability, activity) = pair.split_once('/').unwrap();
    HoldPresenceRequest {
        user_id: user.to_owned(),
        session_id: "app".to_owned(),
        availability: availability_number(availability),
        activity: activity_number(activity),
        grace: Some(GRACE),
        ..Default::default()
    }
}

impl Stream {
    /// Opens a stream on a connection of its own, with `KeepPresence` or else `HoldPresence`.
    /// With `can_break` the connection leads through a proxy.
    pub(super) async fn open(
        (replica, addresses): (usize, Addresses),
        (user, pair): (&str, &str),
        keep: bool,
        can_break: bool,
        stopwatch: Stopwatch,
    ) -> Self {
        let mut url = format!("http://{}", addresses.grpc);
        let mut proxy = None;
        if can_break {
            let (between, through) = Proxy::to(&format!("http://x@{}/", addresses.grpc)).await;
            url = through.replace("x@", "");
            proxy = Some(between);
        }
        let (messages, receiver) = mpsc::channel(16);
        let first = message(user, pair);
        let (seen, reads) = watch::channel(Seen::default());
        let reader = tokio::spawn(async move {
            let end = match read(url, first, (!keep).then_some(receiver), &seen).await {
                Ok(()) => End::Clean,
                Err(status) => end_of(&status),
            };
            seen.send_modify(|seen| seen.end = Some((end, stopwatch.elapsed())));
        });
        let messages = (!keep).then_some(messages);
        Self { replica, messages, sent: 1, seen: reads, reader, proxy }
    }

    pub(super) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Whether the client can still send.
    pub(super) fn can_send(&self) -> bool {
        self.messages.is_some() && self.is_open()
    }

    /// Whether the client has neither read an end nor cancelled.
    pub(super) fn is_open(&self) -> bool {
        !self.reader.is_finished() && self.seen().end.is_none()
    }

    /// Waits for what the client reads. The error is an end before that.
    pub(super) async fn until(&mut self, reads: impl FnMut(&Seen) -> bool) -> Result<(), End> {
        let mut reads = reads;
        let waits = self.seen.wait_for(|seen| reads(seen) || seen.end.is_some());
        let seen = *timeout(PATIENCE, waits).await.expect("a response in time").expect("the reader runs");
        match seen.end {
            Some((end, _)) if !reads(&seen) => Err(end),
            _ => Ok(()),
        }
    }

    /// Waits until all messages are acknowledged.
    pub(super) async fn acknowledged(&mut self) -> Result<(), End> {
        let sent = self.sent;
        self.until(|seen| seen.sets >= sent).await
    }

    /// Waits for the end of the stream.
    pub(super) async fn end(&mut self) -> End {
        self.until(|_| false).await.expect_err("only the end is awaited")
    }

    /// Sends a message without waiting for its response.
    pub(super) fn send(&mut self, pair: &str) {
        let sender = self.messages.as_ref().expect("an open side");
        // If the stream has ended, so has its receiver.
        let _ = sender.try_send(message("", pair));
        self.sent += 1;
    }

    /// Ends the client's side.
    pub(super) fn half_close(&mut self) {
        self.messages = None;
    }

    /// Cancels the stream.
    pub(super) async fn cancel(&mut self) {
        self.reader.abort();
        // The stream is dropped before the sender, whose drop would be a clean end.
        let _ = (&mut self.reader).await;
        self.messages = None;
    }

    /// Breaks the connection if the stream has a proxy, and cancels the stream otherwise.
    pub(super) async fn break_off(&mut self, network: Network) {
        if let Some(proxy) = &self.proxy {
            proxy.set(network);
            let _ = timeout(PATIENCE, &mut self.reader).await.expect("the connection breaks");
            self.messages = None;
        } else {
            self.cancel().await;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Opens the stream and notes what it reads until it ends.
async fn read(
    url: String,
    first: HoldPresenceRequest,
    messages: Option<mpsc::Receiver<HoldPresenceRequest>>,
    seen: &watch::Sender<Seen>,
) -> Result<(), Status> {
    let broken = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let channel = Channel::from_shared(url).unwrap().connect().await.map_err(broken)?;
    let mut client = PresenceServiceClient::new(channel);
    let note = |expires: Option<ProtoTime>, is_set: bool| {
        let expires = expires.expect("an expiry");
        let millis = expires.seconds * 1_000 + i64::from(expires.nanos / 1_000_000);
        seen.send_modify(|seen| {
            seen.sets += usize::from(is_set);
            seen.extensions += usize::from(!is_set);
            seen.expires_at = Some(Timestamp::from_millis(millis));
        });
    };
    if let Some(mut messages) = messages {
        use hold_presence_response::Event;
        let mut first = Some(first);
        let requests = futures_util::stream::poll_fn(move |context| match first.take() {
            Some(first) => std::task::Poll::Ready(Some(first)),
            None => messages.poll_recv(context),
        });
        let mut stream = client.hold_presence(requests).await?.into_inner();
        while let Some(response) = stream.message().await? {
            match response.event.expect("an event") {
                Event::SessionSet(set) => note(set.expire_time, true),
                Event::SessionExtended(extended) => note(extended.expire_time, false),
            }
        }
    } else {
        use keep_presence_response::Event;
        let HoldPresenceRequest {
            user_id,
            session_id,
            availability,
            activity,
            grace,
            observed_time,
            message,
        } = first;
        let request = KeepPresenceRequest {
            user_id,
            session_id,
            availability,
            activity,
            grace,
            observed_time,
            message,
        };
        let mut stream = client.keep_presence(request).await?.into_inner();
        while let Some(response) = stream.message().await? {
            match response.event.expect("an event") {
                Event::SessionSet(set) => note(set.expire_time, true),
                Event::SessionExtended(extended) => note(extended.expire_time, false),
            }
        }
    }
    Ok(())
}

fn end_of(status: &Status) -> End {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (Code::NotFound, Some("ERROR_REASON_SESSION_TAKEN")) => End::Taken,
        (Code::Unavailable, Some("ERROR_REASON_STORE_UNAVAILABLE")) => End::Unavailable,
        (Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled, None) => End::Broken,
        _ => panic!("{status:?}"),
    }
}
