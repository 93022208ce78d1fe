//! Which permission each operation takes, in one table, as in Graph.
//!
//! A key to the store is made by `Caller::may` and its like and nowhere else: an
//! operation that is not in the table does not compile.

/// What a caller can ask for.
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
    /// The list of those who are there; at the HTTP API alone.
    ListPresences,
    /// Their number; at the HTTP API alone.
    CountPresences,
}

/// A permission, as the claims of a token name it. Graph: presence permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To read the own presence.
    Read,
    /// To read every presence.
    ReadAll,
    /// To change the own presence.
    ReadWrite,
    /// To read and change every presence; for applications alone.
    ReadWriteAll,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::ReadAll, Self::ReadWrite, Self::ReadWriteAll];

    /// As Graph spells it.
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

/// The permissions of which one is enough; none is if there are none.
pub(super) type AnyOf = &'static [Permission];

/// What an operation takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Of an application that acts by itself.
    pub(super) application: AnyOf,
    /// Of one that acts for a user, to that user.
    pub(super) own: AnyOf,
    /// Of one that acts for a user, to others.
    pub(super) others: AnyOf,
}

const READ: Access = Access {
    application: &[Permission::ReadAll, Permission::ReadWriteAll],
    own: &[Permission::Read, Permission::ReadAll],
    others: &[Permission::ReadAll],
};
const READ_MANY: Access = Access { own: READ.others, ..READ };
/// It shows of a user what other users may not know: when the status message
/// ends, and which applications there are.
const READ_WHOLE: Access = Access { others: &[], ..READ };
const WRITE: Access =
    Access { application: &[Permission::ReadWriteAll], own: &[Permission::ReadWrite], others: &[] };
/// Graph lets only the user say where the user chose to work.
const WRITE_CHOICE: Access = Access { application: &[], ..WRITE };

impl Operation {
    /// The table. Graph: the "Permissions" of each operation's page.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::GetPresence => READ,
            Self::BatchGetPresences | Self::WatchPresences | Self::ListPresences | Self::CountPresences => {
                READ_MANY
            }
            Self::ExplainPresence => READ_WHOLE,
            Self::SetPresence
            | Self::ClearPresence
            | Self::BatchSetPresences
            | Self::HoldPresence
            | Self::SetUserPreferredPresence
            | Self::ClearUserPreferredPresence
            | Self::SetStatusMessage
            | Self::SetAutomaticLocation
            | Self::ClearAutomaticLocation => WRITE,
            Self::SetManualLocation | Self::ClearLocation => WRITE_CHOICE,
        }
    }
}
