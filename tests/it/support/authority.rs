//! A certificate authority for tests of TLS.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
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

fn machine() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}
