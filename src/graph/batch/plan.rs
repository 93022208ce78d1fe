//! The request body of a batch: its items as requests, and the order in which they run.

use std::collections::HashMap;

use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    http::request::Parts,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    uri::Authority,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    graph::{
        body::{NamedTexts, named_texts, objects, text, texts},
        matched::Matched,
        odata::authority,
        operation::OperationResponse,
        operations,
        paths::{BATCH_PATH, VERSIONS, canonicalize},
        preferences::Handling,
        refusal::Refusal,
    },
    presence::BATCH_ITEMS_MAX,
    service::{Input, ReadFrom},
};

const INVALID_URL: &str = "must be a URL, such as /users/{id}/presence";

/// The requests to run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchRequest)]
pub(super) struct BatchBody {
    /// 1 to 20 requests.
    #[serde(default, deserialize_with = "objects")]
    #[schema(value_type = Vec<BatchItem>, required = true, min_items = 1, max_items = 20)]
    requests: Input<Vec<Input<BatchItem>>>,
}

/// One request.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BatchItem {
    /// The id of the request, for its response and for `dependsOn`. It must be unique in
    /// the batch, ignoring case.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, min_length = 1, example = "1")]
    id: Input<String>,
    /// The HTTP method.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "GET")]
    method: Input<String>,
    /// The URL: relative to the version, or absolute with this service's host.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "/users/fa8bf3dc-eca7-46b7-bad1-db199b62afc3/presence")]
    url: Input<String>,
    /// The request headers.
    #[serde(default, deserialize_with = "named_texts")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Input<NamedTexts>,
    /// The JSON body.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    body: Option<Box<RawValue>>,
    /// The ids of the requests that must succeed first.
    #[serde(default, deserialize_with = "texts")]
    #[schema(value_type = Option<Vec<String>>)]
    depends_on: Input<Vec<Input<String>>>,
    /// As the Python SDK writes it.
    #[serde(default, rename = "depends_on", deserialize_with = "texts")]
    #[schema(ignore)]
    depends_on_in_python: Input<Vec<Input<String>>>,
}

/// The request that contains the batch, from which the items inherit headers.
#[derive(Debug)]
pub(super) struct EnclosingRequest {
    /// `/v1.0`.
    version: &'static str,
    host: Option<Authority>,
    headers: HeaderMap,
    /// The preference of the batch, for items without one.
    handling: Option<Handling>,
}

impl<S: Sync> FromRequestParts<S> for EnclosingRequest {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let version = parts.extensions.get().map_or("", |matched: &Matched| matched.version);
        let host = authority(parts);
        let mut headers = HeaderMap::new();
        let inherited = ["x-forwarded-proto", ReadFrom::HEADER].map(HeaderName::from_static);
        for name in inherited.into_iter().chain([AUTHORIZATION]) {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(value) = host.as_ref().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            headers.insert(HOST, value);
        }
        Ok(Self { version, host, headers, handling: Handling::of(&parts.headers) })
    }
}

/// An item that is ready to run.
#[derive(Debug)]
pub(super) struct PlannedItem {
    pub(super) id: String,
    pub(super) request: Request,
    /// The indexes of the items that must succeed first.
    pub(super) depends_on: Vec<usize>,
}

