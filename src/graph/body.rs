//! Reading JSON bodies: what is let in, and what is said of the rest.

use std::{collections::BTreeMap, fmt};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::{BODY_MAX_BYTES, refusal::Refusal};
use crate::service::Given;

/// What is read and thrown away of a body that is too large, so that its client
/// can hear why: one that is still sending when the connection is closed may
/// see nothing but that. In bytes.
const DISCARD_MAX_BYTES: usize = 1_024 * 1_024;

/// The JSON object in a request's body; no body counts as an empty object.
///
/// Properties that nobody asks for are ignored: SDKs send some.
#[derive(Debug, Default)]
pub(super) struct JsonObject(BTreeMap<String, Value>);

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        check_content_type(request.headers())?;
        parse(&read(request.into_body()).await?)
    }
}

/// The whole body, if it is not too large.
async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > DISCARD_MAX_BYTES {
            break;
        }
        if length <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&data);
        }
    }
    if length > BODY_MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> Refusal {
    let message = format!("The body is larger than {BODY_MAX_BYTES} bytes.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
}

/// JSON, or nothing said. A body that is encoded otherwise, gzip included, is
/// refused in the way that makes the Go SDK send it again plainly.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message))
    };
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return refuse("The body must not have a Content-Encoding.");
    }
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

fn parse(bytes: &[u8]) -> Result<JsonObject, Refusal> {
    /// Graph's own words.
    const UNREADABLE: &str = "Unable to read JSON request payload.";

    let text =
        str::from_utf8(bytes).map_err(|_| Refusal::bad_request(format!("{UNREADABLE} It is not UTF-8.")))?;
    // PowerShell begins with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return Ok(JsonObject::default());
    }
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = match (error.is_data(), text.starts_with('{')) {
            (true, true) => "A property stands there twice",
            (true, false) => "It must be a JSON object",
            (false, _) => "It is not valid JSON",
        };
        Refusal::bad_request(format!("{UNREADABLE} {what}: line {line}, column {column}."))
    })
}

impl<'de> Deserialize<'de> for JsonObject {
    /// Refuses a property that stands there twice: which one was meant?
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Properties;

        impl<'de> Visitor<'de> for Properties {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut properties = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if properties.insert(name, value).is_some() {
                        return Err(A::Error::custom("a property twice"));
                    }
                }
                Ok(JsonObject(properties))
            }
        }

        deserializer.deserialize_map(Properties)
    }
}

impl JsonObject {
    /// A property as a text. `null` counts as missing.
    pub(super) fn text(&mut self, name: &str) -> Given<String> {
        self.0.remove(name).map_or(Given::Missing, text)
    }

    /// A property as a list of texts. `null` counts as missing.
    pub(super) fn texts(&mut self, name: &str) -> Given<Vec<Given<String>>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Given::Missing,
            Some(Value::Array(values)) => Given::Value(values.into_iter().map(text).collect()),
            Some(other) => Given::Unreadable(type_of(&other).to_owned()),
        }
    }
}

/// A value as a text. A wrong type is one thing wrong among others.
fn text(value: Value) -> Given<String> {
    match value {
        Value::Null => Given::Missing,
        Value::String(text) => Given::text(text),
        other => Given::Unreadable(type_of(&other).to_owned()),
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
