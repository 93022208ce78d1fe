//! A failure of the cryptography library.

use aws_lc_rs::error::Unspecified;

/// The cryptography library could not do its work: it has no random numbers, or no memory. It says no
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptography library failed")]
pub struct CryptoFailure;

impl From<Unspecified> for CryptoFailure {
    fn from(_: Unspecified) -> Self {
        Self
    }
}
