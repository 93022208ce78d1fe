//! The caller of a request and its authorization.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Error, Operation, Permission, Profile,
    permission::{Access, AnyOf},
};
use crate::{
    presence::{Author, SessionId, Timestamp, UserId},
    store::{SessionKey, UserKey},
};

/// The caller of a request. Its fields are private: keys for the store come from
/// `Caller::authorize` and the functions beside it, which check the permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller's organisation. A caller never reads or writes another tenant's data.
    tenant_id: Uuid,
    application_id: Option<SessionId>,
    grant: Grant,
    session_ids: SessionIds,
    expires_at: Option<Timestamp>,
    /// That of the user for whom the caller acts. The verified tokens share it with their callers.
    profile: Option<Arc<Profile>>,
}

/// The permissions of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// All permissions, while authentication is off.
    Unrestricted,
    /// An application without a user. Graph: application permissions.
    Application(Permissions),
    /// An application that acts for a user. Graph: delegated permissions.
    Delegated(UserId, Permissions),
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions([bool; Permission::ALL.len()]);

/// The sessions that a caller can set and clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIds {
    /// If the token names an application, the sessions `APPLICATION` and `APPLICATION:suffix`.
    /// Graph: setPresence, which has the first only. A caller with `Presence.Manage.All` can clear the others, too.
    Application,
    /// All sessions.
    Any,
}

impl Permissions {
    /// The permissions with these names; unknown names are ignored.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut permissions = Self::default();
        for name in names {
            for (held, permission) in permissions.0.iter_mut().zip(Permission::ALL) {
                *held |= permission.as_str() == name;
            }
        }
        permissions
    }

    fn has_any(self, needed: AnyOf) -> bool {
        Permission::ALL.iter().zip(self.0).any(|(permission, held)| held && needed.contains(permission))
    }
}

impl Caller {
    /// The caller of every request while authentication is off. Its tenant is the nil GUID, and
    /// it acts for no user.
    pub const ANONYMOUS: Self = Self {
        tenant_id: Uuid::nil(),
        application_id: None,
        grant: Grant::Unrestricted,
        session_ids: SessionIds::Any,
        expires_at: None,
        profile: None,
    };

    /// A caller with an access token that expires at `expires_at`.
    #[must_use]
    pub const fn new(
        tenant_id: Uuid,
        application_id: Option<SessionId>,
        grant: Grant,
        session_ids: SessionIds,
        expires_at: Timestamp,
    ) -> Self {
        Self { tenant_id, application_id, grant, session_ids, expires_at: Some(expires_at), profile: None }
    }

    /// The same caller with the description of the user for whom it acts. Without a user it stays as it is.
    #[must_use]
    pub fn with_profile(self, profile: &Arc<Profile>) -> Self {
        let profile = self.user_id().is_some().then(|| Arc::clone(profile));
        Self { profile, ..self }
    }

    /// When the access token expires; the caller's streams end then.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The tenant and the application, if the token names one.
    #[must_use]
    pub const fn application(&self) -> (Uuid, Option<&SessionId>) {
        (self.tenant_id, self.application_id.as_ref())
    }

    /// The user for whom the caller acts, if any.
    #[must_use]
    pub const fn user_id(&self) -> Option<&UserId> {
        match &self.grant {
            Grant::Delegated(user_id, _) => Some(user_id),
            Grant::Unrestricted | Grant::Application(_) => None,
        }
    }

    /// The user for whom the caller acts, if any, and the access token's description of the user.
    #[must_use]
    pub fn user(&self) -> Option<(&UserId, &Profile)> {
        self.user_id().zip(self.profile.as_deref())
    }

    /// The author of what the caller writes.
    pub(super) fn author(&self) -> Author {
        Author { application_id: self.application_id.clone(), user_id: self.user_id().cloned() }
    }

