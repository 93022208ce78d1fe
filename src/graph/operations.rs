//! The table of the API's operations, from which the routes and `/openapi.json` are made.

use axum::routing::{get, post};
use utoipa::openapi::HttpMethod;

use super::{
    handlers,
    history::{ErasedJson, ExplanationJson, HistoryJson},
    me::{self, UserJson},
    operation::{DEFAULT, HttpOperation, OperationResponse, QueryOption},
    paths::{ME_PATH, WATCH_PATH},
    requests::{
        ClearPresenceBody, GetPresencesByUserIdBody, HoldPresenceBody, SetLocationBody, SetPresenceBody,
        SetStatusMessageBody, SetUserPreferredPresenceBody,
    },
    responses::{CollectionJson, PresenceJson},
    schemas::{register, register_paired},
    subscription_operations::SUBSCRIPTION_OPERATIONS,
};
use crate::presence::Pair;

/// The paths of one user's presence; its actions are below them.
const PRESENCE_PATHS: [&str; 3] = ["/users/{id}/presence", "/me/presence", "/communications/presences/{id}"];

/// The operations on one user's presence, below each of [`PRESENCE_PATHS`].
const PRESENCE_OPERATIONS: [HttpOperation; 15] = [
    HttpOperation {
        name: "get_presence",
        method: HttpMethod::Get,
        path: "",
        route: || get(handlers::get_presence),
        summary: "Get a presence",
        description: "Every well-formed id is a user; a user without a live session is Offline/Offline.",
        response: OperationResponse::Json(register::<PresenceJson>),
        query: &[QueryOption::Select],
        replica_read: true,
        ..DEFAULT
    },
    HttpOperation {
        name: "set_presence",
        path: "/setPresence",
        route: || post(handlers::set_presence),
        summary: "Open or refresh a session",
        description: "Each call restarts the session's expiry and its fade: an Available session shows \
                      AvailableInactive after 5 minutes without a refresh, and Away after 10.",
        body: Some(|schemas| register_paired::<SetPresenceBody>(schemas, &Pair::OF_SESSION)),
        has_observed_time: true,
        ..DEFAULT
    },
    HttpOperation {
        name: "clear_presence",
        path: "/clearPresence",
        route: || post(handlers::clear_presence),
        summary: "Clear a session",
        description: "Returns 404 if no such session is live: it never existed, has expired, or was cleared.",
        body: Some(register::<ClearPresenceBody>),
        has_observed_time: true,
        response: OperationResponse::EmptyOrNotFound,
        ..DEFAULT
    },
    HttpOperation {
        name: "keep_presence",
        path: "/holdPresence",
        route: || post(handlers::hold_presence),
        summary: "Hold a session",
        description: "A stream of Server-Sent Events. The session lives while the client reads it: first a \
                      `sessionSet`, then a `sessionExtended` every half of `grace`, both with \
                      `expiryDateTime`. Before the service ends the stream, it sends an `error` event whose \
                      data is an Error. The end of the response never clears the session: it stays for `grace` \
                      to one and a half times `grace`, unless clearPresence ends it. A batch cannot contain this \
                      operation. An extension.",
        body: Some(|schemas| register_paired::<HoldPresenceBody>(schemas, &Pair::OF_SESSION)),
        has_observed_time: true,
        response: OperationResponse::Events,
        ..DEFAULT
    },
    HttpOperation {
        name: "set_user_preferred_presence",
        path: "/setUserPreferredPresence",
        route: || post(handlers::set_user_preferred_presence),
        summary: "Set the preferred presence",
        description: "The preferred presence overrides the sessions. It has no effect while no session is live.",
        body: Some(|schemas| register_paired::<SetUserPreferredPresenceBody>(schemas, &Pair::PREFERRED)),
        ..DEFAULT
    },
    HttpOperation {
        name: "clear_user_preferred_presence",
        path: "/clearUserPreferredPresence",
        route: || post(handlers::clear_user_preferred_presence),
        summary: "Clear the preferred presence",
        description: "The presence follows the sessions again. Succeeds if there is no preferred presence.",
        ..DEFAULT
    },
    HttpOperation {
        name: "set_status_message",
        path: "/setStatusMessage",
        route: || post(handlers::set_status_message),
        summary: "Set the status message",
        description: "Replaces the previous status message. An empty text removes it.",
        body: Some(register::<SetStatusMessageBody>),
        ..DEFAULT
    },
    HttpOperation {
        name: "set_manual_location",
        path: "/setManualLocation",
        route: || post(handlers::set_manual_location),
        summary: "Set the manual work location",
        description: "The location that the user chose. It takes precedence over the automatic location.",
        body: Some(register::<SetLocationBody>),
        response: OperationResponse::EmptyOrNoContent,
        ..DEFAULT
    },
    HttpOperation {
        name: "set_automatic_location",
        path: "/setAutomaticLocation",
        route: || post(handlers::set_automatic_location),
        summary: "Set the automatic work location",
        description: "The location that an application detected. It applies while there is no manual location.",
        body: Some(register::<SetLocationBody>),
        response: OperationResponse::EmptyOrNoContent,
        ..DEFAULT
    },
    HttpOperation {
        name: "clear_automatic_location",
        path: "/clearAutomaticLocation",
        route: || post(handlers::clear_automatic_location),
        summary: "Clear the automatic work location",
        description: "The manual location stays. Succeeds if there is no automatic location.",
        response: OperationResponse::EmptyOrNoContent,
        ..DEFAULT
    },
    HttpOperation {
        name: "clear_location",
        path: "/clearLocation",
        route: || post(handlers::clear_location),
        summary: "Clear both work locations",
        description: "Succeeds if there is no work location.",
        response: OperationResponse::EmptyOrNoContent,
        ..DEFAULT
    },
    HttpOperation {
        name: "explain_presence",
        method: HttpMethod::Get,
        path: "/explain",
        route: || get(handlers::explain_presence),
        summary: "Explain a presence",
        description: "Why the user is shown so, since when, and who set it; now or at an earlier instant. An \
                      extension.",
        response: OperationResponse::Json(register::<ExplanationJson>),
        query: &[QueryOption::At],
        ..DEFAULT
    },
    HttpOperation {
        name: "list_presence_history",
        method: HttpMethod::Get,
        path: "/history",
        route: || get(handlers::list_presence_history),
        summary: "List what was shown",
        description: "What was shown of the user, from when to when, and why; newest first. An extension.",
        response: OperationResponse::Json(register::<HistoryJson>),
        query: &[
            QueryOption::From,
            QueryOption::To,
            QueryOption::Parts,
            QueryOption::IntervalsTop,
            QueryOption::SkipToken,
        ],
        ..DEFAULT
    },
    HttpOperation {
        name: "erase_presence",
        path: "/erase",
        route: || post(handlers::erase_presence),
        summary: "Erase a user",
        description: "Removes everything that is stored of the user: sessions, settings, history, and the user's id \
                      where the data of others names it. An extension.",
        response: OperationResponse::Json(register::<ErasedJson>),
        ..DEFAULT
    },
    HttpOperation {
        name: "export_presence",
        method: HttpMethod::Get,
        path: "/export",
        route: || get(handlers::export_presence),
        summary: "Export a user",
        description: "Everything that is stored of the user, as lines of JSON: one for each row of the database. A \
                      batch cannot contain this operation. An extension.",
        response: OperationResponse::Lines,
        ..DEFAULT
    },
];

