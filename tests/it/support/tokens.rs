//! An issuer of access tokens, with new keys for each test.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};

use super::server::START;

pub const ISSUER: &str = "https://login.example.com/v2.0";
pub const AUDIENCE: &str = "api://presence";
pub const TENANT: &str = "5d3f3c3e-5d5b-4a4b-8f4e-0a5ad3a3f7c1";
pub const OTHER_TENANT: &str = "0c9d6f0b-2b57-4a8e-9c39-5a6c0d1a2b3c";
pub const APP: &str = "22553876-f5ab-4529-bffb-cfe50aa89f87";
pub const USER: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";

/// The flags of a service that accepts this issuer's tokens, without those for its keys.
pub const FLAGS: [&str; 6] = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];

/// A signing key of the issuer.
pub struct Signer {
    pub algorithm: Algorithm,
    pub id: String,
    pub jwk: Value,
    key: EncodingKey,
}

/// One key for all tests, since generating an RSA key is slow.
static RSA: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());

impl Signer {
    /// Makes a new key. For RSA it is always the same one.
    pub fn new(algorithm: Algorithm, id: &str) -> Self {
        let (key, mut jwk) = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                // The key follows a PKCS #8 header of 26 bytes.
                let key = EncodingKey::from_rsa_der(&RSA.serialize_der()[26..]);
                let jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
                (key, json!({ "kty": "RSA", "n": jwk["n"], "e": jwk["e"] }))
            }
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                let [x, y] = [1..33, 33..65].map(|range| BASE64.encode(&pair.der_bytes()[range]));
                let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
                (EncodingKey::from_ec_der(&pair.serialize_der()), jwk)
            }
            _ => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.der_bytes()) });
                (EncodingKey::from_ed_der(&pair.serialize_der()), jwk)
            }
        };
        jwk["kid"] = id.into();
        Self { algorithm, id: id.to_owned(), jwk, key }
    }

    /// Signs a token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }

    /// Like [`Self::sign`], with another header.
    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

/// The JSON Web Key Set of these keys.
pub fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| &signer.jwk).collect::<Vec<_>>() }).to_string()
}

/// A token with this header and these claims, and any bytes as its signature.
pub fn unsigned(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}.{}", BASE64.encode(signature))
}

/// The claims of an application with these roles.
pub fn application(roles: &[&str]) -> Value {
    with(&json!({ "roles": roles, "oid": "11111111-0000-0000-0000-000000000000" }))
}

/// The claims of an application that acts for [`USER`] with these scopes.
pub fn delegated(scopes: &str) -> Value {
    with(&json!({ "scp": scopes, "oid": USER }))
}

/// Adds the claims that every token has.
pub fn with(claims: &Value) -> Value {
    let now = START.as_millis() / 1_000;
    let mut all = json!({
        "iss": ISSUER, "aud": AUDIENCE, "tid": TENANT, "azp": APP, "nbf": now - 60, "exp": now + 3_600,
    });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    all
}