    /// Whether the request had an access token.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.grant != Grant::Unrestricted
    }

    /// Whether the caller acts for this user.
    pub(super) fn is_user(&self, user_id: &UserId) -> bool {
        self.user_id() == Some(user_id)
    }

    /// Whether a response to the caller may name the user who set something of `user_id`. Other
    /// callers see only the application.
    #[must_use]
    pub fn sees_authors(&self, user_id: &UserId) -> bool {
        self.is_user(user_id) || self.has_any(&[Permission::ManageAll])
    }

    fn has_any(&self, needed: AnyOf) -> bool {
        match &self.grant {
            Grant::Unrestricted => true,
            Grant::Application(held) | Grant::Delegated(_, held) => held.has_any(needed),
        }
    }

    /// The user's key, if the caller has the permission for `operation` on this user.
    pub(super) fn authorize(&self, operation: Operation, user_id: UserId) -> Result<UserKey, Error> {
        let access = operation.access();
        let Access { application, own, others, .. } = access;
        match &self.grant {
            Grant::Unrestricted => {}
            Grant::Application(held) if held.has_any(application) => {}
            Grant::Application(_) => return Err(Error::application_forbidden(application, own)),
            Grant::Delegated(caller, held) if *caller == user_id => {
                if !held.has_any(own) {
                    return Err(Error::delegated_forbidden(own));
                }
            }
            Grant::Delegated(_, held) if held.has_any(others) => {}
            Grant::Delegated(_, held) if access.is_personal() && held.has_any(own) => {
                return Err(Error::other_user());
            }
            Grant::Delegated(..) => {
                return Err(Error::delegated_forbidden(if others.is_empty() { own } else { others }));
            }
        }
        Ok(UserKey { tenant_id: self.tenant_id, user_id })
    }

    /// The session's key, if the caller has the permission for `operation` on it.
    pub(super) fn authorize_session(
        &self,
        operation: Operation,
        user_id: UserId,
        session_id: SessionId,
    ) -> Result<SessionKey, Error> {
        let user = self.authorize(operation, user_id)?;
        let any_session = self.has_any(operation.access().any_session);
        match (&self.application_id, self.session_ids) {
            (Some(own), SessionIds::Application) if !session_id.is_of(own) && !any_session => {
                Err(Error::session_id_not_application(own))
            }
            _ => Ok(SessionKey { user, session_id }),
        }
    }

    /// Whether the caller may see and end the subscriptions of all applications.
    pub(super) fn manages_all(&self) -> bool {
        self.has_any(&[Permission::ManageAll])
    }

    /// Whether the caller made a subscription: as the same application, and without a user or as the same
    /// user.
    pub(super) fn made(&self, created_by: &Author) -> bool {
        let user_id = self.user_id();
        self.application_id == created_by.application_id
            && (user_id.is_none() || user_id == created_by.user_id.as_ref())
    }

    /// The tenant, if the caller has the permission for `operation` on all its users.
    pub(super) fn authorize_tenant(&self, operation: Operation) -> Result<Uuid, Error> {
        let Access { application, own, others, .. } = operation.access();
        match &self.grant {
            Grant::Unrestricted => Ok(self.tenant_id),
            Grant::Application(held) if held.has_any(application) => Ok(self.tenant_id),
            Grant::Application(_) => Err(Error::application_forbidden(application, own)),
            Grant::Delegated(_, held) if held.has_any(others) => Ok(self.tenant_id),
            Grant::Delegated(..) => Err(Error::delegated_forbidden(others)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Kind, Reason};

    const OWN: &str = "own@example.com";
    const OTHER: &str = "other@example.com";

    fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn caller(grant: impl FnOnce(Permissions) -> Grant, permissions: &str) -> Caller {
        let grant = grant(Permissions::named(permissions.split(' ')));
        let expires_at = Timestamp::from_millis(1);
        Caller::new(Uuid::nil(), Some(id("app")), grant, SessionIds::Application, expires_at)
    }

    fn application(permissions: &str) -> Caller {
        caller(Grant::Application, permissions)
    }

    fn delegated(permissions: &str) -> Caller {
        caller(|held| Grant::Delegated(id(OWN), held), permissions)
    }

    /// The permissions with which an application, a user on itself, and a user on others may
    /// call the operation.
    fn sufficient(operation: Operation) -> [Vec<&'static str>; 3] {
        let named = |is_sufficient: &dyn Fn(&str) -> bool| {
            let names = Permission::ALL.map(Permission::as_str);
            names.into_iter().filter(|name| is_sufficient(name)).collect()
        };
        let may = |caller: &Caller, user: &str| caller.authorize(operation, id(user)).is_ok();
        [
            named(&|name| may(&application(name), OTHER)),
            named(&|name| may(&delegated(name), OWN)),
            named(&|name| may(&delegated(name), OTHER)),
        ]
    }

    #[test]
    fn administrators_may_inspect_clear_export_and_erase_and_never_set() {
        const MANAGE: &str = "Presence.Manage.All";
        let details = [
            vec!["Presence.Read.All", "Presence.ReadWrite.All", MANAGE],
            vec!["Presence.Read", "Presence.Read.All", MANAGE],
            vec![MANAGE],
        ];
        for operation in [Operation::ExplainPresence, Operation::ListPresenceHistory] {
            assert_eq!(sufficient(operation), details, "{operation:?}");
        }
        for operation in [Operation::ExportPresence, Operation::ErasePresence] {
            assert_eq!(sufficient(operation), [[MANAGE]; 3].map(Vec::from), "{operation:?}");
        }
        let clear =
            [vec!["Presence.ReadWrite.All", MANAGE], vec!["Presence.ReadWrite", MANAGE], vec![MANAGE]];
        for operation in
            [Operation::ClearPresence, Operation::ClearUserPreferredPresence, Operation::ClearStatusMessage]
        {
            assert_eq!(sufficient(operation), clear, "{operation:?}");
        }
        for operation in [
            Operation::SetPresence,
            Operation::BatchSetPresences,
            Operation::HoldPresence,
            Operation::SetUserPreferredPresence,
            Operation::SetStatusMessage,
            Operation::SetAutomaticLocation,
            Operation::ClearAutomaticLocation,
            Operation::SetManualLocation,
            Operation::ClearLocation,
            Operation::GetPresence,
            Operation::BatchGetPresences,
            Operation::WatchPresences,
        ] {
            assert!(!sufficient(operation).concat().contains(&MANAGE), "{operation:?}");
        }
        for operation in [Operation::ListPresences, Operation::CountPresences] {
            assert!(application(MANAGE).authorize_tenant(operation).is_err(), "{operation:?}");
        }
    }

    #[test]
    fn only_an_administrator_clears_the_session_of_another_application() {
        let authorize = |caller: &Caller, operation, user: &str, session: &str| {
            let key = caller.authorize_session(operation, id(user), id(session));
            key.map(|_| ()).map_err(|error| error.reason)
        };
        let clear = Operation::ClearPresence;
        for (caller, user) in [
            (application("Presence.Manage.All"), OTHER),
            (delegated("Presence.Manage.All"), OWN),
            (delegated("Presence.Manage.All"), OTHER),
        ] {
            assert_eq!(authorize(&caller, clear, user, "phone"), Ok(()));
        }
        for (caller, user) in
            [(application("Presence.ReadWrite.All"), OTHER), (delegated("Presence.ReadWrite"), OWN)]
        {
            assert_eq!(authorize(&caller, clear, user, "app"), Ok(()));
            assert_eq!(authorize(&caller, clear, user, "phone"), Err(Reason::SessionIdNotApplication));
        }
        // The permission to set, beside that of an administrator, stays that for the own session.
        let both = application("Presence.ReadWrite.All Presence.Manage.All");
        for operation in [Operation::SetPresence, Operation::BatchSetPresences, Operation::HoldPresence] {
            assert_eq!(authorize(&both, operation, OTHER, "app"), Ok(()));
            let refused = authorize(&both, operation, OTHER, "phone");
            assert_eq!(refused, Err(Reason::SessionIdNotApplication), "{operation:?}");
        }
    }

    #[test]
    fn an_error_about_another_user_names_the_permission_that_covers_others_if_there_is_one() {
        let error =
            |permission: &str, operation| delegated(permission).authorize(operation, id(OTHER)).unwrap_err();
        // The permission that the user has covers its own presence only.
        for (permission, operation) in [
            ("Presence.ReadWrite", Operation::ClearPresence),
            ("Presence.ReadWrite", Operation::SetPresence),
            ("Presence.Read", Operation::ListPresenceHistory),
        ] {
            assert_eq!(error(permission, operation).kind, Kind::OtherUser, "{operation:?}");
        }
        // Another permission covers other users, too.
        for (permission, operation, missing) in [
            ("Presence.Read", Operation::ClearPresence, "Presence.Manage.All"),
            ("Presence.ReadWrite", Operation::ErasePresence, "Presence.Manage.All"),
            ("Presence.Read", Operation::GetPresence, "Presence.Read.All"),
        ] {
            let error = error(permission, operation);
            assert_eq!(error.kind, Kind::Forbidden, "{operation:?}");
            assert!(error.to_string().contains(missing), "{operation:?}: {error}");
        }
    }

    #[test]
    fn the_user_itself_and_administrators_see_authors() {
        let cases = [
            (Caller::ANONYMOUS, true, true),
            (application("Presence.Manage.All"), true, true),
            (delegated("Presence.Manage.All"), true, true),
            (delegated("Presence.Read"), true, false),
            (delegated("Presence.Read.All"), true, false),
            (application("Presence.Read.All"), false, false),
            (application("Presence.ReadWrite.All"), false, false),
        ];
        for (caller, own, other) in cases {
            let sees = [OWN, OTHER].map(|user| caller.sees_authors(&id(user)));
            assert_eq!(sees, [own, other], "{caller:?}");
        }
    }
}
