//! Reading JSON request bodies: limits, content types, and the types of properties.

use std::{fmt, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    extract::{FromRef, FromRequest, Request},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
    time::timeout,
};

use super::{
    properties::{
        self, Entries, Findings, PROPERTIES_MAX, ReadError, Step, Text, at, object_in_body, refuse_value,
    },
    refusal::Refusal,
    state::HttpState,
    unknown::Unknown,
};
use crate::{
    server::{RequestMemory, TURN_BYTES},
    service::{Error, Input},
    settings::LimitSettings,
};

/// The longest list whose elements are read; every list has a lower limit.
const LIST_MAX: usize = 1_000;

/// The largest body of an action on one user. A valid body takes a few hundred bytes;
/// parsing a megabyte would delay the worker's other requests by milliseconds.
pub(super) const ACTION_MAX_BYTES: usize = TURN_BYTES;

/// How to send JSON, for clients that send a form.
const SEND_JSON: &str = "Send a JSON object with the header Content-Type: application/json.";

/// The JSON object in a request's body of at most [`ACTION_MAX_BYTES`]. An empty body
/// counts as an empty object.
///
/// The names of properties may have any case. Properties that `T` does not have are collected as
/// [`Unknown`]. A property of the wrong type is reported with the other violations: see [`text`].
#[derive(Debug, Default)]
pub(super) struct Json<T>(pub(super) T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Sync,
    Arc<HttpState>: FromRef<S>,
    T: DeserializeOwned + Default,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let limits = Arc::<HttpState>::from_ref(state).limits;
        let max = ACTION_MAX_BYTES.min(limits.message_max());
        let unknown = Unknown::of(request.extensions());
        let body = read_body(request, &limits, max).await?;
        accept(parse(&body)?, unknown).map(Self)
    }
}

/// [`Json`] for many users or requests, of at most `--message-max-bytes`.
#[derive(Debug, Default)]
pub(super) struct BulkJson<T>(pub(super) T);

impl<S, T> FromRequest<S> for BulkJson<T>
where
    S: Sync,
    Arc<HttpState>: FromRef<S>,
    T: DeserializeOwned + Default + Send + 'static,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let limits = Arc::<HttpState>::from_ref(state).limits;
        let unknown = Unknown::of(request.extensions());
        let body = read_body(request, &limits, limits.message_max()).await?;
        if body.len() <= TURN_BYTES {
            return accept(parse(&body)?, unknown).map(Self);
        }
        // On the worker, parsing would delay its other requests by milliseconds. A request that is
        // dropped while it waits is never parsed.
        let permit = PARSERS.acquire().await;
        let parsed = spawn_blocking(move || {
            // Until it is parsed, also if the request is dropped meanwhile.
            let _permit = permit;
            parse(&body)
        })
        .await;
        let parsed = parsed.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())));
        accept(parsed?, unknown).map(Self)
    }
}

/// The large bodies that are parsed at a time, each on a thread beside the workers. The others wait.
static PARSERS: Semaphore = Semaphore::const_new(2);

/// No properties.
#[derive(Default, Deserialize)]
struct Nothing {}

/// Reads the body of a request whose operation has none, so that its properties are not ignored in
/// silence. Clients send nothing, an empty object, an empty text, or `null`.
pub(super) async fn read_unused(request: Request, limits: &LimitSettings) -> Result<Request, Refusal> {
    let memory = memory_of(&request);
    let (parts, body) = request.into_parts();
    let bytes = read_within(body, memory, limits, ACTION_MAX_BYTES.min(limits.message_max())).await?;
    if !matches!(bytes.trim_ascii(), b"" | b"null" | b"\"\"") {
        check_content_type(&parts.headers)?;
        let read = parse(&bytes)?;
        let Nothing {} = accept(read, Unknown::of(&parts.extensions))?;
    }
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Reads the whole body, which must be JSON by its content type, have at most `max`
/// bytes, and arrive before the timeout.
async fn read_body(request: Request, limits: &LimitSettings, max: usize) -> Result<Vec<u8>, Refusal> {
    check_content_type(request.headers())?;
    let memory = memory_of(&request);
    read_within(request.into_body(), memory, limits, max).await
}

/// The memory of the request. An item of a batch is in its batch's memory.
fn memory_of(request: &Request) -> Option<RequestMemory> {
    request.extensions().get().cloned()
}

/// Reads at most `max` bytes within the timeout.
async fn read_within(
    body: Body,
    memory: Option<RequestMemory>,
    limits: &LimitSettings,
    max: usize,
) -> Result<Vec<u8>, Refusal> {
    // From Content-Length. The size of a compressed body is known only after
    // decompression, so `collect` checks it.
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large(max));
    }
    let body = timeout(limits.body_timeout, collect(body, memory, max)).await;
    body.unwrap_or_else(|_| Err(too_slow(limits)))
}

