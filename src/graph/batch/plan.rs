//! What a batch asks for: its items as requests, and in which order they run.

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
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    graph::{
        body::{objects, text, texts},
        matched::Matched,
        odata::authority,
        paths::{BATCH_PATH, VERSIONS, WATCH_PATH, rewrite},
        refusal::Refusal,
    },
    presence::BATCH_ITEMS_MAX,
    service::{Input, ReadFrom},
};

const NO_URL: &str = "must be a URL, such as /users/{id}/presence";

/// Requests to answer.
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
    /// Names the request in its answer and in `dependsOn`; each has another,
    /// whatever its case.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, min_length = 1, example = "1")]
    id: Input<String>,
    /// The verb.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "GET")]
    method: Input<String>,
    /// Behind the version, or absolute with this service's host.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "/users/fa8bf3dc-eca7-46b7-bad1-db199b62afc3/presence")]
    url: Input<String>,
    /// Its headers.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Value,
    /// Its JSON body.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    body: Value,
    /// The ids of the requests that must succeed before.
    #[serde(default, deserialize_with = "texts")]
    #[schema(value_type = Option<Vec<String>>)]
    depends_on: Input<Vec<Input<String>>>,
}

/// Where the batch came from, and what its items inherit.
#[derive(Debug)]
pub(super) struct Origin {
    /// `/v1.0`.
    version: &'static str,
    host: Option<Authority>,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let version = parts.extensions.get().map_or("", |path: &Matched| path.version);
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
        Ok(Self { version, host, headers })
    }
}

/// An item that can run.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) id: String,
    pub(super) request: Request,
    /// The places of the items that must succeed before.
    pub(super) depends_on: Vec<usize>,
}

/// The items as requests; or all that is wrong with them, and none of them
/// runs.
pub(super) fn plan(body: BatchBody, origin: &Origin) -> Result<Vec<Planned>, Refusal> {
    let items = match body.requests {
        Input::Value(items) if items.is_empty() => return Err(Refusal::field("requests", "is required")),
        Input::Value(items) if items.len() > BATCH_ITEMS_MAX => {
            let what = format!("must be {BATCH_ITEMS_MAX} at most, not {}", items.len());
            return Err(Refusal::field("requests", &what));
        }
        Input::Value(items) => items,
        Input::Missing => return Err(Refusal::field("requests", "is required")),
        Input::Unreadable(what) => {
            return Err(Refusal::field("requests", &format!("must be a list of requests, not {what}")));
        }
    };
    let mut wrong = Vec::new();
    let places = places(&items, &mut wrong);
    let mut planned = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        let mut refuse =
            |field: &str, what: &str| wrong.push((format!("requests[{place}]{field}"), what.to_owned()));
        let Input::Value(item) = item else {
            refuse("", "must be an object");
            continue;
        };
        let depends_on = depends_on(item.depends_on, &places, &mut refuse);
        let method = method(&item.method, &mut refuse);
        let uri = url(item.url, origin, &mut refuse);
        let headers = headers(item.headers, origin, &mut refuse);
        if let (Input::Value(id), Some(method), Some(uri), Some(mut headers)) =
            (item.id, method, uri, headers)
        {
            let body = if item.body.is_null() {
                Body::empty()
            } else {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                item.body.to_string().into()
            };
            let mut request = Request::new(body);
            (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
            planned.push(Planned { id, request: rewrite(request), depends_on });
        }
    }
    if wrong.is_empty() { Ok(planned) } else { Err(Refusal::fields(wrong)) }
}

/// Where each id stands, in lower case.
fn places(items: &[Input<BatchItem>], wrong: &mut Vec<(String, String)>) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        let Input::Value(item) = item else { continue };
        let what = match &item.id {
            Input::Value(id) => match places.insert(id.to_lowercase(), place) {
                None => continue,
                Some(_) => "is the id of another request, too".to_owned(),
            },
            Input::Missing => "is required".to_owned(),
            Input::Unreadable(what) => format!("must be a string, not {what}"),
        };
        wrong.push((format!("requests[{place}].id"), what));
    }
    places
}

