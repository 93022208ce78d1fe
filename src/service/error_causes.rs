//! The errors of other parts of the service, as errors of operations.

use super::{Error, Kind, Reason};
use crate::{batch::BatchError, server::MemoryFull, store::StoreError};

impl From<MemoryFull> for Error {
    fn from(full: MemoryFull) -> Self {
        let (kind, public) = match full {
            MemoryFull::Connection => (
                Kind::ResourceExhausted,
                "The requests of this connection take too much memory. Send fewer at a time, or use more \
                 connections.",
            ),
            MemoryFull::Process => (
                Kind::Unavailable,
                "The service has too little memory for more requests at the moment. Try again later.",
            ),
        };
        Self::new(kind, Reason::MemoryFull, public, None)
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        let internal = Some(error.to_string());
        match error {
            BatchError::QueueFull(_) => {
                let public = "The service has reached its limit of waiting requests. Retry later.";
                Self::new(Kind::Unavailable, Reason::QueueFull, public, internal)
            }
            BatchError::Store(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                let public = "The database is unavailable. A write may have happened; it is safe to retry.";
                Self::new(Kind::Unavailable, Reason::StoreUnavailable, public, internal)
            }
            BatchError::Store(StoreError::Data(_)) => Self::internal(error.to_string()),
        }
    }
}
