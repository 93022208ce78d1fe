//! The handlers: one function for each operation of the API.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use percent_encoding::percent_decode_str;

use super::{
    body::{BulkJson, Json},
    events,
    filter::Filter,
    history::{ErasedJson, ExplainOptions, ExplanationJson, HistoryOptions, history},
    ids::Ids,
    matched::Matched,
    me::user,
    odata::{ListOptions, Select, ServiceRoot, UserIds},
    refusal::Refusal,
    requests::{
        ClearPresenceBody, GetPresencesByUserIdBody, HoldPresenceBody, SetLocationBody, SetPresenceBody,
        SetStatusMessageBody, SetUserPreferredPresenceBody,
    },
    responses::{USERS_READ, collection, entity, json, lines},
    state::HttpState,
};
use crate::{
    presence::USER_IDS_MAX,
    service::{Caller, Input, ReadFrom, WatchedUsers},
};

/// The user that the path names by id or as `me`.
#[derive(Debug)]
pub(super) struct User(Input<String>);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(id) = parts.extensions.get().and_then(|matched: &Matched| matched.id.as_deref()) else {
            let (user_id, _) = user(parts.extensions.get())?;
            return Ok(Self(Input::Value(user_id.to_string())));
        };
        match percent_decode_str(id).decode_utf8() {
            Ok(id) => Ok(Self(Input::text(id.into_owned()))),
            Err(_) => Err(Refusal::bad_request("The user id in the path is not valid UTF-8.")),
        }
    }
}

/// Reads whether a replica may serve the request.
impl<S: Sync> FromRequestParts<S> for ReadFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_header(parts.headers.get(Self::HEADER).map(HeaderValue::as_bytes)))
    }
}

/// The status of a successful action on a work location, which differs between Graph's
/// versions.
#[derive(Debug)]
pub(super) struct LocationStatus(StatusCode);

impl<S: Sync> FromRequestParts<S> for LocationStatus {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let beta = parts.extensions.get().is_some_and(|matched: &Matched| matched.version == "/beta");
        Ok(Self(if beta { StatusCode::NO_CONTENT } else { StatusCode::OK }))
    }
}

/// The result of an action: a status without a body.
type ActionResult = Result<StatusCode, Refusal>;

pub(super) async fn get_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    User(user_id): User,
    root: ServiceRoot,
    select: Select,
) -> Result<Response, Refusal> {
    entity(&root, state.service.get_presence(&caller, from, user_id, select.view()).await?, &select)
}

pub(super) async fn explain_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    options: ExplainOptions,
) -> Result<Response, Refusal> {
    let explanation = state.service.explain_presence(&caller, user_id, options.at).await?;
    json(&ExplanationJson::from(explanation))
}

pub(super) async fn list_presence_history(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    root: ServiceRoot,
    options: HistoryOptions,
) -> Result<Response, Refusal> {
    let page = state.service.list_presence_history(&caller, options.for_user(user_id)).await?;
    json(&history(page, |token| root.next_page(&options.next_query(token))))
}

pub(super) async fn erase_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
) -> Result<Response, Refusal> {
    json(&ErasedJson { removed_rows: state.service.erase_presence(&caller, user_id).await? })
}

pub(super) async fn export_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
) -> Result<Response, Refusal> {
    Ok(lines(&state.service.export_presence(&caller, user_id).await?))
}

pub(super) async fn set_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetPresenceBody>,
) -> ActionResult {
    state.service.set_presence(&caller, body.for_user(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn clear_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<ClearPresenceBody>,
) -> ActionResult {
    state.service.clear_presence(&caller, body.for_user(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn hold_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    ids: Ids,
    Json(body): Json<HoldPresenceBody>,
) -> Result<Response, Refusal> {
    let events = state.service.keep_presence(&caller, body.for_user(user_id)).await?;
    Ok(events::of_hold(events, ids, state.clock.clone()))
}

pub(super) async fn set_user_preferred_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetUserPreferredPresenceBody>,
) -> ActionResult {
    state.service.set_user_preferred_presence(&caller, body.for_user(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn clear_user_preferred_presence(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
) -> ActionResult {
    state.service.clear_user_preferred_presence(&caller, user_id).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn set_status_message(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetStatusMessageBody>,
) -> ActionResult {
    state.service.set_status_message(&caller, body.for_user(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn set_manual_location(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationStatus(status): LocationStatus,
    Json(body): Json<SetLocationBody>,
) -> ActionResult {
    state.service.set_manual_location(&caller, body.for_user(user_id)).await?;
    Ok(status)
}

pub(super) async fn set_automatic_location(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationStatus(status): LocationStatus,
    Json(body): Json<SetLocationBody>,
) -> ActionResult {
    state.service.set_automatic_location(&caller, body.for_user(user_id)).await?;
    Ok(status)
}

pub(super) async fn clear_automatic_location(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationStatus(status): LocationStatus,
) -> ActionResult {
    state.service.clear_automatic_location(&caller, user_id).await?;
    Ok(status)
}

pub(super) async fn clear_location(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationStatus(status): LocationStatus,
) -> ActionResult {
    state.service.clear_location(&caller, user_id).await?;
    Ok(status)
}

pub(super) async fn get_presences_by_user_id(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    root: ServiceRoot,
    select: Select,
    BulkJson(body): BulkJson<GetPresencesByUserIdBody>,
) -> Result<Response, Refusal> {
    let presences = state.service.batch_get_presences(&caller, from, body.ids, select.view()).await?;
    collection(root.collection_context(), None, presences, &select).await
}

pub(super) async fn list_presences(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    root: ServiceRoot,
    options: ListOptions,
) -> Result<Response, Refusal> {
    let page = state.service.list_presences(&caller, from, options.request()).await?;
    let next = page.next.map(|token| root.next_link(&token, &options));
    let select = &options.select;
    collection(root.list_context(select), next, page.presences, select).await
}

pub(super) async fn count_presences(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    filter: Filter,
) -> Result<Response, Refusal> {
    let count = state.service.count_presences(&caller, from, filter.availabilities()).await?;
    let text = [(CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
    Ok((text, [(USERS_READ, HeaderValue::from(count.users_read))], count.count.to_string()).into_response())
}

pub(super) async fn watch_presences(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    ids: Ids,
    UserIds(user_ids): UserIds,
    select: Select,
) -> Result<Response, Refusal> {
    let users = WatchedUsers { everyone: user_ids == Input::Missing, user_ids };
    watch(&state, &caller, users, select, ids).await
}

pub(super) async fn watch_presences_by_body(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    ids: Ids,
    select: Select,
    BulkJson(body): BulkJson<GetPresencesByUserIdBody>,
) -> Result<Response, Refusal> {
    let users = WatchedUsers { everyone: false, user_ids: body.ids };
    watch(&state, &caller, users, select, ids).await
}

async fn watch(
    state: &HttpState,
    caller: &Caller,
    users: WatchedUsers,
    select: Select,
    ids: Ids,
) -> Result<Response, Refusal> {
    let events = state.service.watch_presences(caller, users, USER_IDS_MAX, select.view()).await?;
    Ok(events::of_watch(events, select, ids, state.clock.clone()))
}
