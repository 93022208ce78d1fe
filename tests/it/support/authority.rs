//! A certificate authority for tests of TLS.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SigningKey, date_time_ymd,
};

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for this machine. Returns it and its key, in PEM.
    pub fn issue(&self) -> (String, String) {
        self.sign(&machine())
    }

    /// Like [`Self::issue`], valid between these days.
    pub fn issue_between(&self, from: (i32, u8, u8), until: (i32, u8, u8)) -> (String, String) {
        let mut params = machine();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        self.sign(&params)
    }

    /// Like [`Self::issue`], for these names and addresses, in DER.
    pub fn issue_for(&self, names: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().to_vec(), key.serialize_der())
    }

    /// Like [`Self::issue`], in DER.
    pub fn issue_der(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (machine().signed_by(&key, &self.0).unwrap().der().to_vec(), key.serialize_der())
    }

    /// Like [`Self::issue`], but of X.509 version 1, as `openssl x509 -req` makes it: without the
    /// version and the extensions. Returns the certificate and its key in DER.
    pub fn issue_version_1(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = machine().signed_by(&key, &self.0).unwrap();
        let [whole] = elements(certificate.der())[..] else { panic!("one certificate") };
        let [to_be_signed, algorithm, _] = elements(content(whole))[..] else { panic!("three parts") };
        let fields = elements(content(to_be_signed));
        let plain: Vec<u8> = fields
            .into_iter()
            .filter(|field| !matches!(field[0], VERSION | EXTENSIONS))
            .flatten()
            .copied()
            .collect();
        let to_be_signed = element(SEQUENCE, &plain);
        let signature = self.0.key().sign(&to_be_signed).unwrap();
        let signature = element(BIT_STRING, &[&[0], &signature[..]].concat());
        (element(SEQUENCE, &[&to_be_signed, algorithm, &signature].concat()), key.serialize_der())
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Issues a certificate and writes it to `tls.crt`, and its key to `tls.key`.
    pub fn write(&self, folder: &Path) {
        let (cert, key) = self.issue();
        fs::write(folder.join("tls.crt"), cert).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
    }
}

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The number of bytes before the content of a DER element, and those of the content.
fn lengths(der: &[u8]) -> (usize, usize) {
    match usize::from(der[1]) {
        long @ 0x80.. => {
            let end = 2 + (long & 0x7f);
            (end, der[2..end].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        short => (2, short),
    }
}

fn content(element: &[u8]) -> &[u8] {
    &element[lengths(element).0..]
}

/// The elements that follow each other in `der`.
fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (before, content) = lengths(der);
        let (element, rest) = der.split_at(before + content);
        elements.push(element);
        der = rest;
    }
    elements
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    // The shortest form is the only valid one.
    let length = match (high, low) {
        (0, ..0x80) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}

fn machine() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}
