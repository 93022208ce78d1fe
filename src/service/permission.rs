//! The permissions that each operation requires, in one table, as in Graph.
//!
//! Only `Caller::authorize` and the functions beside it make keys for the store, and they take an
//! [`Operation`]. So an operation that is missing in the table does not compile.

/// An operation that requires a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `SetPresence`.
    SetPresence,
    /// `ClearPresence`.
    ClearPresence,
    /// `GetPresence`.
    GetPresence,
    /// `BatchGetPresences`.
    BatchGetPresences,
    /// `BatchSetPresences`.
    BatchSetPresences,
    /// `SetUserPreferredPresence`.
    SetUserPreferredPresence,
    /// `ClearUserPreferredPresence`.
    ClearUserPreferredPresence,
    /// `SetStatusMessage`.
    SetStatusMessage,
    /// `SetManualLocation`.
    SetManualLocation,
    /// `SetAutomaticLocation`.
    SetAutomaticLocation,
    /// `ClearAutomaticLocation`.
    ClearAutomaticLocation,
    /// `ClearLocation`.
    ClearLocation,
    /// `WatchPresences`.
    WatchPresences,
    /// `HoldPresence`.
    HoldPresence,
    /// `ExplainPresence`.
    ExplainPresence,
    /// List the users with a live session; HTTP API only.
    ListPresences,
    /// Count the users with a live session; HTTP API only.
    CountPresences,
}

/// A permission, as tokens name it. Graph: presence permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read the caller's own presence.
    Read,
    /// Read all presences.
    ReadAll,
    /// Change the caller's own presence.
    ReadWrite,
    /// Read and change all presences; for applications only.
    ReadWriteAll,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 4] = [Self::Read, Self::ReadAll, Self::ReadWrite, Self::ReadWriteAll];

    /// Graph's name of the permission.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "Presence.Read",
            Self::ReadAll => "Presence.Read.All",
            Self::ReadWrite => "Presence.ReadWrite",
            Self::ReadWriteAll => "Presence.ReadWrite.All",
        }
    }
}

/// Alternative permissions: any one of these is sufficient; an empty list grants nothing.
pub(super) type AnyOf = &'static [Permission];

/// The permissions that an operation requires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// For an application without a user.
    pub(super) application: AnyOf,
    /// For an application that acts for a user, on that user.
    pub(super) own: AnyOf,
    /// For an application that acts for a user, on other users.
    pub(super) others: AnyOf,
}

const READ: Access = Access {
    application: &[Permission::ReadAll, Permission::ReadWriteAll],
    own: &[Permission::Read, Permission::ReadAll],
    others: &[Permission::ReadAll],
};
const READ_MANY: Access = Access { own: READ.others, ..READ };
/// The response has details that other users must not see: the end of the status message and the
/// applications that have sessions.
const READ_DETAILS: Access = Access { others: &[], ..READ };
const WRITE: Access =
    Access { application: &[Permission::ReadWriteAll], own: &[Permission::ReadWrite], others: &[] };
/// In Graph only the user can set the manual location.
const WRITE_AS_USER: Access = Access { application: &[], ..WRITE };

impl Operation {
    /// The table. Graph: the "Permissions" section of each operation's page.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::GetPresence => READ,
            Self::BatchGetPresences | Self::WatchPresences | Self::ListPresences | Self::CountPresences => {
                READ_MANY
            }
            Self::ExplainPresence => READ_DETAILS,
            Self::SetPresence
            | Self::ClearPresence
            | Self::BatchSetPresences
            | Self::HoldPresence
            | Self::SetUserPreferredPresence
            | Self::ClearUserPreferredPresence
            | Self::SetStatusMessage
            | Self::SetAutomaticLocation
            | Self::ClearAutomaticLocation => WRITE,
            Self::SetManualLocation | Self::ClearLocation => WRITE_AS_USER,
        }
    }
}
