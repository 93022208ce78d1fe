//! The operations of the API, in one table: the routes and the document at
//! `/openapi.json` are both made from it.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use utoipa::openapi::HttpMethod;

use super::{
    handlers,
    paths::WATCH_PATH,
    requests::{
        ClearPresenceBody, GetPresencesByUserIdBody, SetLocationBody, SetPresenceBody, SetStatusMessageBody,
        SetUserPreferredPresenceBody,
    },
    responses::{CollectionJson, PresenceJson},
    schemas::{Register, register},
    state::HttpState,
};

/// Where a user's presence is, and its actions below it.
pub(super) const PRESENCES: [&str; 3] =
    ["/users/{id}/presence", "/me/presence", "/communications/presences/{id}"];

/// What can be done below one path.
pub(super) struct HttpOperation {
    /// In the service's words: for metrics and logs, and the document's id.
    pub(super) name: &'static str,
    pub(super) method: HttpMethod,
    /// Behind one of [`PRESENCES`], or the whole path.
    pub(super) path: &'static str,
    pub(super) route: fn() -> MethodRouter<Arc<HttpState>>,
    /// What it does, in a line, and then the rest.
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) body: Option<Register>,
    pub(super) answer: OperationResponse,
    pub(super) query: &'static [QueryOption],
    /// Whether its answer may be old, for those who want that.
    pub(super) may_be_old: bool,
}

/// What a success answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum OperationResponse {
    /// 200 with JSON.
    Json(Register),
    /// 200 with a number as text.
    Count,
    /// 200 and nothing.
    Empty,
    /// 200 and nothing, or 404 if there was nothing to do it to.
    EmptyOrNotFound,
    /// 200 and nothing on `/v1.0`, 204 on `/beta`.
    EmptyOrNoContent,
    /// 200 with Server-Sent Events, which go on.
    Events,
}

impl OperationResponse {
    /// Whether it goes on until the service or the client ends it.
    pub(super) const fn is_stream(self) -> bool {
        matches!(self, Self::Events)
    }
}

/// A query option that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryOption {
    Select,
    Top,
    SkipToken,
    /// Required.
    Ids,
}

pub(super) const NOTHING: HttpOperation = HttpOperation {
    name: "",
    method: HttpMethod::Post,
    path: "",
    route: MethodRouter::new,
    summary: "",
    description: "",
    body: None,
    answer: OperationResponse::Empty,
    query: &[],
    may_be_old: false,
};

/// What can be done with one user's presence, behind each of [`PRESENCES`].
pub(super) const OF_PRESENCE: [HttpOperation; 10] = [
    HttpOperation {
        name: "get_presence",
        method: HttpMethod::Get,
        path: "",
        route: || get(handlers::get_presence),
        summary: "Get a presence",
        description: "What the user is shown as. Every well-formed id is a user: one without a live session is \
                      Offline/Offline.",
        answer: OperationResponse::Json(register::<PresenceJson>),
        query: &[QueryOption::Select],
        may_be_old: true,
        ..NOTHING
    },
    HttpOperation {
        name: "set_presence",
        path: "/setPresence",
        route: || post(handlers::set_presence),
        summary: "Open or refresh a session",
        description: "Each call starts the session's expiry and its fade anew: an Available session shows \
                      AvailableInactive after 5 minutes without a refresh, and Away after 10.",
        body: Some(register::<SetPresenceBody>),
        ..NOTHING
    },
    HttpOperation {
        name: "clear_presence",
        path: "/clearPresence",
        route: || post(handlers::clear_presence),
        summary: "End a session",
        description: "404 if no such session is live: it never was, has expired, or was cleared.",
        body: Some(register::<ClearPresenceBody>),
        answer: OperationResponse::EmptyOrNotFound,
        ..NOTHING
    },
    HttpOperation {
        name: "set_user_preferred_presence",
        path: "/setUserPreferredPresence",
        route: || post(handlers::set_user_preferred_presence),
        summary: "Override what the sessions show",
        description: "It applies as long as a session is live, and waits while none is.",
        body: Some(register::<SetUserPreferredPresenceBody>),
        ..NOTHING
    },
    HttpOperation {
        name: "clear_user_preferred_presence",
        path: "/clearUserPreferredPresence",
        route: || post(handlers::clear_user_preferred_presence),
        summary: "Let the sessions show again",
        description: "Nothing happens if nothing was preferred.",
        ..NOTHING
    },
    HttpOperation {
        name: "set_status_message",
        path: "/setStatusMessage",
        route: || post(handlers::set_status_message),
        summary: "Publish a status message",
        description: "It takes the place of the one before. An empty one takes it away.",
        body: Some(register::<SetStatusMessageBody>),
        ..NOTHING
    },
    HttpOperation {
        name: "set_manual_location",
        path: "/setManualLocation",
        route: || post(handlers::set_manual_location),
        summary: "Set the work location that the user chose",
        description: "It counts before the automatic one.",
        body: Some(register::<SetLocationBody>),
        answer: OperationResponse::EmptyOrNoContent,
        ..NOTHING
    },
    HttpOperation {
        name: "set_automatic_location",
        path: "/setAutomaticLocation",
        route: || post(handlers::set_automatic_location),
        summary: "Set the work location that something found out",
        description: "It counts while the user has chosen none.",
        body: Some(register::<SetLocationBody>),
        answer: OperationResponse::EmptyOrNoContent,
        ..NOTHING
    },
    HttpOperation {
        name: "clear_automatic_location",
        path: "/clearAutomaticLocation",
        route: || post(handlers::clear_automatic_location),
        summary: "Take the automatic work location away",
        description: "The manual one stays. Nothing happens if there is none.",
        answer: OperationResponse::EmptyOrNoContent,
        ..NOTHING
    },
    HttpOperation {
        name: "clear_location",
        path: "/clearLocation",
        route: || post(handlers::clear_location),
        summary: "Take both work locations away",
        description: "Nothing happens if there is none.",
        answer: OperationResponse::EmptyOrNoContent,
        ..NOTHING
    },
];

