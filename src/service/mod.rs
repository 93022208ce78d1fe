//! The operations, one file each, named as their RPCs: validate, call, answer.
//!
//! A service knows no transport. The APIs decode what they receive into the
//! request types here, call one method, and encode what it returns; whatever a
//! caller may be told is decided here.

mod caller;
mod error;
mod field;
mod operations;
mod permission;
mod presence;
mod replica;
mod streams;
mod validate;

use crate::{batch::Batches, clock::Clock};

pub use crate::presence::Presence;

pub use caller::{Caller, Grant, Permissions, SessionIds};
pub use error::{Error, Kind, Reason, VIOLATIONS_MAX};
pub use field::{Field, Input, Path, Violation};
pub use operations::{
    Event, Expiry, Explanation, Held, HoldPresence, Page, SetLocation, SetPresence, SetStatusMessage,
    SetUserPreferredPresence,
};
pub use permission::{Operation, Permission};
pub use replica::{ReadFrom, Replica, ReplicaHealth};
pub use streams::Streams;

/// The operations of one worker.
#[derive(Debug)]
pub struct Service {
    batches: Batches,
    /// For reads that may be old.
    replica: Option<Replica>,
    /// For what is checked before anything is asked of the store.
    clock: Clock,
    streams: Streams,
}

impl Service {
    /// Operations on what is behind `batches`, and what may be read from a replica.
    #[must_use]
    pub const fn new(batches: Batches, replica: Option<Replica>, clock: Clock, streams: Streams) -> Self {
        Self { batches, replica, clock, streams }
    }
}
