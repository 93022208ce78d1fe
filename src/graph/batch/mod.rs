//! `POST /$batch`: up to 20 requests in one. Graph: JSON batching.
//!
//! Each item travels the way of a request of its own, so that it is answered,
//! counted and logged the same. Some run at once, unless one depends on another;
//! so the store's batcher makes few statements of many items.

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
use serde_json::Value;
use utoipa::{ToSchema, openapi::HttpMethod};

use super::{
    body::BulkJson,
    layer::finish_refusal,
    operations::{HttpOperation, NOTHING, OperationResponse},
    paths::BATCH_PATH,
    refusal::Refusal,
    responses::json,
    routes::RouteTable,
    schemas::register,
    state::HttpState,
};
use plan::{BatchBody, Origin, Planned, plan, waves};

/// The items of one batch that run at once: 20 bulk reads of 650 users would
/// fill the queue for everybody else.
const RUNNING_MAX: usize = 5;

pub(super) const OPERATION: HttpOperation = HttpOperation {
    name: "batch",
    method: HttpMethod::Post,
    path: BATCH_PATH,
    summary: "Send up to 20 requests in one",
    description: "They run at once, unless dependsOn says that one runs after another; if that one fails, the \
                  dependent is answered with 424. Each is answered by itself, in the order of the request.",
    body: Some(register::<BatchBody>),
    answer: OperationResponse::Json(register::<BatchAnswer>),
    ..NOTHING
};

/// The answers, in the order of the requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchResponse)]
struct BatchAnswer {
    responses: Vec<ItemAnswer>,
}

/// One answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BatchItemResponse)]
struct ItemAnswer {
    /// The request's.
    id: String,
    /// The HTTP status.
    status: u16,
    /// The headers.
    headers: BTreeMap<String, String>,
    /// The body; left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    body: Option<Value>,
}

/// What the batch needs: the way of a request, and how to refuse one.
#[derive(Clone, Debug)]
struct Batching {
    api: Arc<RouteTable>,
    context: Arc<HttpState>,
}

impl FromRef<Batching> for Arc<HttpState> {
    fn from_ref(batching: &Batching) -> Self {
        Arc::clone(&batching.context)
    }
}

/// The method of `/$batch`.
pub(super) fn methods(api: Arc<RouteTable>, context: Arc<HttpState>) -> MethodRouter {
    post(batch).with_state(Batching { api, context })
}

async fn batch(
    State(Batching { api, context }): State<Batching>,
    origin: Origin,
    BulkJson(body): BulkJson<BatchBody>,
) -> Result<Response, Refusal> {
    let planned = plan(body, &origin)?;
    let depends_on: Vec<_> = planned.iter().map(|item| item.depends_on.clone()).collect();
    let waves = waves(&depends_on).ok_or_else(|| Refusal::field("requests", "have a circular dependsOn"))?;

    let mut items: Vec<Option<Planned>> = planned.into_iter().map(Some).collect();
    let mut answers: BTreeMap<usize, ItemAnswer> = BTreeMap::new();
    for wave in waves {
        let running = wave.into_iter().filter_map(|place| Some((place, items.get_mut(place)?.take()?)));
        let running = running.map(|(place, item)| {
            let failed = item.depends_on.iter().find_map(|on| answers.get(on).filter(|on| on.status >= 400));
            let (failed, api, context) = (failed.map(|on| on.id.clone()), &api, &context);
            async move {
                let response = match failed {
                    Some(on) => finish_refusal(context, failed_dependency(&on)),
                    None => api.answer(item.request).await,
                };
                Ok::<_, Refusal>((place, answer(item.id, response).await?))
            }
        });
        let done: Vec<_> = stream::iter(running).buffer_unordered(RUNNING_MAX).try_collect().await?;
        answers.extend(done);
    }
    json(&BatchAnswer { responses: answers.into_values().collect() })
}

fn failed_dependency(on: &str) -> Refusal {
    let message = format!("The request {on:?}, on which this one depends, failed.");
    Refusal::new(StatusCode::FAILED_DEPENDENCY, "FailedDependency", message)
}

/// The answer of one item as a part of the batch's.
async fn answer(id: String, response: Response) -> Result<ItemAnswer, Refusal> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|error| Refusal::internal(error.to_string()))?.to_bytes();
    let body = if bytes.is_empty() {
        None
    } else {
        Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH);
    let headers = headers.map(|(name, value)| (spelling(name), text(value))).collect();
    Ok(ItemAnswer { id, status: parts.status.as_u16(), headers, body })
}

/// The header as Graph spells it: here names are texts, and clients compare
/// them.
fn spelling(name: &HeaderName) -> String {
    match name.as_str() {
        "allow" => "Allow",
        "cache-control" => "Cache-Control",
        "content-type" => "Content-Type",
        "odata-version" => "OData-Version",
        "retry-after" => "Retry-After",
        "www-authenticate" => "WWW-Authenticate",
        other => other,
    }
    .to_owned()
}
