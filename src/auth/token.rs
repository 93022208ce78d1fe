//! Verifies access tokens: JSON Web Tokens (RFC 7519), with the advice of RFC 8725.

use std::{collections::HashSet, sync::Arc};

use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};

use super::{
    claims::{Claims, Expected},
    jwks::KeySet,
    keys::Keys,
};
use crate::{
    clock::Clock,
    service::{Caller, Error, SessionIds},
    settings::{AuthSettings, SessionIdPolicy},
};

/// Verifies tokens. Clones share their keys.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    keys: Keys,
    expected: Arc<Expected>,
    clock: Clock,
}

impl Tokens {
    pub(super) fn new(settings: &AuthSettings, keys: Keys, clock: Clock) -> Self {
        let expected = Expected {
            issuer: settings.jwt_issuer.clone().unwrap_or_default(),
            audiences: settings.jwt_audience.clone(),
            leeway: SignedDuration::try_from(settings.jwt_leeway).unwrap_or(SignedDuration::ZERO),
            default_tenant: settings.jwt_default_tenant,
            require_application: settings.require_application,
            session_ids: match settings.session_id_policy {
                SessionIdPolicy::Application => SessionIds::Application,
                SessionIdPolicy::Any => SessionIds::Any,
            },
        };
        Self { keys, expected: Arc::new(expected), clock }
    }

    /// The caller that a token names.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Error> {
        let mut keys = self.keys.current();
        if let Some(claims) = keys.verified(token) {
            return claims.caller(&self.expected, self.clock.now());
        }
        let header = header(token)?;
        let mut claims = verify(token, &header, &keys)?;
        if claims.is_none() {
            // The issuer may have replaced the key, possibly under the same id.
            let newer = self.keys.reread().await;
            if !Arc::ptr_eq(&keys, &newer) {
                keys = newer;
                claims = verify(token, &header, &keys)?;
            }
        }
        let claims = Arc::new(claims.ok_or_else(|| unverified(&header, &keys))?);
        let caller = claims.caller(&self.expected, self.clock.now())?;
        // Invalid tokens are not cached, so their senders cannot fill the cache.
        keys.remember(token, claims);
        Ok(caller)
    }
}

/// The header of a token. It is an error if no key can verify such a token, so that the
/// keys are not read again for it.
fn header(token: &str) -> Result<Header, Error> {
    const ALGORITHMS: [Algorithm; 4] =
        [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
    let header =
        decode_header(token).ok().filter(|header| ALGORITHMS.contains(&header.alg)).ok_or_else(|| {
            Error::token_invalid("The access token must be a JWT signed with RS256, PS256, ES256 or EdDSA.")
        })?;
    // RFC 7515: a critical extension that is not supported makes the token invalid.
    if header.crit.is_some() {
        return Err(Error::token_invalid(
            "The access token has critical extensions, which are not supported (header crit).",
        ));
    }
    Ok(header)
}

/// The token's claims; `None` if none of the keys signed it.
fn verify(token: &str, header: &Header, keys: &KeySet) -> Result<Option<Claims>, Error> {
    let validation = signature_only(header.alg);
    for key in keys.candidates(header.kid.as_deref(), header.alg) {
        match decode::<Claims>(token, key, &validation) {
            Ok(token) => return Ok(Some(token.claims)),
            Err(error) if matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::Utf8(_)) => {
                return Err(Error::token_invalid("The access token's claims cannot be decoded."));
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

/// The error of a token that none of the keys signed.
fn unverified(header: &Header, keys: &KeySet) -> Error {
    Error::token_invalid(if keys.knows(header.kid.as_deref()) {
        "The access token's signature is invalid."
    } else {
        "The access token is signed with an unknown key (header kid)."
    })
}

/// Verifies the signature only; [`Claims::caller`] checks the claims with the service's
/// clock.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims = HashSet::new();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    validation
}
