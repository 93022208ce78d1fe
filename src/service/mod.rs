//! The operations, one file each, named as their RPCs: validate, call, answer.
//!
//! A service knows no transport. The doors decode what they receive into the
//! request types here, call one method, and encode what it returns; whatever a
//! caller may be told is decided here.

mod batch_get_presences;
mod batch_set_presences;
mod clear_presence;
mod error;
mod explain_presence;
mod get_presence;
mod set_presence;
mod validate;

use uuid::Uuid;

use crate::{
    batch::Batches,
    presence::{Pair, UserId},
    store::UserKey,
};

pub use batch_get_presences::USER_IDS_MAX;
pub use batch_set_presences::REQUESTS_MAX;
pub use error::{Error, Kind, Reason};
pub use explain_presence::Explanation;
pub use set_presence::SetPresence;
pub use validate::{Field, Given, Path, Violation};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller's organisation; nothing ever crosses tenants.
    pub tenant_id: Uuid,
}

impl Caller {
    /// Everybody, while authentication is off: the tenant is the nil GUID.
    pub const ANONYMOUS: Self = Self { tenant_id: Uuid::nil() };

    fn user(&self, user_id: UserId) -> UserKey {
        UserKey { tenant_id: self.tenant_id, user_id }
    }
}

/// What a user is shown as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user_id: UserId,
    /// What is shown.
    pub pair: Pair,
}

/// The operations of one lane.
#[derive(Debug)]
pub struct Service {
    batches: Batches,
}

impl Service {
    /// Operations on what is behind `batches`.
    #[must_use]
    pub const fn new(batches: Batches) -> Self {
        Self { batches }
    }
}