/// The operation on the user of the access token.
const ME: HttpOperation = HttpOperation {
    name: "get_me",
    method: HttpMethod::Get,
    path: ME_PATH,
    route: || get(me::get_me),
    summary: "Get the user of the access token",
    description: "The user as the claims of the access token describe it; a property whose claim is missing is null. \
                  Every valid token of a user may read it.",
    response: OperationResponse::Json(register::<UserJson>),
    query: &[QueryOption::SelectOfUser],
    ..DEFAULT
};

/// The operations on many presences.
const COLLECTION_OPERATIONS: [HttpOperation; 5] = [
    HttpOperation {
        name: "batch_get_presences",
        path: "/communications/getPresencesByUserId",
        route: || post(handlers::get_presences_by_user_id),
        summary: "Get presences by user id",
        description: "Returns one presence for each distinct id, in the order of the request, all as of one \
                      instant.",
        body: Some(register::<GetPresencesByUserIdBody>),
        response: OperationResponse::Json(register::<CollectionJson>),
        query: &[QueryOption::Select],
        replica_read: true,
        ..DEFAULT
    },
    HttpOperation {
        name: "list_presences",
        method: HttpMethod::Get,
        path: "/communications/presences",
        route: || get(handlers::list_presences),
        summary: "List the users with a live session",
        description: "Ordered by user id. A user with a live session throughout the listing is on exactly one \
                      page. With $filter, a page reads at most 10 times as many users as fit on it, so it can be \
                      short or empty and still have an @odata.nextLink. An extension: Graph's metadata has it, \
                      its documentation does not.",
        response: OperationResponse::Json(register::<CollectionJson>),
        query: &[QueryOption::Select, QueryOption::Top, QueryOption::Filter, QueryOption::SkipToken],
        replica_read: true,
        ..DEFAULT
    },
    HttpOperation {
        name: "count_presences",
        method: HttpMethod::Get,
        path: "/communications/presences/$count",
        route: || get(handlers::count_presences),
        summary: "Count the users with a live session",
        description: "With $filter, the service reads every user with a live session, for 20 s at most. An \
                      extension: Graph's metadata has it, its documentation does not.",
        response: OperationResponse::Count,
        query: &[QueryOption::Filter],
        replica_read: true,
        ..DEFAULT
    },
    HttpOperation {
        name: "watch_presences",
        method: HttpMethod::Get,
        path: WATCH_PATH,
        route: || get(handlers::watch_presences),
        summary: "Watch presences",
        description: "A stream of Server-Sent Events. First, a `presence` event for each distinct id, in any \
                      order, whose data is a Presence; then one `snapshotComplete`. After that, a `presence` \
                      whenever one changes, and a `heartbeat` when nothing has changed for a while. The \
                      events of one user never go back in time. Before the service ends the stream, it sends an \
                      `error` event whose data is an Error. A client that reconnects begins with a new snapshot, \
                      so it has nothing to resume. Without `ids`, it watches all users of the tenant: first those \
                      with a live session, later any user that changes; a user who is not in the snapshot is \
                      offline. A batch cannot contain this operation. An extension: Graph has change \
                      notifications instead.",
        response: OperationResponse::Events,
        query: &[QueryOption::Ids, QueryOption::Select],
        ..DEFAULT
    },
    HttpOperation {
        name: "watch_presences_by_body",
        path: WATCH_PATH,
        route: || post(handlers::watch_presences_by_body),
        summary: "Watch the presences of ids in a body",
        description: "As GET, with the ids in the body: they may be too long for a URL. An extension.",
        body: Some(register::<GetPresencesByUserIdBody>),
        response: OperationResponse::Events,
        query: &[QueryOption::Select],
        ..DEFAULT
    },
];

/// Every operation with each of its paths.
pub(super) fn all() -> impl Iterator<Item = (String, HttpOperation)> {
    let on_presence = PRESENCE_PATHS.into_iter().flat_map(|presence| {
        PRESENCE_OPERATIONS
            .into_iter()
            .map(move |operation| (format!("{presence}{}", operation.path), operation))
    });
    let elsewhere = [ME].into_iter().chain(COLLECTION_OPERATIONS).chain(SUBSCRIPTION_OPERATIONS);
    on_presence.chain(elsewhere.map(|operation| (operation.path.to_owned(), operation)))
}
