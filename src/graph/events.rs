//! Streams of Server-Sent Events, for browsers and curl.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    response::{IntoResponse, Response, Sse, sse},
};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, header::CACHE_CONTROL};
use serde::Serialize;

use super::{ids::Ids, odata::Select, refusal::Refusal, responses::PresenceProperties};
use crate::{
    clock::Clock,
    presence::Timestamp,
    server::Endless,
    service::{Error, HoldEvent, WatchEvent},
};

/// How long a browser waits before it reopens a stream that has ended.
const RETRY: Duration = Duration::from_secs(2);

/// With "no", nginx passes each event on at once instead of buffering.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The presences of watched users as a response. The events have no ids: a client that reconnects
/// begins with a snapshot, so it has nothing to resume.
pub(super) fn of_watch(
    events: impl Stream<Item = Result<WatchEvent, Error>> + Send + 'static,
    select: Select,
    ids: Ids,
    clock: Clock,
) -> Response {
    let events = events.map(move |event| match event {
        Ok(WatchEvent::Presence(presence)) => {
            named("presence", &json(&PresenceProperties::new(presence.into(), &select)))
        }
        Ok(WatchEvent::SnapshotComplete) => named("snapshotComplete", "{}"),
        Ok(WatchEvent::Heartbeat) => named("heartbeat", "{}"),
        Err(error) => failure(error, &ids, &clock),
    });
    let retry = sse::Event::default().retry(RETRY);
    respond(stream::iter([retry]).chain(events))
}

/// The events of a held session as a response.
pub(super) fn of_hold(
    events: impl Stream<Item = Result<HoldEvent, Error>> + Send + 'static,
    ids: Ids,
    clock: Clock,
) -> Response {
    respond(events.map(move |event| match event {
        Ok(HoldEvent::Set(at)) => named("sessionSet", &json(&SessionExpiry::new(at))),
        Ok(HoldEvent::Extended(at)) => named("sessionExtended", &json(&SessionExpiry::new(at))),
        Err(error) => failure(error, &ids, &clock),
    }))
}

/// When a held session expires, as the data of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionExpiry {
    expiry_date_time: String,
}

impl SessionExpiry {
    fn new(at: Timestamp) -> Self {
        Self { expiry_date_time: at.to_string() }
    }
}

fn respond(events: impl Stream<Item = sse::Event> + Send + 'static) -> Response {
    let events = Sse::new(events.map(Ok::<_, Infallible>));
    let headers = [(CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")];
    (headers, Extension(Endless), events).into_response()
}

/// The last event of a stream that failed.
fn failure(error: Error, ids: &Ids, clock: &Clock) -> sse::Event {
    named("error", &Refusal::from(error).into_body(ids, clock.now()))
}

fn named(name: &str, data: &str) -> sse::Event {
    sse::Event::default().event(name).data(data)
}

/// Serializing a struct of texts cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
