//! One function for each operation of the API.

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
    ids::Ids,
    matched::Matched,
    odata::{ListOptions, NoOptions, Select, ServiceRoot, UserIds},
    refusal::Refusal,
    requests::{
        ClearPresenceBody, GetPresencesByUserIdBody, SetLocationBody, SetPresenceBody, SetStatusMessageBody,
        SetUserPreferredPresenceBody,
    },
    responses::{collection, entity},
    state::HttpState,
};
use crate::{
    presence::USER_IDS_MAX,
    service::{Caller, Input, ReadFrom},
};

/// The user that the path names, by an id or as `me`.
#[derive(Debug)]
pub(super) struct User(Input<String>);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(id) = parts.extensions.get().and_then(|path: &Matched| path.id.as_deref()) else {
            return me(parts.extensions.get());
        };
        match percent_decode_str(id).decode_utf8() {
            Ok(id) => Ok(Self(Input::text(id.into_owned()))),
            Err(_) => Err(Refusal::bad_request("The path is not UTF-8.")),
        }
    }
}

/// Who "me" is. Graph: an application that acts by itself has no "me".
fn me(caller: Option<&Caller>) -> Result<User, Refusal> {
    match caller {
        Some(caller) if caller.is_authenticated() => match caller.user_id() {
            Some(user_id) => Ok(User(Input::Value(user_id.to_string()))),
            None => {
                Err(Refusal::bad_request("/me request is only valid with delegated authentication flow."))
            }
        },
        _ => Err(Refusal::unauthenticated(
            "Only a token says who \"me\" is, and this service asks for none: name the user, as in \
             /users/{id}/presence.",
        )),
    }
}

/// Whether the answer may be old.
impl<S: Sync> FromRequestParts<S> for ReadFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_header(parts.headers.get(Self::HEADER).map(HeaderValue::as_bytes)))
    }
}

/// What a done action on a location answers: Graph's two versions differ.
#[derive(Debug)]
pub(super) struct LocationDone(StatusCode);

impl<S: Sync> FromRequestParts<S> for LocationDone {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let beta = parts.extensions.get().is_some_and(|path: &Matched| path.version == "/beta");
        Ok(Self(if beta { StatusCode::NO_CONTENT } else { StatusCode::OK }))
    }
}

/// What an action answers: whether it was done, and nothing else.
type ActionResult = Result<StatusCode, Refusal>;

pub(super) async fn get_presence(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    User(user_id): User,
    root: ServiceRoot,
    select: Select,
) -> Result<Response, Refusal> {
    entity(&root, context.service.get_presence(&caller, from, user_id).await?, &select)
}

pub(super) async fn set_presence(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetPresenceBody>,
) -> ActionResult {
    context.service.set_presence(&caller, body.of(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn clear_presence(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<ClearPresenceBody>,
) -> ActionResult {
    context.service.clear_presence(&caller, user_id, body.session_id).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn set_user_preferred_presence(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetUserPreferredPresenceBody>,
) -> ActionResult {
    context.service.set_user_preferred_presence(&caller, body.of(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn clear_user_preferred_presence(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
) -> ActionResult {
    context.service.clear_user_preferred_presence(&caller, user_id).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn set_status_message(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    Json(body): Json<SetStatusMessageBody>,
) -> ActionResult {
    context.service.set_status_message(&caller, body.of(user_id)).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn set_manual_location(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationDone(done): LocationDone,
    Json(body): Json<SetLocationBody>,
) -> ActionResult {
    context.service.set_manual_location(&caller, body.of(user_id)).await?;
    Ok(done)
}

pub(super) async fn set_automatic_location(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationDone(done): LocationDone,
    Json(body): Json<SetLocationBody>,
) -> ActionResult {
    context.service.set_automatic_location(&caller, body.of(user_id)).await?;
    Ok(done)
}

pub(super) async fn clear_automatic_location(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationDone(done): LocationDone,
) -> ActionResult {
    context.service.clear_automatic_location(&caller, user_id).await?;
    Ok(done)
}

pub(super) async fn clear_location(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    User(user_id): User,
    LocationDone(done): LocationDone,
) -> ActionResult {
    context.service.clear_location(&caller, user_id).await?;
    Ok(done)
}

pub(super) async fn get_presences_by_user_id(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    root: ServiceRoot,
    select: Select,
    BulkJson(body): BulkJson<GetPresencesByUserIdBody>,
) -> Result<Response, Refusal> {
    let presences = context.service.batch_get_presences(&caller, from, body.ids).await?;
    collection(root.collection_context(), None, presences, &select)
}

pub(super) async fn list_presences(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    root: ServiceRoot,
    options: ListOptions,
) -> Result<Response, Refusal> {
    let ListOptions { select, page_size, page_token } = options;
    let page = context.service.list_presences(&caller, from, page_size.clone(), page_token).await?;
    let next = page.next.map(|user_id| root.next_link(&user_id, &page_size, &select));
    collection(root.list_context(&select), next, page.presences, &select)
}

pub(super) async fn count_presences(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    from: ReadFrom,
    _: NoOptions,
) -> Result<Response, Refusal> {
    let count = context.service.count_presences(&caller, from).await?;
    Ok(([(CONTENT_TYPE, "text/plain")], count.to_string()).into_response())
}

pub(super) async fn watch_presences(
    State(context): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    ids: Ids,
    UserIds(user_ids): UserIds,
    select: Select,
) -> Result<Response, Refusal> {
    let events = context.service.watch_presences(&caller, user_ids, USER_IDS_MAX)?;
    Ok(events::answer(events, select, ids, context.clock.clone()))
}