async fn collect(mut body: Body, memory: Option<RequestMemory>, max: usize) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut turn) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::bad_request("The body is incomplete, or not encoded as Content-Encoding says.")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large(max));
        }
        if let Some(memory) = &memory {
            memory.grow(data.len()).map_err(Error::from)?;
        }
        bytes.extend_from_slice(&data);
        // A small compressed body can decompress to a large one.
        turn += data.len();
        if turn > TURN_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
    Ok(bytes)
}

fn too_slow(limits: &LimitSettings) -> Refusal {
    let message = format!("The body did not arrive within {:?}.", limits.body_timeout);
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
}

fn too_large(max: usize) -> Refusal {
    let message = format!("The body is too large; the limit is {max} bytes.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
}

/// Accepts JSON and a missing content type.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message))
    };
    match headers.get(CONTENT_TYPE).map(HeaderValue::to_str) {
        None => Ok(()),
        Some(Ok(text)) if is_json(text) => Ok(()),
        Some(Ok(text)) if is_form(text) => refuse(&format!(
            "The Content-Type must be application/json, got {text:?}. Forms are not supported. {SEND_JSON}"
        )),
        Some(Ok(text)) => refuse(&format!("The Content-Type must be application/json, got {text:?}.")),
        Some(Err(_)) => refuse("The Content-Type must be application/json."),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn is_form(content_type: &str) -> bool {
    ["application/x-www-form-urlencoded", "multipart/form-data"].contains(&&*essence(content_type))
}

/// The content type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a text that is not JSON looks like the fields of a form:
/// `sessionId=app&availability=Busy`.
fn looks_like_form(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.%+".contains(&byte))
    })
}

/// The value of a body, unless reading it found something to refuse.
fn accept<T>((value, findings): (T, Findings), unknown: Option<Unknown>) -> Result<T, Refusal> {
    if !findings.invalid.is_empty() {
        return Err(Refusal::fields(findings.invalid));
    }
    if let Some(unknown) = unknown {
        unknown.add(findings.unknown)?;
    }
    Ok(value)
}

fn parse<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<(T, Findings), Refusal> {
    /// Graph's own text.
    const UNREADABLE: &str = "Unable to read JSON request payload.";

    let text =
        str::from_utf8(bytes).map_err(|_| Refusal::bad_request(format!("{UNREADABLE} It is not UTF-8.")))?;
    // PowerShell sends a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return Ok(Default::default());
    }
    let problem = if text.starts_with('{') {
        match properties::read(text) {
            Ok(read) => return Ok(read),
            Err(ReadError::TooManyProperties) => format!("It has more than {PROPERTIES_MAX} properties."),
            Err(ReadError::Json(error)) => invalid(text, &error),
        }
    } else {
        // serde would read an array as a struct, element by element.
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => "It must be a JSON object.".to_owned(),
            Err(error) => invalid(text, &error),
        }
    };
    Err(Refusal::bad_request(format!("{UNREADABLE} {problem}")))
}

