//! Reading the bytes of JSON request bodies: limits, memory and content types.

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::{task::yield_now, time::timeout};

use super::refusal::Refusal;
use crate::{
    server::{RequestMemory, TURN_BYTES},
    service::Error,
    settings::LimitSettings,
};

/// How to send JSON, for clients that send a form.
pub(super) const SEND_JSON: &str = "Send a JSON object with the header Content-Type: application/json.";

/// Reads the whole body, which must be JSON by its content type, have at most `max`
/// bytes, and arrive before the timeout.
pub(super) async fn read_body(
    request: Request,
    limits: &LimitSettings,
    max: usize,
) -> Result<Vec<u8>, Refusal> {
    check_content_type(request.headers())?;
    let memory = memory_of(&request);
    read_within(request.into_body(), memory, limits, max).await
}

/// The memory of the request. An item of a batch is in its batch's memory.
pub(super) fn memory_of(request: &Request) -> Option<RequestMemory> {
    request.extensions().get().cloned()
}

/// Reads at most `max` bytes within the timeout.
pub(super) async fn read_within(
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
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
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
