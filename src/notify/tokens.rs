//! The key of the service, and the tokens that it signs. Graph: validationTokens.
//!
//! A token proves that a notification with encrypted content comes from this service, for a tenant and
//! an application. Receivers verify it with the public keys of the service.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use quick_cache::sync::Cache;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use x509_parser::{prelude::FromDer as _, public_key::RSAPublicKey};

use super::failure::CryptoFailure;
use crate::{presence::Timestamp, store::SigningKeyRow};

/// The application that sends Graph's notifications, which the libraries for Graph expect in a token.
const PUBLISHER: &str = "0bf30f3b-4a52-48df-9a82-234910c4a086";

/// The time for which a token is valid.
const LIFETIME: Duration = Duration::from_hours(1);
/// The time before its making from which on a token is valid, for receivers whose clock is slow.
const VALID_BEFORE: Duration = Duration::from_mins(5);
/// The age up to which a token is sent again. A signature costs as much as all else of a notification.
const REUSED_FOR: Duration = Duration::from_mins(30);
/// The number of tokens that are kept to send them again.
const TOKENS_MAX: usize = 10_000;

/// A stored key of the service cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0} in the database cannot be read")]
pub struct InvalidServiceKey(String);

/// A key pair of the service, ready to sign.
pub struct ServiceKey {
    id: String,
    pair: KeyPair,
    /// The first part of each token.
    header: String,
    jwk: Value,
    tokens: Cache<(Uuid, String), Token>,
}

/// A token that was made before.
#[derive(Clone)]
struct Token {
    made_at: Timestamp,
    text: Arc<str>,
}

/// The claims of a token. Graph's have the form of version 1 and the claim `azp` of version 2.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    appid: &'a str,
    azp: &'a str,
    tid: Uuid,
    ver: &'a str,
}

impl fmt::Debug for ServiceKey {
    /// Writes no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ServiceKey {
    /// Makes a key of 2,048 bits, in the form in which it is stored. This takes up to a second, so
    /// callers use `spawn_blocking`.
    pub fn generate(now: Timestamp) -> Result<SigningKeyRow, CryptoFailure> {
        let pkcs8 = KeyPair::generate(KeySize::Rsa2048)?.as_der()?;
        let private_key = STANDARD.encode(pkcs8.as_ref());
        Ok(SigningKeyRow { key_id: Uuid::new_v4().to_string(), private_key, created_at: now })
    }

    /// Reads a stored key.
    pub fn parse(row: &SigningKeyRow) -> Result<Self, InvalidServiceKey> {
        Self::read(&row.key_id, &row.private_key).ok_or_else(|| InvalidServiceKey(row.key_id.clone()))
    }

    fn read(id: &str, private_key: &str) -> Option<Self> {
        let pair = KeyPair::from_pkcs8(&STANDARD.decode(private_key).ok()?).ok()?;
        let (_, public) = RSAPublicKey::from_der(pair.public_key().as_ref()).ok()?;
        let jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": id,
            "n": encode_number(public.modulus),
            "e": encode_number(public.exponent),
        });
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": id });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        Some(Self { id: id.to_owned(), pair, header, jwk, tokens: Cache::new(TOKENS_MAX) })
    }

    /// The name of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key, for a JSON Web Key Set.
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// A token for notifications to an application of a tenant, valid for at least half an hour.
    pub fn validation_token(
        &self,
        tenant_id: Uuid,
        application_id: &str,
        now: Timestamp,
    ) -> Result<Arc<str>, CryptoFailure> {
        let key = (tenant_id, application_id.to_owned());
        let fresh = |token: &Token| token.made_at <= now && now <= token.made_at + REUSED_FOR;
        if let Some(token) = self.tokens.get(&key).filter(fresh) {
            return Ok(token.text);
        }
        let text: Arc<str> = self.sign(tenant_id, application_id, now)?.into();
        self.tokens.insert(key, Token { made_at: now, text: Arc::clone(&text) });
        Ok(text)
    }

    fn sign(&self, tenant_id: Uuid, application_id: &str, now: Timestamp) -> Result<String, CryptoFailure> {
        let seconds = |at: Timestamp| at.as_millis().div_euclid(1_000);
        let claims = Claims {
            aud: application_id,
            iss: format!("https://sts.windows.net/{tenant_id}/"),
            iat: seconds(now - VALID_BEFORE),
            nbf: seconds(now - VALID_BEFORE),
            exp: seconds(now + LIFETIME),
            appid: PUBLISHER,
            azp: PUBLISHER,
            tid: tenant_id,
            ver: "1.0",
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| CryptoFailure)?;
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A number of a JSON Web Key: the bytes of a DER integer without the leading zero.
fn encode_number(number: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(number.strip_prefix(&[0]).unwrap_or(number))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::Jwk};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_315_800_123);
    const TENANT: Uuid = Uuid::from_u128(0x7a11);
    const MINUTE: Duration = Duration::from_mins(1);

    static ROW: LazyLock<SigningKeyRow> = LazyLock::new(|| ServiceKey::generate(NOW).unwrap());

    fn key() -> ServiceKey {
        ServiceKey::parse(&ROW).unwrap()
    }

    /// What a receiver does with a token and the public key.
    fn verify(token: &str, jwk: &Value) -> Value {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&["app"]);
        validation.set_issuer(&[format!("https://sts.windows.net/{TENANT}/")]);
        // The test's time is not that of the machine.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        decode(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap().claims
    }

    #[test]
    fn the_public_key_verifies_a_token() {
        let key = key();
        let token = key.validation_token(TENANT, "app", NOW).unwrap();
        let header = decode_header(token.as_bytes()).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, Some(key.id())));
        let expected = json!({
            "aud": "app",
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000007a11/",
            "iat": 1_795_315_500,
            "nbf": 1_795_315_500,
            "exp": 1_795_319_400,
            "appid": "0bf30f3b-4a52-48df-9a82-234910c4a086",
            "azp": "0bf30f3b-4a52-48df-9a82-234910c4a086",
            "tid": TENANT,
            "ver": "1.0",
        });
        assert_eq!(verify(&token, key.jwk()), expected);
    }

    #[test]
    fn the_public_key_shows_no_private_part() {
        let key = key();
        let names: Vec<&String> = key.jwk().as_object().unwrap().keys().collect();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!(key.jwk()["e"], "AQAB");
        // 256 bytes, without the leading zero of DER.
        assert_eq!(URL_SAFE_NO_PAD.decode(key.jwk()["n"].as_str().unwrap()).unwrap().len(), 256);
        assert!(!format!("{key:?} {:?}", *ROW).contains(&ROW.private_key));
    }

    #[test]
    fn a_token_is_sent_again_for_half_an_hour() {
        let key = key();
        let token = |application: &str, now| key.validation_token(TENANT, application, now).unwrap();
        let first = token("app", NOW);
        assert_eq!(token("app", NOW + 30 * MINUTE), first);
        assert_ne!(token("other", NOW), first);
        assert_ne!(key.validation_token(Uuid::nil(), "app", NOW).unwrap(), first);
        let second = token("app", NOW + 31 * MINUTE);
        assert_ne!(second, first);
        // The clock stepped back, and the receivers' clocks with it.
        assert_eq!(token("app", NOW), first);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_named() {
        let row = SigningKeyRow { private_key: "AAAA".to_owned(), key_id: "k".to_owned(), ..ROW.clone() };
        let error = ServiceKey::parse(&row).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the signing key k in the database cannot be read");
    }
}