/// What can be done with many presences.
pub(super) const OF_PRESENCES: [HttpOperation; 4] = [
    HttpOperation {
        name: "batch_get_presences",
        path: "/communications/getPresencesByUserId",
        route: || post(handlers::get_presences_by_user_id),
        summary: "Get presences by user id",
        description: "One presence for each distinct id, in the order in which the ids were first given, all at \
                      one instant.",
        body: Some(register::<GetPresencesByUserIdBody>),
        answer: OperationResponse::Json(register::<CollectionJson>),
        query: &[QueryOption::Select],
        may_be_old: true,
        ..NOTHING
    },
    HttpOperation {
        name: "list_presences",
        method: HttpMethod::Get,
        path: "/communications/presences",
        route: || get(handlers::list_presences),
        summary: "List the users with a live session",
        description: "In the order of their ids. A user who is there all the time is on one page and no more, \
                      whatever else changes. An extension: Graph's metadata names it, its documentation does not.",
        answer: OperationResponse::Json(register::<CollectionJson>),
        query: &[QueryOption::Select, QueryOption::Top, QueryOption::SkipToken],
        may_be_old: true,
        ..NOTHING
    },
    HttpOperation {
        name: "count_presences",
        method: HttpMethod::Get,
        path: "/communications/presences/$count",
        route: || get(handlers::count_presences),
        summary: "Count the users with a live session",
        description: "An extension: Graph's metadata names it, its documentation does not.",
        answer: OperationResponse::Count,
        may_be_old: true,
        ..NOTHING
    },
    HttpOperation {
        name: "watch_presences",
        method: HttpMethod::Get,
        path: WATCH_PATH,
        route: || get(handlers::watch_presences),
        summary: "Follow presences",
        description: "A stream of Server-Sent Events. At first a `presence` with the data of a Presence for each \
                      distinct id, in no order; then one `snapshotComplete`; then a `presence` whenever one \
                      changes, and a `heartbeat` when nothing has for a while. What is sent of a user never goes \
                      back in time. Before the service ends the stream it says why: an `error` with the data of \
                      an Error. Who opens it anew begins with a snapshot, so nothing is missed. It can't be a \
                      part of a batch. An extension: Graph has change notifications instead.",
        answer: OperationResponse::Events,
        query: &[QueryOption::Ids, QueryOption::Select],
        ..NOTHING
    },
];

/// Every operation with each of its paths.
pub(super) fn all() -> impl Iterator<Item = (String, HttpOperation)> {
    let of_presence = PRESENCES.into_iter().flat_map(|presence| {
        OF_PRESENCE.into_iter().map(move |operation| (format!("{presence}{}", operation.path), operation))
    });
    of_presence.chain(OF_PRESENCES.into_iter().map(|operation| (operation.path.to_owned(), operation)))
}
