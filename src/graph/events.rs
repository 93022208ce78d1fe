//! A stream of presences as Server-Sent Events, for browsers and curl.

use std::{convert::Infallible, time::Duration};

use axum::response::{IntoResponse, Response, Sse, sse};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, header::CACHE_CONTROL};
use serde::Serialize;

use super::{ids::Ids, odata::Select, refusal::Refusal, responses::PresenceProperties};
use crate::{
    clock::Clock,
    service::{Error, WatchEvent},
};

/// How long a browser waits before it reopens a stream that has ended.
const RETRY: Duration = Duration::from_secs(2);

/// With "no", nginx passes each event on at once instead of buffering.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The stream as a response. The events have no ids: a client that reconnects begins
/// with a snapshot, so it has nothing to resume.
pub(super) fn response(
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
        Err(error) => named("error", &Refusal::from(error).into_body(&ids, clock.now())),
    });
    let retry = sse::Event::default().retry(RETRY);
    let events = stream::iter([retry]).chain(events).map(Ok::<_, Infallible>);
    ([(CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], Sse::new(events)).into_response()
}

fn named(name: &str, data: &str) -> sse::Event {
    sse::Event::default().event(name).data(data)
}

/// Serializing a struct of texts cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
