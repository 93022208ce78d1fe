//! `POST /$batch`: up to 20 requests in one. Graph: JSON batching.
//!
//! Each item is routed, authenticated, counted and logged as a request of its own. Items
//! that do not depend on each other run concurrently, so the store's batcher combines
//! them into few statements.

mod plan;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRef, State},
    response::Response,
    routing::{MethodRouter, post},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::{ToSchema, openapi::HttpMethod};

use super::{
    body::BulkJson,
    layer::refuse,
    operation::{DEFAULT, HttpOperation, OperationResponse},
    paths::BATCH_PATH,
    refusal::Refusal,
    responses::json,
    routes::RouteTable,
    schemas::register,
    state::HttpState,
};
use plan::{BatchBody, EnclosingRequest, PlannedItem, plan, stages};

/// The number of items of one batch that run concurrently: 20 bulk reads of 650 users
/// would fill the queue for all other requests.
const CONCURRENT_MAX: usize = 5;

pub(super) const OPERATION: HttpOperation = HttpOperation {
    name: "batch",
    method: HttpMethod::Post,
    path: BATCH_PATH,
    summary: "Send up to 20 requests in one",
    description: "The requests run concurrently. One with dependsOn runs after the requests that it names; if one \
                  of them fails, it gets 424. Each request has a response of its own, in the order of the requests.",
    body: Some(register::<BatchBody>),
    response: OperationResponse::Json(register::<BatchResponse>),
    ..DEFAULT
};

/// The responses, in the order of the requests.
#[derive(Debug, Serialize, ToSchema)]
struct BatchResponse {
    responses: Vec<ItemResponse>,
}

/// The response to one request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BatchItemResponse)]
struct ItemResponse {
    /// The id of the request.
    id: String,
    /// The HTTP status.
    status: u16,
    /// The response headers.
    headers: BTreeMap<String, String>,
    /// The response body; omitted if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    body: Option<Box<RawValue>>,
}

/// The state of the handler: the routes of the items, and the state of the API.
#[derive(Clone, Debug)]
struct BatchState {
    routes: Arc<RouteTable>,
    state: Arc<HttpState>,
}

impl FromRef<BatchState> for Arc<HttpState> {
    fn from_ref(batch: &BatchState) -> Self {
        Arc::clone(&batch.state)
    }
}

/// The handler of `/$batch`.
pub(super) fn methods(routes: Arc<RouteTable>, state: Arc<HttpState>) -> MethodRouter {
    post(batch).with_state(BatchState { routes, state })
}

async fn batch(
    State(BatchState { routes, state }): State<BatchState>,
    enclosing: EnclosingRequest,
    BulkJson(body): BulkJson<BatchBody>,
) -> Result<Response, Refusal> {
    let planned = plan(body, &enclosing)?;
    let depends_on: Vec<_> = planned.iter().map(|item| item.depends_on.clone()).collect();
    let stages = stages(&depends_on)
        .ok_or_else(|| Refusal::field("requests", "must not depend on each other in a circle"))?;

    let mut items: Vec<Option<PlannedItem>> = planned.into_iter().map(Some).collect();
    let mut responses: BTreeMap<usize, ItemResponse> = BTreeMap::new();
    for stage in stages {
        let running = stage.into_iter().filter_map(|index| Some((index, items.get_mut(index)?.take()?)));
        let running = running.map(|(index, item)| {
            let failed =
                item.depends_on.iter().find_map(|on| responses.get(on).filter(|on| on.status >= 400));
            let (failed, routes, state) = (failed.map(|on| on.id.clone()), &routes, &state);
            async move {
                let response = match failed {
                    Some(on) => refuse(state, failed_dependency(&on)),
                    None => routes.respond(item.request).await,
                };
                Ok::<_, Refusal>((index, item_response(item.id, response).await?))
            }
        });
        let done: Vec<_> = stream::iter(running).buffer_unordered(CONCURRENT_MAX).try_collect().await?;
        responses.extend(done);
    }
    json(&BatchResponse { responses: responses.into_values().collect() })
}

fn failed_dependency(on: &str) -> Refusal {
    let message = format!("The request {on:?}, which this request depends on, failed.");
    Refusal::new(StatusCode::FAILED_DEPENDENCY, "FailedDependency", message)
}

/// The response to one item as a part of the batch's response.
async fn item_response(id: String, response: Response) -> Result<ItemResponse, Refusal> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|error| Refusal::internal(error.to_string()))?.to_bytes();
    // JSON is copied as it is: a tree of it would cost six times as much.
    let body = match serde_json::from_slice(&bytes) {
        _ if bytes.is_empty() => None,
        Ok(json) => Some(json),
        Err(_) => to_raw_value(&String::from_utf8_lossy(&bytes)).ok(),
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH);
    let headers = headers.map(|(name, value)| (spelling(name), text(value))).collect();
    Ok(ItemResponse { id, status: parts.status.as_u16(), headers, body })
}

/// Graph's spelling of a header. In a batch, header names are JSON keys, which clients
/// compare with case.
fn spelling(name: &HeaderName) -> String {
    match name.as_str() {
        "allow" => "Allow",
        "cache-control" => "Cache-Control",
        "content-type" => "Content-Type",
        "odata-version" => "OData-Version",
        "preference-applied" => "Preference-Applied",
        "retry-after" => "Retry-After",
        "www-authenticate" => "WWW-Authenticate",
        other => other,
    }
    .to_owned()
}
