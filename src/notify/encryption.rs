//! The encryption of a presence for a subscriber. Graph: changeNotificationEncryptedContent.

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    hmac,
    iv::{FixedLength, IV_LEN_128_BIT},
    rand,
    rsa::OAEP_SHA1_MGF1SHA1,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{certificate::Certificate, failure::CryptoFailure};

/// The length of an AES-256 key.
const KEY_BYTES: usize = 32;

/// A content that only the owner of a certificate's private key can read, in the form that the
/// libraries for Graph decrypt. Graph: changeNotificationEncryptedContent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptedContent {
    /// The content, encrypted with AES-256 in CBC mode with the padding of PKCS #7. The initialization
    /// vector is the first 16 bytes of the key.
    data: String,
    /// HMAC-SHA256 of the encrypted content, with the same key.
    data_signature: String,
    /// The key, encrypted with RSA-OAEP, whose hash and mask use SHA-1.
    data_key: String,
    /// The subscriber's name of the certificate.
    encryption_certificate_id: String,
    /// SHA-1 of the certificate.
    encryption_certificate_thumbprint: String,
}

impl EncryptedContent {
    /// Encrypts a content with a new key. `certificate_id` is the subscriber's name of the certificate.
    pub fn encrypt(
        certificate: &Certificate,
        certificate_id: &str,
        content: &[u8],
    ) -> Result<Self, CryptoFailure> {
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key)?;
        let data = encrypt(&key, content)?;
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &data);
        let mut data_key = vec![0; certificate.key.ciphertext_size()];
        let data_key = certificate.key.encrypt(&OAEP_SHA1_MGF1SHA1, &key, &mut data_key, None)?;
        Ok(Self {
            data: STANDARD.encode(data),
            data_signature: STANDARD.encode(signature),
            data_key: STANDARD.encode(data_key),
            encryption_certificate_id: certificate_id.to_owned(),
            encryption_certificate_thumbprint: certificate.thumbprint.clone(),
        })
    }
}

fn encrypt(key: &[u8; KEY_BYTES], content: &[u8]) -> Result<Vec<u8>, CryptoFailure> {
    // No two contents share a key, so this initialization vector is used once.
    let (iv, _) = key.split_first_chunk::<IV_LEN_128_BIT>().ok_or(CryptoFailure)?;
    let vector = EncryptionContext::Iv128(FixedLength::from(iv));
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key)?)?;
    let mut data = content.to_vec();
    key.less_safe_encrypt(&mut data, vector)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        cipher::{DecryptionContext, PaddedBlockDecryptingKey},
        encoding::AsDer as _,
        rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey},
    };
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::presence::Timestamp;

    /// What a subscriber does with a content, and the key that was in it.
    fn decrypt(private_key: &OaepPrivateDecryptingKey, content: &EncryptedContent) -> (Vec<u8>, Vec<u8>) {
        let bytes = |text: &String| STANDARD.decode(text).unwrap();
        let mut key = vec![0; private_key.min_output_size()];
        let key =
            private_key.decrypt(&OAEP_SHA1_MGF1SHA1, &bytes(&content.data_key), &mut key, None).unwrap();
        let mut data = bytes(&content.data);
        let signing_key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&signing_key, &data, &bytes(&content.data_signature)).unwrap();
        let vector = DecryptionContext::Iv128(FixedLength::try_from(&key[..16]).unwrap());
        let cipher = UnboundCipherKey::new(&AES_256, key).unwrap();
        let decrypting = PaddedBlockDecryptingKey::cbc_pkcs7(cipher).unwrap();
        (decrypting.decrypt(&mut data, vector).unwrap().to_vec(), key.to_vec())
    }

    fn certificate(private_key: &PrivateDecryptingKey) -> Certificate {
        let pkcs8 = private_key.as_der().unwrap();
        let key = KeyPair::try_from(pkcs8.as_ref()).unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let now = Timestamp::from_millis(1_795_315_800_000);
        Certificate::parse(&STANDARD.encode(certificate.der()), now).unwrap()
    }

    #[test]
    fn the_private_key_decrypts_a_content_of_any_length() {
        let private_key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let certificate = certificate(&private_key);
        let private_key = OaepPrivateDecryptingKey::new(private_key).unwrap();
        let mut keys = std::collections::BTreeSet::new();
        for length in [0, 1, 15, 16, 17, 200, 70_000] {
            let content = vec![b'x'; length];
            let encrypted = EncryptedContent::encrypt(&certificate, "mine", &content).unwrap();
            let (decrypted, key) = decrypt(&private_key, &encrypted);
            assert_eq!(decrypted, content);
            assert_eq!(STANDARD.decode(&encrypted.data).unwrap().len(), (length / 16 + 1) * 16);
            assert!(keys.insert(key), "each content has a key of its own");
        }
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
    }

    #[test]
    fn the_properties_are_named_as_graph_names_them() {
        let certificate = Certificate::parse_stored(include_str!("fixtures/rsa4096.pem")).unwrap();
        let encrypted = EncryptedContent::encrypt(&certificate, "mine", b"{}").unwrap();
        let expected = json!({
            "data": encrypted.data,
            "dataSignature": encrypted.data_signature,
            "dataKey": encrypted.data_key,
            "encryptionCertificateId": "mine",
            "encryptionCertificateThumbprint": certificate.thumbprint,
        });
        assert_eq!(serde_json::to_value(&encrypted).unwrap(), expected);
        assert_eq!(STANDARD.decode(&encrypted.data_key).unwrap().len(), 512);
    }
}