/// Makes requests of the items, or returns the violations of all items; no item runs then.
pub(super) fn plan(body: BatchBody, enclosing: &EnclosingRequest) -> Result<Vec<PlannedItem>, Refusal> {
    let items = match body.requests {
        Input::Value(items) if items.is_empty() => {
            return Err(Refusal::field("requests", "must have at least one request"));
        }
        Input::Value(items) if items.len() > BATCH_ITEMS_MAX => {
            let problem = format!("must have at most {BATCH_ITEMS_MAX} items, got {}", items.len());
            return Err(Refusal::field("requests", &problem));
        }
        Input::Value(items) => items,
        Input::Missing => return Err(Refusal::field("requests", "is required")),
        Input::Unreadable(found) => {
            return Err(Refusal::field("requests", &format!("must be an array of requests, got {found}")));
        }
    };
    let mut violations = Vec::new();
    let indexes = indexes(&items, &mut violations);
    let mut planned = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut refuse = |field: &str, problem: &str| {
            violations.push((format!("requests[{index}]{field}"), problem.to_owned()));
        };
        let item = match item {
            Input::Value(item) => item,
            Input::Missing => {
                refuse("", "must be an object");
                continue;
            }
            Input::Unreadable(found) => {
                refuse("", &format!("must be an object, got {found}"));
                continue;
            }
        };
        let mut depends_on = depends_on(item.depends_on, &indexes, &mut refuse);
        depends_on.extend(self::depends_on(item.depends_on_in_python, &indexes, &mut refuse));
        let method = method(&item.method, &mut refuse);
        let uri = url(item.url, enclosing, &mut refuse);
        let headers = headers(item.headers, enclosing, &mut refuse);
        if let (Input::Value(id), Some(method), Some(uri), Some(mut headers)) =
            (item.id, method, uri, headers)
        {
            let body = item.body.map_or_else(Body::empty, |body| {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                body.get().to_owned().into()
            });
            let mut request = Request::new(body);
            (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
            if let Some(handling) = enclosing.handling {
                request.extensions_mut().insert(handling);
            }
            planned.push(PlannedItem { id, request, depends_on });
        }
    }
    if violations.is_empty() { Ok(planned) } else { Err(Refusal::fields(violations)) }
}

/// The index of each id, in lower case.
fn indexes(items: &[Input<BatchItem>], violations: &mut Vec<(String, String)>) -> HashMap<String, usize> {
    let mut indexes = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let Input::Value(item) = item else { continue };
        let problem = match &item.id {
            Input::Value(id) => match indexes.insert(id.to_lowercase(), index) {
                None => continue,
                Some(_) => "must be unique; another request has this id".to_owned(),
            },
            Input::Missing => "is required".to_owned(),
            Input::Unreadable(found) => format!("must be a string, got {found}"),
        };
        violations.push((format!("requests[{index}].id"), problem));
    }
    indexes
}

fn depends_on(
    input: Input<Vec<Input<String>>>,
    indexes: &HashMap<String, usize>,
    refuse: &mut impl FnMut(&str, &str),
) -> Vec<usize> {
    let ids = match input {
        Input::Missing => Vec::new(),
        Input::Value(ids) => ids,
        Input::Unreadable(found) => {
            refuse(".dependsOn", &format!("must be an array of ids, got {found}"));
            Vec::new()
        }
    };
    let index = |id: Input<String>| match id {
        Input::Value(id) => indexes.get(&id.to_lowercase()).copied(),
        Input::Missing | Input::Unreadable(_) => None,
    };
    let found: Vec<_> = ids.into_iter().map(index).collect();
    if found.contains(&None) {
        refuse(".dependsOn", "must contain only ids of requests in this batch");
    }
    found.into_iter().flatten().collect()
}

fn method(input: &Input<String>, refuse: &mut impl FnMut(&str, &str)) -> Option<Method> {
    let known = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];
    let method = match input {
        Input::Value(text) => known.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)),
        Input::Missing | Input::Unreadable(_) => None,
    };
    if method.is_none() {
        refuse(".method", "must be GET, POST, PATCH, PUT or DELETE");
    }
    method
}

/// The item's path with the version. An absolute URL must name this service's host, as
/// the service calls no other host.
fn url(
    input: Input<String>,
    enclosing: &EnclosingRequest,
    refuse: &mut impl FnMut(&str, &str),
) -> Option<Uri> {
    let mut refuse = |problem: &str| {
        refuse(".url", problem);
        None
    };
    let Input::Value(text) = input else { return refuse(INVALID_URL) };
    let absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let url = if absolute { text } else { with_version(&text, enclosing.version) };
    let Ok(request) = Request::builder().uri(url).body(()) else { return refuse(INVALID_URL) };
    let uri = canonicalize(request).uri().clone();
    let is_own = |host: &Authority| {
        enclosing.host.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(host.as_str()))
    };
    if uri.authority().is_some_and(|host| !is_own(host)) {
        return refuse("must not name a host other than this service's");
    }
    let path = uri.path();
    let behind_version = VERSIONS.iter().find_map(|version| path.strip_prefix(version)).unwrap_or_default();
    if matches!(behind_version, BATCH_PATH | "/%24batch") {
        return refuse("must not be a batch");
    }
    if let Some(response) = response_of_stream(behind_version) {
        return refuse(match response {
            OperationResponse::Lines => "must not be an export",
            _ => "must not be a stream",
        });
    }
    let Some(Ok(path)) = uri.path_and_query().map(|path| path.as_str().parse()) else {
        return refuse(INVALID_URL);
    };
    Some(path)
}

