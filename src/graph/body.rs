//! Reading JSON bodies: what is let in, and what is said of the rest.

use std::sync::{Arc, LazyLock};

use axum::{
    body::{Body, HttpBody},
    extract::{FromRef, FromRequest, Request},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::timeout,
};

use super::{refusal::Refusal, state::HttpState};
use crate::{server::TURN_BYTES, service::Input, settings::LimitSettings};

/// The longest list whose elements are looked at: longer than any may be.
const LIST_MAX: usize = 1_000;

/// The largest body of an action on one user. What is in it takes a few hundred
/// bytes, and to read a megabyte takes milliseconds that others wait for.
pub(super) const ACTION_MAX_BYTES: usize = TURN_BYTES;

/// The JSON object in a request's body of [`ACTION_MAX_BYTES`] at most; no body
/// counts as an empty object.
///
/// A property that is not in `T` is ignored: SDKs send some. One that has the
/// wrong type is one thing wrong among others: see [`text`].
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
        let body = body_of(request, &limits, max).await?;
        parse(&body).map(Self)
    }
}

/// As [`Json`], for many users or requests: as large as a message may be.
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
        let body = body_of(request, &limits, limits.message_max()).await?;
        if body.len() <= TURN_BYTES {
            return parse(&body).map(Self);
        }
        // Nobody else on this worker would get an answer meanwhile.
        let parsed = ASIDE.spawn_blocking(move || parse(&body)).await;
        parsed.unwrap_or_else(|error| Err(Refusal::internal(error.to_string()))).map(Self)
    }
}

/// Where large bodies are read: one thread that runs where no other wants to.
#[expect(clippy::expect_used, reason = "as it says")]
static ASIDE: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .thread_name("bodies")
        .max_blocking_threads(1)
        .on_thread_start(come_last)
        .build()
        .expect("a runtime without drivers takes nothing of the system")
});

/// Has this thread run after all others, where there are fewer cores than work.
fn come_last() {
    // A niced thread keeps its core for milliseconds once it has it; one of this
    // policy is taken off at once. Where it can't be had, nothing is lost but time.
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    }
}

/// The whole body of a request that says it is JSON, of `max` bytes at most, in time.
async fn body_of(request: Request, limits: &LimitSettings, max: usize) -> Result<Vec<u8>, Refusal> {
    check_content_type(request.headers())?;
    let body = request.into_body();
    // As the header says, unless the body is packed; then it is seen as it unpacks.
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large(max));
    }
    let body = timeout(limits.body_timeout, read(body, max)).await;
    body.unwrap_or_else(|_| Err(too_slow(limits)))
}

async fn read(mut body: Body, max: usize) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut turn) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Refusal::bad_request("The body broke off, or is not what it says it is."))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&data);
        // A body that was packed small may be large.
        turn += data.len();
        if turn > TURN_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
    Ok(bytes)
}

fn too_slow(limits: &LimitSettings) -> Refusal {
    let message = format!("The body was not there within {:?}.", limits.body_timeout);
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
}

fn too_large(max: usize) -> Refusal {
    let message = format!("The body is larger than {max} bytes, the most that is read here.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
}

/// JSON, or nothing said.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message))
    };
    match headers.get(CONTENT_TYPE).map(HeaderValue::to_str) {
        None => Ok(()),
        Some(Ok(text)) if is_json(text) => Ok(()),
        Some(Ok(text)) => refuse(&format!("The Content-Type must be application/json, not {text:?}.")),
        Some(Err(_)) => refuse("The Content-Type must be application/json."),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, Refusal> {
    /// Graph's own words.
    const UNREADABLE: &str = "Unable to read JSON request payload.";

    let text =
        str::from_utf8(bytes).map_err(|_| Refusal::bad_request(format!("{UNREADABLE} It is not UTF-8.")))?;
    // PowerShell begins with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return Ok(T::default());
    }
    // An array would be read as a struct, element by element.
    let read = if text.starts_with('{') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str::<bool>(text).map(|_| T::default())
    };
    match read {
        Ok(value) if text.starts_with('{') => Ok(value),
        Ok(_) => Err(Refusal::bad_request(format!("{UNREADABLE} It must be a JSON object."))),
        Err(error) => {
            let what = match (error.is_data(), text.starts_with('{')) {
                (true, true) => "A property stands there twice",
                (true, false) => "It must be a JSON object",
                (false, _) => "It is not valid JSON",
            };
            let (line, column) = (error.line(), error.column());
            Err(Refusal::bad_request(format!("{UNREADABLE} {what}: line {line}, column {column}.")))
        }
    }
}

/// A property as a text; `null` and `""` count as missing. A value of another
/// type is unreadable, and named with whatever else is wrong.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<String>, D::Error> {
    Value::deserialize(deserializer).map(text_of)
}

/// A property as a text that may be empty; `null` counts as missing.
pub(super) fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Input::Value(text),
        other => text_of(other),
    })
}

/// A property as a list of texts; `null` counts as missing.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Input<Vec<Input<String>>>, D::Error> {
    let text_in = |json: &str| serde_json::from_str(json).map_or_else(|_| unreadable(json), text_of);
    <&RawValue>::deserialize(deserializer).map(|list| list_in(list.get(), text_in))
}

/// A property as an object; `null` counts as missing.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Input<T>, D::Error> {
    Value::deserialize(deserializer).map(object_of)
}

/// A property as a list of objects; `null` counts as missing.
pub(super) fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Input<Vec<Input<T>>>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|list| list_in(list.get(), object_in))
}

/// A list in JSON that was found to be valid. Its elements are read only if there
/// are not far too many: of a megabyte they would take fifty.
fn list_in<T>(json: &str, element: impl Fn(&str) -> Input<T>) -> Input<Vec<Input<T>>> {
    if json == "null" {
        return Input::Missing;
    }
    match serde_json::from_str::<Vec<&RawValue>>(json) {
        Ok(elements) if elements.len() > LIST_MAX => {
            Input::Unreadable(format!("a list of {} elements", elements.len()))
        }
        Ok(elements) => Input::Value(elements.into_iter().map(|json| element(json.get())).collect()),
        Err(_) => unreadable(json),
    }
}

fn object_in<T: DeserializeOwned>(json: &str) -> Input<T> {
    match json {
        "null" => Input::Missing,
        json if json.starts_with('{') => serde_json::from_str(json)
            .map_or_else(|_| Input::Unreadable("an object of another kind".to_owned()), Input::Value),
        json => unreadable(json),
    }
}

/// A value that is none of those that are wanted, by how it begins.
fn unreadable<T>(json: &str) -> Input<T> {
    let what = match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    };
    Input::Unreadable(what.to_owned())
}

fn object_of<T: DeserializeOwned>(value: Value) -> Input<T> {
    match value {
        Value::Null => Input::Missing,
        value @ Value::Object(_) => serde_json::from_value(value)
            .map_or_else(|_| Input::Unreadable("an object of another kind".to_owned()), Input::Value),
        other => Input::Unreadable(type_of(&other).to_owned()),
    }
}

fn text_of(value: Value) -> Input<String> {
    match value {
        Value::Null => Input::Missing,
        Value::String(text) => Input::text(text),
        other => Input::Unreadable(type_of(&other).to_owned()),
    }
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
