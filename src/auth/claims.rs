//! A token's claims, and the checks of them.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    presence::{SessionId, Timestamp, UserId, parse_guid},
    service::{Caller, Error, Grant, Permissions, Profile, SessionIds},
};

/// The expected values of a token's claims.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The issuer, in which `{tenantid}` stands for the token's tenant.
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) leeway: SignedDuration,
    pub(super) default_tenant: Option<Uuid>,
    pub(super) require_application: bool,
    pub(super) session_ids: SessionIds,
}

/// The claims that the service reads, by Entra ID's names.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: Option<String>,
    aud: Option<Texts>,
    /// Unix time in seconds, possibly with a fraction (RFC 7519, `NumericDate`).
    exp: Option<f64>,
    nbf: Option<f64>,
    tid: Option<String>,
    oid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    idtyp: Option<String>,
    roles: Option<Texts>,
    scp: Option<Texts>,
    #[serde(flatten, deserialize_with = "profile")]
    profile: Arc<Profile>,
}

/// The claims that describe the user.
#[derive(Deserialize)]
struct ProfileClaims {
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    preferred_username: Option<String>,
    #[serde(default, deserialize_with = "text")]
    upn: Option<String>,
    #[serde(default, deserialize_with = "text")]
    email: Option<String>,
}

/// Reads the user's description.
fn profile<'de, D: Deserializer<'de>>(claims: D) -> Result<Arc<Profile>, D::Error> {
    let ProfileClaims { name, preferred_username, upn, email } = ProfileClaims::deserialize(claims)?;
    let user_principal_name = preferred_username.or(upn);
    Ok(Arc::new(Profile { display_name: name, user_principal_name, mail: email }))
}

/// Reads a claim that only describes the user: without a text it counts as missing, and the token stays
/// valid.
fn text<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(claim)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}

/// One text or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        };
        texts.iter().map(String::as_str)
    }
}

impl Claims {
    /// The caller, if the token is valid at `now`, from the expected issuer and for an
    /// expected audience.
    pub(super) fn caller(&self, expected: &Expected, now: Timestamp) -> Result<Caller, Error> {
        let expires_at = self.check_times(expected.leeway, now)?;
        let issuer = match &self.tid {
            Some(tenant) => expected.issuer.replace("{tenantid}", tenant),
            None => expected.issuer.clone(),
        };
        if self.iss.as_ref() != Some(&issuer) {
            return Err(Error::token_invalid("The access token is from another issuer (claim iss)."));
        }
        let aud = self.aud.as_ref().map(Texts::iter).into_iter().flatten();
        if !aud.into_iter().any(|audience| expected.audiences.iter().any(|expected| expected == audience)) {
            return Err(Error::token_invalid("The access token is for another audience (claim aud)."));
        }
        let tenant_id = self.tenant_id(expected.default_tenant)?;
        let (application_id, grant) = (self.application_id()?, self.grant()?);
        if expected.require_application && application_id.is_none() {
            return Err(Error::token_invalid(
                "The access token must name an application (claim appid or azp).",
            ));
        }
        let caller = Caller::new(tenant_id, application_id, grant, expected.session_ids, expires_at);
        Ok(caller.with_profile(&self.profile))
    }

    /// The time until which the token is valid, if it is valid at `now`.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for 285,000 years")]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest integer"
    )]
    fn check_times(&self, leeway: SignedDuration, now: Timestamp) -> Result<Timestamp, Error> {
        let (now, leeway) = (now.as_millis() as f64 / 1_000.0, leeway.as_secs_f64());
        let Some(exp) = self.exp else {
            return Err(Error::token_invalid("The access token has no expiry (claim exp)."));
        };
        if exp + leeway <= now {
            return Err(Error::token_expired());
        }
        if self.nbf.is_some_and(|nbf| nbf - leeway > now) {
            return Err(Error::token_invalid("The access token is not valid yet (claim nbf)."));
        }
        Ok(Timestamp::from_millis(((exp + leeway) * 1_000.0).ceil() as i64))
    }

    /// The tenant. One that is not a GUID is an error rather than the default tenant, because
    /// two such tenants would become one.
    fn tenant_id(&self, default: Option<Uuid>) -> Result<Uuid, Error> {
        let tenant_id = match &self.tid {
            Some(tid) => parse_guid(tid),
            None => default,
        };
        tenant_id.ok_or_else(|| Error::token_invalid("The access token's tenant must be a GUID (claim tid)."))
    }

    fn application_id(&self) -> Result<Option<SessionId>, Error> {
        let id = self.appid.as_ref().or(self.azp.as_ref()).map(|id| id.parse());
        id.transpose().map_err(|_| {
            Error::token_invalid(
                "The access token's application is not a valid session id (claim appid or azp).",
            )
        })
    }

    /// The permissions. A token with scopes belongs to a user, whatever its other claims are:
    /// its `roles` are the user's. Without scopes, `oid` is the application's own id.
    fn grant(&self) -> Result<Grant, Error> {
        let Some(scopes) = &self.scp else {
            if self.idtyp.as_ref().is_some_and(|idtyp| idtyp != "app") {
                return Err(Error::token_invalid(
                    "The access token is for a user (claim idtyp) but has no scopes (claim scp).",
                ));
            }
            let roles = self.roles.as_ref().map(Texts::iter).into_iter().flatten();
            return Ok(Grant::Application(Permissions::named(roles)));
        };
        let user_id: Option<UserId> = self.oid.as_ref().and_then(|oid| oid.parse().ok());
        let user_id = user_id.ok_or_else(|| {
            Error::token_invalid("The access token has scopes (claim scp) but no valid user (claim oid).")
        })?;
        Ok(Grant::Delegated(user_id, Permissions::named(scopes.iter().flat_map(str::split_whitespace))))
    }
}
