//! One function for each operation of the API.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use super::{Context, body::JsonObject, refusal::Refusal};
use crate::{
    presence::parse_duration,
    service::{Caller, Given, Presence, SetPresence},
};

pub(super) async fn set_presence(
    State(context): State<Context>,
    Path(user_id): Path<String>,
    mut body: JsonObject,
) -> Result<StatusCode, Refusal> {
    let request = SetPresence {
        user_id: Given::text(user_id),
        session_id: body.text("sessionId"),
        availability: body.text("availability").parse(),
        activity: body.text("activity").parse(),
        expiration_duration: body.text("expirationDuration").parse_with(|text| parse_duration(text).ok()),
    };
    context.service.set_presence(&Caller::ANONYMOUS, request).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn clear_presence(
    State(context): State<Context>,
    Path(user_id): Path<String>,
    mut body: JsonObject,
) -> Result<StatusCode, Refusal> {
    context.service.clear_presence(&Caller::ANONYMOUS, Given::text(user_id), body.text("sessionId")).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn get_presence(
    State(context): State<Context>,
    Path(user_id): Path<String>,
) -> Result<Response, Refusal> {
    let presence = context.service.get_presence(&Caller::ANONYMOUS, Given::text(user_id)).await?;
    json(&PresenceJson::from(&presence))
}

pub(super) async fn get_presences_by_user_id(
    State(context): State<Context>,
    mut body: JsonObject,
) -> Result<Response, Refusal> {
    let presences = context.service.batch_get_presences(&Caller::ANONYMOUS, body.texts("ids")).await?;
    json(&Collection { value: presences.iter().map(PresenceJson::from).collect() })
}

/// `#microsoft.graph.presence`.
#[derive(Debug, Serialize)]
struct PresenceJson<'a> {
    id: &'a str,
    availability: &'static str,
    activity: &'static str,
}

impl<'a> From<&'a Presence> for PresenceJson<'a> {
    fn from(Presence { user_id, pair }: &'a Presence) -> Self {
        let (availability, activity) = (pair.availability.as_str(), pair.activity.as_str());
        Self { id: user_id.as_str(), availability, activity }
    }
}

/// An OData collection.
#[derive(Debug, Serialize)]
struct Collection<T> {
    value: Vec<T>,
}

/// An answer with a body.
fn json<T: Serialize>(value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}
