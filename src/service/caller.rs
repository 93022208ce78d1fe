//! The caller of a request and its authorization.

use uuid::Uuid;

use super::{
    Error, Operation, Permission,
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
    /// If the token names an application, the session whose id is the application's. Graph:
    /// setPresence.
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
        Self { tenant_id, application_id, grant, session_ids, expires_at: Some(expires_at) }
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

    /// The user's key, if the caller has the permission for `operation` on this user.
    pub(super) fn authorize(&self, operation: Operation, user_id: UserId) -> Result<UserKey, Error> {
        let Access { application, own, others } = operation.access();
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
            Grant::Delegated(_, held) if others.is_empty() && held.has_any(own) => {
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
        match (&self.application_id, self.session_ids) {
            (Some(own), SessionIds::Application) if *own != session_id => {
                Err(Error::session_id_not_application(own))
            }
            _ => Ok(SessionKey { user, session_id }),
        }
    }

    /// The tenant, if the caller has the permission for `operation` on all its users.
    pub(super) fn authorize_tenant(&self, operation: Operation) -> Result<Uuid, Error> {
        let Access { application, own, others } = operation.access();
        match &self.grant {
            Grant::Unrestricted => Ok(self.tenant_id),
            Grant::Application(held) if held.has_any(application) => Ok(self.tenant_id),
            Grant::Application(_) => Err(Error::application_forbidden(application, own)),
            Grant::Delegated(_, held) if held.has_any(others) => Ok(self.tenant_id),
            Grant::Delegated(..) => Err(Error::delegated_forbidden(others)),
        }
    }
}