fn depends_on(
    given: Input<Vec<Input<String>>>,
    places: &HashMap<String, usize>,
    refuse: &mut impl FnMut(&str, &str),
) -> Vec<usize> {
    let ids = match given {
        Input::Missing => Vec::new(),
        Input::Value(ids) => ids,
        Input::Unreadable(what) => {
            refuse(".dependsOn", &format!("must be a list of ids, not {what}"));
            Vec::new()
        }
    };
    let place = |id: Input<String>| match id {
        Input::Value(id) => places.get(&id.to_lowercase()).copied(),
        Input::Missing | Input::Unreadable(_) => None,
    };
    let found: Vec<_> = ids.into_iter().map(place).collect();
    if found.contains(&None) {
        refuse(".dependsOn", "must name ids of this batch");
    }
    found.into_iter().flatten().collect()
}

fn method(given: &Input<String>, refuse: &mut impl FnMut(&str, &str)) -> Option<Method> {
    let known = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];
    let method = match given {
        Input::Value(text) => known.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)),
        Input::Missing | Input::Unreadable(_) => None,
    };
    if method.is_none() {
        refuse(".method", "must be GET, POST, PATCH, PUT or DELETE");
    }
    method
}

/// The item's path, with the version in front. An absolute URL must be one of
/// ours: this service calls nobody else.
fn url(given: Input<String>, origin: &Origin, refuse: &mut impl FnMut(&str, &str)) -> Option<Uri> {
    let mut refuse = |what: &str| {
        refuse(".url", what);
        None
    };
    let Input::Value(text) = given else { return refuse(NO_URL) };
    let absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    // One client leaves the version in a relative URL.
    let versioned =
        VERSIONS.iter().any(|version| text.strip_prefix(version).is_some_and(|rest| rest.starts_with('/')));
    let url = if absolute || versioned {
        text
    } else {
        format!("{}/{}", origin.version, text.strip_prefix('/').unwrap_or(&text))
    };
    let Ok(uri) = url.parse::<Uri>() else { return refuse(NO_URL) };
    let ours = |host: &Authority| {
        origin.host.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(host.as_str()))
    };
    if uri.authority().is_some_and(|host| !ours(host)) {
        return refuse("must not name another host");
    }
    let path = uri.path();
    let behind_version = VERSIONS.iter().find_map(|version| path.strip_prefix(version)).unwrap_or_default();
    match behind_version.trim_end_matches('/') {
        BATCH_PATH | "/%24batch" => return refuse("must not be a batch itself"),
        WATCH_PATH => return refuse("must not be a stream"),
        _ => {}
    }
    let Some(Ok(path)) = uri.path_and_query().map(|path| path.as_str().parse()) else {
        return refuse(NO_URL);
    };
    Some(path)
}

/// The item's headers, over those it inherits. Those of a connection mean
/// nothing here.
fn headers(given: Value, origin: &Origin, refuse: &mut impl FnMut(&str, &str)) -> Option<HeaderMap> {
    const OF_CONNECTIONS: [&str; 5] =
        ["host", "connection", "content-length", "transfer-encoding", "content-encoding"];
    let given = match given {
        Value::Null => serde_json::Map::new(),
        Value::Object(given) => given,
        _ => {
            refuse(".headers", "must be an object");
            return None;
        }
    };
    let mut headers = origin.headers.clone();
    for (name, value) in given {
        let header = name.parse::<HeaderName>().ok();
        let text = value.as_str().and_then(|text| HeaderValue::from_str(text).ok());
        match header.zip(text) {
            Some((name, _)) if OF_CONNECTIONS.contains(&name.as_str()) => {}
            Some((name, text)) => drop(headers.insert(name, text)),
            None => {
                refuse(".headers", "must hold names and texts of headers");
                return None;
            }
        }
    }
    Some(headers)
}

/// Items that can run at once, one group after another; `None` if some wait for
/// each other.
pub(super) fn waves(depends_on: &[Vec<usize>]) -> Option<Vec<Vec<usize>>> {
    let mut waves = Vec::new();
    let mut waiting: Vec<usize> = (0..depends_on.len()).collect();
    while !waiting.is_empty() {
        let free = |place: &usize| {
            depends_on.get(*place).is_some_and(|on| !on.iter().any(|before| waiting.contains(before)))
        };
        let wave: Vec<usize> = waiting.iter().copied().filter(free).collect();
        if wave.is_empty() {
            return None;
        }
        waiting.retain(|place| !wave.contains(place));
        waves.push(wave);
    }
    Some(waves)
}
