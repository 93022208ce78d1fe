//! Signatures of notifications by the Standard Webhooks specification.

use std::fmt;

use aws_lc_rs::{
    hmac, rand,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::failure::CryptoFailure;

/// The prefixes of keys as text: a symmetric key, an Ed25519 private key, and its public key.
const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// The lengths of a symmetric key that the specification allows, and of the keys made here.
const SYMMETRIC_MIN_BYTES: usize = 24;
const SYMMETRIC_MAX_BYTES: usize = 64;
const NEW_KEY_BYTES: usize = 32;

/// The length of the private part of an Ed25519 key. The public key, of the same length, follows it.
const SEED_BYTES: usize = 32;

/// Why a text is not a signing key. The message belongs after the name of the field, and does not
/// repeat the text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The text begins with no known prefix.
    #[error("must begin with {SYMMETRIC} (a symmetric key) or {PRIVATE} (an Ed25519 private key)")]
    Prefix,
    /// The text is a public key.
    #[error("must be a private key, which begins with {PRIVATE}; this one is public")]
    Public,
    /// The rest of the text is not base64.
    #[error("must have base64 after its prefix")]
    NotBase64,
    /// The symmetric key is too short or too long.
    #[error(
        "must have {SYMMETRIC_MIN_BYTES} to {SYMMETRIC_MAX_BYTES} bytes in base64 after {SYMMETRIC}; it has {0} bytes"
    )]
    SymmetricLength(usize),
    /// The Ed25519 key has another length.
    #[error(
        "must have 64 bytes in base64 after {PRIVATE}, the private key and its public key; it has {0} bytes"
    )]
    PrivateLength(usize),
    /// The two parts of the Ed25519 key do not belong together.
    #[error("must have a private key after {PRIVATE} and then its public key; the two do not match")]
    Mismatch,
}

/// A key that signs notifications.
pub struct SigningKey(Key);

enum Key {
    Symmetric(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    /// Writes no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Symmetric(_) => "SigningKey(symmetric)",
            Key::Ed25519(_) => "SigningKey(Ed25519)",
        })
    }
}

impl SigningKey {
    /// Parses `whsec_` with the base64 of a symmetric key of 24 to 64 bytes, or `whsk_` with the base64
    /// of an Ed25519 private key and its public key.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        if text.starts_with(PUBLIC) {
            return Err(SigningKeyError::Public);
        }
        let decode = |base64: &str| STANDARD.decode(base64).map_err(|_| SigningKeyError::NotBase64);
        let key = if let Some(base64) = text.strip_prefix(SYMMETRIC) {
            let bytes = decode(base64)?;
            if !(SYMMETRIC_MIN_BYTES..=SYMMETRIC_MAX_BYTES).contains(&bytes.len()) {
                return Err(SigningKeyError::SymmetricLength(bytes.len()));
            }
            Key::Symmetric(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
        } else if let Some(base64) = text.strip_prefix(PRIVATE) {
            let bytes = decode(base64)?;
            let parts = bytes.split_at_checked(SEED_BYTES).filter(|(_, public)| public.len() == SEED_BYTES);
            let (seed, public) = parts.ok_or(SigningKeyError::PrivateLength(bytes.len()))?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
            Key::Ed25519(pair.map_err(|_| SigningKeyError::Mismatch)?)
        } else {
            return Err(SigningKeyError::Prefix);
        };
        Ok(Self(key))
    }

    /// The public key, as `whpk_` with base64. A symmetric key has none.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match &self.0 {
            Key::Symmetric(_) => None,
            Key::Ed25519(pair) => Some(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key()))),
        }
    }

    /// The signature of a notification: `v1,` or `v1a,` with base64. `id` has no full stop;
    /// `timestamp` is the time of the attempt in seconds.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        match &self.0 {
            Key::Symmetric(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed))),
            Key::Ed25519(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(&signed))),
        }
    }
}

/// The value of the header `webhook-signature`: a signature by each key. There are two keys while the
/// subscriber replaces one.
#[must_use]
pub fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

/// A new symmetric key, as text.
pub fn generate_signing_key() -> Result<String, CryptoFailure> {
    let mut key = [0; NEW_KEY_BYTES];
    rand::fill(&mut key)?;
    Ok(format!("{SYMMETRIC}{}", STANDARD.encode(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification and of its libraries.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const PRIVATE_KEY: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC_KEY: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const ED25519_SIGNATURE: &str =
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    fn key(text: &str) -> SigningKey {
        SigningKey::parse(text).unwrap()
    }

    #[test]
    fn signatures_equal_those_of_the_specification() {
        assert_eq!(key(SECRET).sign(ID, TIMESTAMP, BODY), SIGNATURE);
        assert_eq!(key(PRIVATE_KEY).sign(ID, TIMESTAMP, BODY), ED25519_SIGNATURE);
        let other = key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").sign(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            br#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(other, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn two_keys_make_two_signatures() {
        let keys = [key(PRIVATE_KEY), key(SECRET)];
        assert_eq!(signatures(&keys, ID, TIMESTAMP, BODY), format!("{ED25519_SIGNATURE} {SIGNATURE}"));
        assert_eq!(signatures(&keys[1..], ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn only_an_asymmetric_key_has_a_public_key() {
        assert_eq!(key(PRIVATE_KEY).public_key().as_deref(), Some(PUBLIC_KEY));
        assert_eq!(key(SECRET).public_key(), None);
    }

    #[test]
    fn a_new_key_is_valid_and_not_repeated() {
        let [first, second] = [(); 2].map(|()| generate_signing_key().unwrap());
        assert!(SigningKey::parse(&first).is_ok() && first.starts_with("whsec_"));
        assert_ne!(first, second);
    }

    #[test]
    fn other_texts_are_refused_with_their_cause() {
        let symmetric = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        let private = |bytes: usize| format!("whsk_{}", STANDARD.encode(vec![7; bytes]));
        let wrong_public = PRIVATE_KEY.replace("VKIDij", "VKIDik");
        for (text, expected) in [
            ("", SigningKeyError::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SigningKeyError::Prefix),
            (PUBLIC_KEY, SigningKeyError::Public),
            ("whsec_not base64", SigningKeyError::NotBase64),
            ("whsk_6Xb", SigningKeyError::NotBase64),
            ("whsec_", SigningKeyError::SymmetricLength(0)),
            (&symmetric(23), SigningKeyError::SymmetricLength(23)),
            (&symmetric(65), SigningKeyError::SymmetricLength(65)),
            (&private(32), SigningKeyError::PrivateLength(32)),
            (&private(65), SigningKeyError::PrivateLength(65)),
            (&wrong_public, SigningKeyError::Mismatch),
        ] {
            assert_eq!(SigningKey::parse(text).map(|_| ()), Err(expected), "{text}");
        }
        for bytes in [24, 64] {
            assert!(SigningKey::parse(&symmetric(bytes)).is_ok(), "{bytes} bytes");
        }
        assert!(!format!("{:?}", key(SECRET)).contains("MfKQ"));
    }
}
