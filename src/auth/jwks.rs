//! JSON Web Key Sets: the keys that sign tokens. RFC 7517.

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

/// More keys than any issuer has; of a larger set the first ones are taken.
const KEYS_MAX: usize = 100;

/// The tokens of a set whose claims are remembered; each takes about a kilobyte.
const VERIFIED_MAX: usize = 10_000;

/// The keys of an issuer, and the tokens that they are known to have signed.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// To verify a signature costs more than all the rest of a call. They are
    /// forgotten with the set; whether a token is in force is asked each time.
    verified: Cache<TokenHash, Arc<Claims>>,
}

/// SHA-256 of a token: the token itself is kept nowhere.
type TokenHash = [u8; 32];

impl Default for KeySet {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// What it may sign with: of one family only, and never HMAC, for which a
    /// public key would be a secret that everybody knows.
    algorithms: &'static [Algorithm],
    decoding: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. A key of a kind that is not used here is left out, as the
    /// standard says; what is no set at all is an error, in words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|error| format!("it is no JSON Web Key Set ({{\"keys\": […]}}): {error}"))?;
        Ok(Self::new(document.keys.into_iter().filter_map(key).take(KEYS_MAX).collect()))
    }

    fn new(keys: Vec<Key>) -> Self {
        Self { keys, verified: Cache::new(VERIFIED_MAX) }
    }

    /// What the token says, if it was verified before.
    pub(super) fn verified(&self, token: &str) -> Option<Arc<Claims>> {
        self.verified.get(&hash(token))
    }

    /// Remembers what a token says that one of the keys signed.
    pub(super) fn remember(&self, token: &str, claims: Arc<Claims>) {
        self.verified.insert(hash(token), claims);
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody can be let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key of this id, or any at all if the token names none.
    pub(super) fn knows(&self, id: Option<&str>) -> bool {
        self.keys.iter().any(|key| key.has(id))
    }

    /// The keys that may have signed with this algorithm.
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

/// The key, if it is one that signs.
fn key(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|of| of.contains(&KeyOperations::Verify));
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
    fn only_keys_that_sign_in_a_known_way_are_taken() {
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
    fn what_is_no_set_is_refused() {
        for nonsense in ["", "[]", "{}", r#"{"keys":5}"#, "<html>"] {
            assert!(KeySet::parse(nonsense.as_bytes()).is_err(), "{nonsense:?}");
        }
        assert!(parse(&[]).is_empty());
    }
}
