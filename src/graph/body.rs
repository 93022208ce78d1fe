//! JSON request bodies, and the types of their properties.

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRef, FromRequest, Request},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    properties::{
        self, Entries, Findings, PROPERTIES_MAX, ReadError, Step, Text, at, object_in_body, refuse_value,
    },
    read::{SEND_JSON, check_content_type, memory_of, read_body, read_within},
    refusal::Refusal,
    state::HttpState,
    unknown::Unknown,
};
use crate::{server::TURN_BYTES, service::Input, settings::LimitSettings};

/// The longest list whose elements are read; every list has a lower limit.
const LIST_MAX: usize = 1_000;

/// The largest body of an action on one user. A valid body takes a few hundred bytes;
/// parsing a megabyte would delay the worker's other requests by milliseconds.
pub(super) const ACTION_MAX_BYTES: usize = TURN_BYTES;

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

/// Reads a property as a truth value; `null` counts as missing.
pub(super) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Input<bool>, D::Error> {
    Ok(match <&RawValue>::deserialize(deserializer)?.get() {
        "null" => Input::Missing,
        "true" => Input::Value(true),
        "false" => Input::Value(false),
        json => unreadable(json),
    })
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
