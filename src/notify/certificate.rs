//! The certificate of a subscriber, whose public key encrypts presences.

use std::fmt::{self, Write as _};

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rsa::{OaepPublicEncryptingKey, PublicEncryptingKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{certificate::X509Certificate, parse_x509_certificate, public_key::PublicKey};

use crate::presence::Timestamp;

/// The longest text of a certificate. One with an RSA key of 4,096 bits has about 2,500 characters.
const TEXT_MAX_CHARS: usize = 16 * 1_024;

/// The sizes of an RSA key that are allowed, in bits. Graph: encryptionCertificate.
const KEY_MIN_BITS: usize = 2_048;
const KEY_MAX_BITS: usize = 4_096;

/// Why a text is not a certificate that can encrypt presences. The message belongs after the name of
/// the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text is too long.
    #[error("must be an X.509 certificate in base64 of at most {TEXT_MAX_CHARS} characters")]
    TooLong,
    /// The text is not base64.
    #[error("must be an X.509 certificate in base64; this text is not base64")]
    NotBase64,
    /// The bytes are not a certificate.
    #[error("must be an X.509 certificate in base64; this is base64 of other data")]
    NotCertificate,
    /// The key is of another kind.
    #[error("must be a certificate with an RSA key; its key is of another kind")]
    NotRsa,
    /// The key is too short or too long.
    #[error(
        "must be a certificate with an RSA key of {KEY_MIN_BITS} to {KEY_MAX_BITS} bits; its key has {0} bits"
    )]
    KeySize(usize),
    /// The key is none of RSA's.
    #[error("must be a certificate with a valid RSA key")]
    InvalidKey,
    /// The certificate has expired.
    #[error("must be a certificate that has not expired; this one expired at {0}")]
    Expired(Timestamp),
}

/// A certificate, ready to encrypt.
pub struct Certificate {
    pub(super) key: OaepPublicEncryptingKey,
    pub(super) thumbprint: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Parses an X.509 certificate in base64 of its DER form, and checks that it can be used at `now`.
    ///
    /// Line breaks and the lines of PEM around it are accepted. Who signed it does not matter: the
    /// subscriber sends it over an authenticated channel.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let der = decode(text)?;
        let certificate = parse_der(&der)?;
        let this = Self::new(&der, &certificate)?;
        let until = certificate.validity().not_after.timestamp().saturating_mul(1_000);
        if now.as_millis() > until {
            return Err(CertificateError::Expired(Timestamp::from_millis(until)));
        }
        Ok(this)
    }

    /// Parses a certificate that was valid when its subscription was made. It may have expired since,
    /// which does not stop the subscription.
    pub fn parse_stored(text: &str) -> Result<Self, CertificateError> {
        let der = decode(text)?;
        Self::new(&der, &parse_der(&der)?)
    }

    fn new(der: &[u8], certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let public_key = certificate.public_key();
        let Ok(PublicKey::RSA(rsa)) = public_key.parsed() else { return Err(CertificateError::NotRsa) };
        let bits = bits(rsa.modulus);
        if !(KEY_MIN_BITS..=KEY_MAX_BITS).contains(&bits) {
            return Err(CertificateError::KeySize(bits));
        }
        let key = PublicEncryptingKey::from_der(public_key.raw).map_err(|_| CertificateError::InvalidKey)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| CertificateError::InvalidKey)?;
        Ok(Self { key, thumbprint: thumbprint(der) })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, CertificateError> {
    if text.len() > TEXT_MAX_CHARS {
        return Err(CertificateError::TooLong);
    }
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let base64: String = lines.flat_map(str::split_ascii_whitespace).collect();
    STANDARD.decode(base64).map_err(|_| CertificateError::NotBase64)
}

fn parse_der(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::NotCertificate),
    }
}

/// The number of bits of a positive number, most significant byte first.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - first
}

/// SHA-1 of the certificate in upper-case hexadecimal digits, by which Windows and Graph name it.
fn thumbprint(der: &[u8]) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};

    use super::*;

    /// Certificates with RSA keys of sizes that `rcgen` does not make.
    const RSA_1024: &str = include_str!("fixtures/rsa1024.pem");
    const RSA_2047: &str = include_str!("fixtures/rsa2047.pem");
    const RSA_2048: &str = include_str!("fixtures/rsa2048.pem");
    const RSA_4096: &str = include_str!("fixtures/rsa4096.pem");
    const RSA_4104: &str = include_str!("fixtures/rsa4104.pem");

    /// A time at which the certificates of the files are valid.
    const NOW: Timestamp = Timestamp::from_millis(1_795_315_800_000);

    fn parse(text: &str) -> Result<Certificate, CertificateError> {
        Certificate::parse(text, NOW)
    }

    fn ec_certificate(until: i32) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        STANDARD.encode(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_is_base64_of_der_with_or_without_lines() {
        let base64: String = RSA_2048.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [RSA_2048, &base64, &RSA_2048.replace('\n', "\r\n"), &format!(" {base64}\n")] {
            let certificate = parse(text).unwrap();
            assert_eq!(certificate.thumbprint, "6D7EEB42810F0DFECE590D9677D8AD4D192C476C");
            assert_eq!(certificate.key.key_size_bits(), 2_048);
        }
    }

    #[test]
    fn rsa_keys_have_2048_to_4096_bits() {
        assert!(parse(RSA_4096).is_ok());
        for (text, bits) in [(RSA_1024, 1_024), (RSA_2047, 2_047), (RSA_4104, 4_104)] {
            assert_eq!(parse(text).map(|_| ()), Err(CertificateError::KeySize(bits)));
        }
    }

    #[test]
    fn other_texts_are_refused_with_their_cause() {
        let der = decode(RSA_2048).unwrap();
        let error = |text: &str| parse(text).map(|_| ()).unwrap_err();
        assert_eq!(error("no base64!"), CertificateError::NotBase64);
        assert_eq!(error("-----BEGIN CERTIFICATE-----"), CertificateError::NotCertificate);
        assert_eq!(error(""), CertificateError::NotCertificate);
        assert_eq!(error("AAAA"), CertificateError::NotCertificate);
        assert_eq!(error(&STANDARD.encode(&der[..der.len() - 1])), CertificateError::NotCertificate);
        assert_eq!(error(&STANDARD.encode([&der[..], b"x"].concat())), CertificateError::NotCertificate);
        assert_eq!(error(&ec_certificate(2050)), CertificateError::NotRsa);
        assert_eq!(error(&"A".repeat(TEXT_MAX_CHARS + 1)), CertificateError::TooLong);
    }

    #[test]
    fn a_certificate_expires_but_a_stored_one_stays_in_use() {
        let until = 4_949_446_183_000;
        assert!(Certificate::parse(RSA_2048, Timestamp::from_millis(until)).is_ok());
        let late = Certificate::parse(RSA_2048, Timestamp::from_millis(until + 1)).map(|_| ());
        assert_eq!(late, Err(CertificateError::Expired(Timestamp::from_millis(until))));
        assert!(Certificate::parse_stored(RSA_2048).is_ok());
        assert!(Certificate::parse_stored(RSA_1024).is_err());
    }

    #[test]
    fn each_message_says_what_is_allowed() {
        let message = CertificateError::KeySize(1_024).to_string();
        let expected = "must be a certificate with an RSA key of 2048 to 4096 bits; its key has 1024 bits";
        assert_eq!(message, expected);
        let expired = CertificateError::Expired(NOW).to_string();
        assert!(expired.ends_with("this one expired at 2026-11-22T02:50:00.000Z"), "{expired}");
    }
}