/// The response of the operation at a path behind the version, if a batch can't contain it.
fn response_of_stream(path: &str) -> Option<OperationResponse> {
    let is_at = |pattern: &str| {
        let (words, segments) = (pattern.split('/'), path.split('/'));
        words.clone().count() == segments.clone().count()
            && words.zip(segments).all(|(word, segment)| word == "{id}" || word == segment)
    };
    let streams = operations::all().filter(|(_, operation)| operation.response.is_stream());
    streams.filter(|(pattern, _)| is_at(pattern)).map(|(_, operation)| operation.response).next()
}

/// A relative URL with the version of the batch, unless it names one itself: the Graph client for
/// JavaScript keeps it. The slash at the start may be missing.
fn with_version(url: &str, version: &str) -> String {
    let path = format!("/{}", url.strip_prefix('/').unwrap_or(url));
    let names_version = |version: &&str| {
        let split = path.split_at_checked(version.len());
        split.is_some_and(|(start, rest)| start.eq_ignore_ascii_case(version) && rest.starts_with('/'))
    };
    if VERSIONS.iter().any(names_version) { path } else { format!("{version}{path}") }
}

/// The item's headers, which replace the inherited ones. Headers of connections are
/// ignored.
fn headers(
    input: Input<NamedTexts>,
    enclosing: &EnclosingRequest,
    refuse: &mut impl FnMut(&str, &str),
) -> Option<HeaderMap> {
    const CONNECTION_HEADERS: [&str; 5] =
        ["host", "connection", "content-length", "transfer-encoding", "content-encoding"];
    let input = match input {
        Input::Missing => Vec::new(),
        Input::Value(input) => input,
        Input::Unreadable(_) => {
            refuse(".headers", "must be an object");
            return None;
        }
    };
    let (mut headers, mut given) = (enclosing.headers.clone(), Vec::new());
    for (name, value) in input {
        let header = name.parse::<HeaderName>().ok();
        let text = match value {
            Input::Value(text) => HeaderValue::from_str(&text).ok(),
            Input::Missing | Input::Unreadable(_) => None,
        };
        match header.zip(text) {
            Some((name, _)) if CONNECTION_HEADERS.contains(&name.as_str()) => {}
            Some((name, _)) if given.contains(&name) => {
                refuse(".headers", &format!("must not have {name} more than once"));
                return None;
            }
            Some((name, text)) => {
                given.push(name.clone());
                headers.insert(name, text);
            }
            None => {
                refuse(".headers", "must contain only valid header names and values");
                return None;
            }
        }
    }
    Some(headers)
}

/// Groups the items into stages: those of one stage run concurrently, after the previous
/// stage. `None` if items depend on each other in a circle.
pub(super) fn stages(depends_on: &[Vec<usize>]) -> Option<Vec<Vec<usize>>> {
    let mut stages = Vec::new();
    let mut waiting: Vec<usize> = (0..depends_on.len()).collect();
    while !waiting.is_empty() {
        let ready = |index: &usize| {
            depends_on.get(*index).is_some_and(|on| !on.iter().any(|before| waiting.contains(before)))
        };
        let stage: Vec<usize> = waiting.iter().copied().filter(ready).collect();
        if stage.is_empty() {
            return None;
        }
        waiting.retain(|index| !stage.contains(index));
        stages.push(stage);
    }
    Some(stages)
}
