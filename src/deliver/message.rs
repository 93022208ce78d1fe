//! A notification, ready to be sent.

use crate::notify::PayloadError;

/// A notification.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    /// Headers besides the content type.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// Why a notification could not be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The body could not be written.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The service has no key to sign tokens with.
    #[error("the service has no signing key yet")]
    NoServiceKey,
}
