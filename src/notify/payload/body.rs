//! A body, and how much fits into it.

use serde::Serialize;

use crate::notify::failure::CryptoFailure;

/// The maximum number of presences in a body.
pub const PRESENCES_MAX: usize = 100;
/// The maximum size of a body with more than one presence.
pub const BODY_MAX_BYTES: usize = 256 * 1_024;

/// A body could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The JSON could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The presence could not be encrypted.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

/// The body of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The JSON.
    pub json: Vec<u8>,
    /// The number of presences in it, from the first on.
    pub presences: usize,
}

impl Body {
    /// Puts items into an empty array of the envelope.
    pub(super) fn fill<E: Serialize, I: Serialize>(
        envelope: &E,
        array_at: ArrayAt,
        items: impl Iterator<Item = Result<I, PayloadError>>,
    ) -> Result<Self, PayloadError> {
        let envelope = serde_json::to_vec(envelope)?;
        let at = match array_at {
            ArrayAt::FromStart(bytes) => bytes,
            ArrayAt::FromEnd(bytes) => envelope.len().saturating_sub(bytes),
        };
        let (head, tail) = envelope.split_at_checked(at).unwrap_or((&envelope, &[]));
        let (mut json, mut presences) = (head.to_vec(), 0);
        for item in items.take(PRESENCES_MAX) {
            let before = json.len();
            if presences > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &item?)?;
            if presences > 0 && json.len() + tail.len() > BODY_MAX_BYTES {
                json.truncate(before);
                break;
            }
            presences += 1;
        }
        json.extend_from_slice(tail);
        Ok(Self { json, presences })
    }
}

/// The place of the items in an envelope.
#[derive(Clone, Copy, Debug)]
pub(super) enum ArrayAt {
    /// After this number of bytes.
    FromStart(usize),
    /// Before this number of bytes.
    FromEnd(usize),
}