/// Why a text is not JSON.
fn invalid(text: &str, error: &serde_json::Error) -> String {
    if looks_like_form(text) {
        return format!("It looks like a form. {SEND_JSON}");
    }
    format!("It is not valid JSON: line {}, column {}.", error.line(), error.column())
}

/// Reads a property as a text; `null` and `""` count as missing. A value of another type
/// becomes [`Input::Unreadable`], which is reported with the other violations.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<String>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|text| text_in(text.get()))
}

/// Reads a property as a text that may be empty; `null` counts as empty.
pub(super) fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<String>, D::Error> {
    Ok(match <&RawValue>::deserialize(deserializer)?.get() {
        "null" | "\"\"" => Input::Value(String::new()),
        json => text_in(json),
    })
}

/// Reads a property as a list of texts; `null` counts as missing.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Input<Vec<Input<String>>>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|list| list_in(list.get(), text_in))
}

/// Texts under any names, in their order.
pub(super) type NamedTexts = Vec<(String, Input<String>)>;

/// Reads a property as an object with texts under any names; `null` counts as missing.
pub(super) fn named_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<NamedTexts>, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    if json == "null" {
        return Ok(Input::Missing);
    }
    let Ok(Entries(entries)) = serde_json::from_str(json) else { return Ok(unreadable(json)) };
    let mut texts = Vec::with_capacity(entries.len());
    for (Text(name), json) in entries {
        match name {
            Ok(name) if json.get() == "\"\"" => texts.push((name, Input::Value(String::new()))),
            Ok(name) => texts.push((name, text_in(json.get()))),
            Err(problem) => refuse_value(problem),
        }
    }
    Ok(Input::Value(texts))
}

/// Reads a property as an object; `null` counts as missing.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Input<T>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|object| object_in(object.get()))
}

/// Reads a property as a list of objects; `null` counts as missing.
pub(super) fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Input<Vec<Input<T>>>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|list| list_in(list.get(), object_in))
}

/// Reads a list from valid JSON. More than [`LIST_MAX`] elements are only counted: those of
/// one megabyte would need fifty in memory.
fn list_in<T>(json: &str, element: impl Fn(&str) -> Input<T>) -> Input<Vec<Input<T>>> {
    if json == "null" {
        return Input::Missing;
    }
    match serde_json::from_str(json) {
        Ok(Elements { number, .. }) if number > LIST_MAX => {
            Input::Unreadable(format!("a list of {number} elements"))
        }
        Ok(Elements { first: elements, .. }) => {
            let elements = elements.into_iter().enumerate();
            let read = |(index, json): (usize, &RawValue)| at(Step::Index(index), || element(json.get()));
            Input::Value(elements.map(read).collect())
        }
        Err(_) => unreadable(json),
    }
}

/// The elements of a JSON list, of which only the first are kept.
struct Elements<'de> {
    /// At most [`LIST_MAX`].
    first: Vec<&'de RawValue>,
    /// The number of all.
    number: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements<'de>, A::Error> {
        let (mut first, mut number) = (Vec::new(), 0);
        while number < LIST_MAX
            && let Some(element) = list.next_element()?
        {
            first.push(element);
            number += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            number += 1;
        }
        Ok(Elements { first, number })
    }
}

fn object_in<T: DeserializeOwned>(json: &str) -> Input<T> {
    match json {
        "null" => Input::Missing,
        json if json.starts_with('{') => object_in_body(json).map_or_else(|_| unreadable(json), Input::Value),
        json => unreadable(json),
    }
}

fn text_in(json: &str) -> Input<String> {
    match json {
        "null" => Input::Missing,
        json if json.starts_with('"') => match serde_json::from_str(json) {
            Ok(Text(Ok(text))) => Input::text(text),
            Ok(Text(Err(problem))) => {
                refuse_value(problem);
                Input::Missing
            }
            Err(_) => unreadable(json),
        },
        json => unreadable(json),
    }
}

/// The input of a value of the wrong type, which its first character shows.
fn unreadable<T>(json: &str) -> Input<T> {
    let found = match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    };
    Input::Unreadable(found.to_owned())
}
