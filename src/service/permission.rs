//! The permissions that each operation requires, in one table, as in Graph, and one more for
//! administrators.
//!
//! Only `Caller::authorize` and the functions beside it make keys for the store, and they take an
//! [`Operation`]. So an operation that is missing in the table does not compile.

use strum::VariantArray;

/// An operation that requires a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
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
    /// `BatchClearPresences`.
    BatchClearPresences,
    /// `SetUserPreferredPresence`.
    SetUserPreferredPresence,
    /// `ClearUserPreferredPresence`.
    ClearUserPreferredPresence,
    /// `SetStatusMessage` with a text.
    SetStatusMessage,
    /// `SetStatusMessage` with an empty text, which clears the message.
    ClearStatusMessage,
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
    /// `WaitForPresence`.
    WaitForPresence,
    /// `HoldPresence`.
    HoldPresence,
    /// `KeepPresence`.
    KeepPresence,
    /// `ExplainPresence`.
    ExplainPresence,
    /// `ListPresenceHistory`.
    ListPresenceHistory,
    /// `ExportPresence`.
    ExportPresence,
    /// `ErasePresence`.
    ErasePresence,
    /// `ListPresences`.
    ListPresences,
    /// `CountPresences`.
    CountPresences,
    /// `CreateSubscription`.
    CreateSubscription,
    /// `GetSubscription`.
    GetSubscription,
    /// `ListSubscriptions`.
    ListSubscriptions,
    /// `UpdateSubscription`.
    UpdateSubscription,
    /// `DeleteSubscription`.
    DeleteSubscription,
}

/// A permission, as tokens name it. All but the last are Graph's presence permissions.
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
    /// Inspect, clear, export and erase what other applications and users of the tenant set; for
    /// administrators.
    ManageAll,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::ReadAll, Self::ReadWrite, Self::ReadWriteAll, Self::ManageAll];

    /// The name in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "Presence.Read",
            Self::ReadAll => "Presence.Read.All",
            Self::ReadWrite => "Presence.ReadWrite",
            Self::ReadWriteAll => "Presence.ReadWrite.All",
            Self::ManageAll => "Presence.Manage.All",
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
    /// With these, the session may be another application's.
    pub(super) any_session: AnyOf,
}

impl Access {
    /// Whether only the user and administrators have access. Then a user's permission does not
    /// cover other users.
    pub(super) fn is_personal(self) -> bool {
        self.others.iter().all(|permission| *permission == Permission::ManageAll)
    }
}

const MANAGE: Access = Access {
    application: &[Permission::ManageAll],
    own: &[Permission::ManageAll],
    others: &[Permission::ManageAll],
    any_session: &[],
};

const READ: Access = Access {
    application: &[Permission::ReadAll, Permission::ReadWriteAll],
    own: &[Permission::Read, Permission::ReadAll],
    others: &[Permission::ReadAll],
    any_session: &[],
};
const READ_MANY: Access = Access { own: READ.others, ..READ };
/// The response has details that other users must not see: the end of the status message and the
/// applications that have sessions.
const READ_DETAILS: Access = Access {
    application: &[Permission::ReadAll, Permission::ReadWriteAll, Permission::ManageAll],
    own: &[Permission::Read, Permission::ReadAll, Permission::ManageAll],
    ..MANAGE
};
/// An administrator may see and end the subscriptions of all applications.
const SUBSCRIPTIONS: Access = Access {
    application: &[Permission::ReadAll, Permission::ReadWriteAll, Permission::ManageAll],
    own: &[Permission::ReadAll, Permission::ManageAll],
    others: &[Permission::ReadAll, Permission::ManageAll],
    any_session: &[],
};
const WRITE: Access = Access {
    application: &[Permission::ReadWriteAll],
    own: &[Permission::ReadWrite],
    others: &[],
    any_session: &[],
};
/// An administrator may clear what others set, and may not set anything in their place.
const CLEAR: Access = Access {
    application: &[Permission::ReadWriteAll, Permission::ManageAll],
    own: &[Permission::ReadWrite, Permission::ManageAll],
    others: &[Permission::ManageAll],
    any_session: &[Permission::ManageAll],
};
/// In Graph only the user can set the manual location.
const WRITE_AS_USER: Access = Access { application: &[], ..WRITE };

impl Operation {
    /// The permissions of which any one is sufficient: for an application, for a user on the own
    /// presence, and for a user on others'. An empty list grants nothing.
    #[must_use]
    pub const fn permissions(self) -> [&'static [Permission]; 3] {
        let Access { application, own, others, .. } = self.access();
        [application, own, others]
    }

    /// The table. Graph: the "Permissions" section of each operation's page.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::GetPresence => READ,
            Self::BatchGetPresences
            | Self::WatchPresences
            | Self::WaitForPresence
            | Self::ListPresences
            | Self::CountPresences
            | Self::CreateSubscription
            | Self::UpdateSubscription => READ_MANY,
            Self::GetSubscription | Self::ListSubscriptions | Self::DeleteSubscription => SUBSCRIPTIONS,
            Self::ExplainPresence | Self::ListPresenceHistory => READ_DETAILS,
            Self::ExportPresence | Self::ErasePresence => MANAGE,
            Self::ClearPresence
            | Self::BatchClearPresences
            | Self::ClearUserPreferredPresence
            | Self::ClearStatusMessage => CLEAR,
            Self::SetPresence
            | Self::BatchSetPresences
            | Self::HoldPresence
            | Self::KeepPresence
            | Self::SetUserPreferredPresence
            | Self::SetStatusMessage
            | Self::SetAutomaticLocation
            | Self::ClearAutomaticLocation => WRITE,
            Self::SetManualLocation | Self::ClearLocation => WRITE_AS_USER,
        }
    }
}
