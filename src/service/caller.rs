//! Who calls, and whether that caller may do what it asks for.

use uuid::Uuid;

use super::{
    Error, Operation, Permission,
    permission::{Access, AnyOf},
};
use crate::{
    presence::{SessionId, Timestamp, UserId},
    store::{SessionKey, UserKey},
};

/// Who calls. What it holds is private: the keys to the store come from
/// `may` and its like, which ask for the permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller's organisation; nothing ever crosses tenants.
    tenant_id: Uuid,
    application_id: Option<SessionId>,
    grant: Grant,
    session_ids: SessionIds,
    expires_at: Option<Timestamp>,
}

/// What a caller was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Everything: nobody is authenticated.
    Everything,
    /// An application that acts by itself. Graph: application permissions.
    Application(Permissions),
    /// One that acts for a user. Graph: delegated permissions.
    Delegated(UserId, Permissions),
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions([bool; Permission::ALL.len()]);

/// Which sessions a caller may set and clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIds {
    /// Its own, whose id is the application's, if the token names one. Graph:
    /// setPresence.
    Application,
    /// Any.
    Any,
}

impl Permissions {
    /// Those that are named; unknown names are nothing to us.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut permissions = Self::default();
        for name in names {
            for (held, permission) in permissions.0.iter_mut().zip(Permission::ALL) {
                *held |= permission.as_str() == name;
            }
        }
        permissions
    }

    fn has_any(self, of: AnyOf) -> bool {
        Permission::ALL.iter().zip(self.0).any(|(permission, held)| held && of.contains(permission))
    }
}

impl Caller {
    /// Everybody, while authentication is off: the tenant is the nil GUID, and
    /// nobody is known to be a certain user.
    pub const ANONYMOUS: Self = Self {
        tenant_id: Uuid::nil(),
        application_id: None,
        grant: Grant::Everything,
        session_ids: SessionIds::Any,
        expires_at: None,
    };

    /// Who a token says it is, which is in force until `expires_at`.
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

    /// Until when it is let in, if that has an end: a stream must end then.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The organisation and the application that calls, if it is known.
    #[must_use]
    pub const fn application(&self) -> (Uuid, Option<&SessionId>) {
        (self.tenant_id, self.application_id.as_ref())
    }

    /// The user on whose behalf the caller acts, if it acts on one's.
    #[must_use]
    pub const fn user_id(&self) -> Option<&UserId> {
        match &self.grant {
            Grant::Delegated(user_id, _) => Some(user_id),
            Grant::Everything | Grant::Application(_) => None,
        }
    }

    /// Whether it is known who calls.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.grant != Grant::Everything
    }

    /// Whether the caller acts for this user.
    pub(super) fn is(&self, user_id: &UserId) -> bool {
        self.user_id() == Some(user_id)
    }

    /// The user, if the caller may do `operation` to it.
    pub(super) fn may(&self, operation: Operation, user_id: UserId) -> Result<UserKey, Error> {
        let Access { application, own, others } = operation.access();
        match &self.grant {
            Grant::Everything => {}
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

    /// The session, if the caller may do `operation` to it.
    pub(super) fn may_to_session(
        &self,
        operation: Operation,
        user_id: UserId,
        session_id: SessionId,
    ) -> Result<SessionKey, Error> {
        let user = self.may(operation, user_id)?;
        match (&self.application_id, self.session_ids) {
            (Some(own), SessionIds::Application) if *own != session_id => {
                Err(Error::session_id_not_application(own))
            }
            _ => Ok(SessionKey { user, session_id }),
        }
    }

    /// The tenant, if the caller may do `operation` to all of its users.
    pub(super) fn may_to_all(&self, operation: Operation) -> Result<Uuid, Error> {
        let Access { application, own, others } = operation.access();
        match &self.grant {
            Grant::Everything => Ok(self.tenant_id),
            Grant::Application(held) if held.has_any(application) => Ok(self.tenant_id),
            Grant::Application(_) => Err(Error::application_forbidden(application, own)),
            Grant::Delegated(_, held) if held.has_any(others) => Ok(self.tenant_id),
            Grant::Delegated(..) => Err(Error::delegated_forbidden(others)),
        }
    }
}
