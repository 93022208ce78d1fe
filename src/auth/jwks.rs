//! JSON Web Key Sets: the public keys that verify tokens (RFC 7517).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::claims::Claims;

/// The keys that are used of a set, in its order. No issuer has more.
const KEYS_MAX: usize = 100;

/// The verified tokens that are cached for a set; each takes about 1 KB.
const VERIFIED_MAX: usize = 10_000;

/// The keys of an issuer, and a cache of the tokens that they verified.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Verifying a signature costs more than the rest of a request. The cache ends with the
    /// set. Expiry is checked for each request.
    verified: Cache<TokenHash, Arc<Claims>>,
}

/// SHA-256 of a token. The token itself is not stored.
type TokenHash = [u8; 32];

impl Default for KeySet {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms that it verifies, of one family. HMAC is never one of them: with it, a
    /// forger could sign with the public key.
    algorithms: &'static [Algorithm],
    decoding: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Parses a set. Keys of an unsupported kind are ignored, as the standard requires.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|error| format!("not a JSON Web Key Set ({{\"keys\": […]}}): {error}"))?;
        Ok(Self::new(document.keys.into_iter().filter_map(key).take(KEYS_MAX).collect()))
    }

    fn new(keys: Vec<Key>) -> Self {
        Self { keys, verified: Cache::new(VERIFIED_MAX) }
    }

    /// The claims of a token that was verified before.
    pub(super) fn verified(&self, token: &str) -> Option<Arc<Claims>> {
        self.verified.get(&hash(token))
    }

    /// Caches the claims of a verified token.
    pub(super) fn remember(&self, token: &str, claims: Arc<Claims>) {
        self.verified.insert(hash(token), claims);
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key, so that no token is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key with this id, or any key if the token names none.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        self.keys.iter().any(|key| key.has(id))
    }

    /// The keys that can verify a token with this key id and algorithm.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&Key| key.has(id) && key.algorithms.contains(&algorithm);
        self.keys.iter().filter(fits).map(|key| &key.decoding)
    }
}

fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

impl Key {
    fn has(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.id.as_deref() == Some(id))
    }
}

/// The key, if it verifies signatures with a supported algorithm.
fn key(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|key_use| *key_use == PublicKeyUse::Signature)
        && common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let algorithms: &[Algorithm] = match (&jwk.algorithm, common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None) => &[Algorithm::RS256, Algorithm::PS256],
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS256)) => &[Algorithm::RS256],
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => &[Algorithm::PS256],
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            &[Algorithm::ES256]
        }
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs)?;
    Some(Key { id: jwk.common.key_id, algorithms, decoding })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 8037 and RFC 7517.
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"e"}"#;
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"p","use":"USE"}"#;

    fn parse(keys: &[&str]) -> KeySet {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn only_keys_with_a_supported_algorithm_are_used() {
        let keys = parse(&[ED25519, &P256.replace("USE", "sig")]);
        assert_eq!(keys.candidates(Some("e"), Algorithm::EdDSA).count(), 1);
        assert_eq!(keys.candidates(None, Algorithm::ES256).count(), 1);
        assert_eq!(keys.candidates(Some("p"), Algorithm::EdDSA).count(), 0);
        assert!(keys.knows(Some("p")) && keys.knows(None) && !keys.knows(Some("x")));
        for refused in [
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"p","alg":"HS256"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"EC","crv":"P-384","x":"MKBC","y":"4Etl"}"#,
            r#"{"kty":"RSA","n":"sXch","e":"AQAB","alg":"HS256"}"#,
            r#"{"kty":"RSA","n":"sXch","e":"AQAB","alg":"RSA-OAEP"}"#,
            &P256.replace("USE", "enc"),
            r#"{"kty":"RSA"}"#,
            "5",
        ] {
            assert!(parse(&[refused]).is_empty(), "{refused}");
        }
    }

    #[test]
    fn json_that_is_not_a_key_set_is_an_error() {
        for invalid in ["", "[]", "{}", r#"{"keys":5}"#, "<html>"] {
            assert!(KeySet::parse(invalid.as_bytes()).is_err(), "{invalid:?}");
        }
        assert!(parse(&[]).is_empty());
    }
}
