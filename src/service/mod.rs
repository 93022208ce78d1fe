//! The operations, one file each, named as their RPCs: validate, call, answer.
//!
//! A service knows no transport. The doors decode what they receive into the
//! request types here, call one method, and encode what it returns; whatever a
//! caller may be told is decided here.

mod batch_get_presences;
mod batch_set_presences;
mod caller;
mod clear_automatic_location;
mod clear_location;
mod clear_presence;
mod clear_user_preferred_presence;
mod count_presences;
mod error;
mod explain_presence;
mod field;
mod get_presence;
mod hold_presence;
mod list_presences;
mod permission;
mod presence;
mod replica;
mod set_automatic_location;
mod set_manual_location;
mod set_presence;
mod set_status_message;
mod set_user_preferred_presence;
mod streams;
mod validate;
mod watch_presences;

use crate::{batch::Batches, clock::Clock};

pub use crate::presence::Presence;

pub use batch_get_presences::USER_IDS_MAX;
pub use batch_set_presences::REQUESTS_MAX;
pub use caller::{Caller, Grant, Permissions, SessionIds};
pub use error::{Error, Kind, Reason, VIOLATIONS_MAX};
pub use explain_presence::Explanation;
pub use field::{Field, Given, Path, Violation};
pub use hold_presence::{Held, HoldPresence};
pub use list_presences::Page;
pub use permission::{Operation, Permission};
pub use replica::{ReadFrom, Replica, ReplicaHealth};
pub use set_manual_location::SetLocation;
pub use set_presence::SetPresence;
pub use set_status_message::{Expiry, SetStatusMessage};
pub use set_user_preferred_presence::SetUserPreferredPresence;
pub use streams::Streams;
pub use watch_presences::{Event, WATCHED_MAX};

/// The operations of one lane.
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
