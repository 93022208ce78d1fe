//! For how long certificates are valid.

use std::time::Duration;

use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::ParsedCertificate,
};

use crate::presence::Timestamp;

/// Where the time stands to that in which a certificate is valid; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// It has expired.
    Past,
    /// It begins then.
    Future(Timestamp),
    /// It ends then.
    Until(Timestamp),
    /// It can't be read.
    Unknown,
}

impl Validity {
    /// Of the one that is worst off.
    #[must_use]
    pub fn worst(certificates: &[CertificateDer<'_>], now: Timestamp) -> Self {
        certificates.iter().map(|certificate| Self::of(certificate, now)).min().unwrap_or(Self::Unknown)
    }

    fn of(certificate: &CertificateDer<'_>, now: Timestamp) -> Self {
        let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return Self::Unknown };
        match refusal(&certificate, Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0))) {
            Some(CertificateError::NotValidYetContext { not_before, .. }) => {
                Self::Future(timestamp(not_before))
            }
            Some(CertificateError::ExpiredContext { .. } | CertificateError::Expired) => Self::Past,
            _ => end(&certificate).map_or(Self::Unknown, Self::Until),
        }
    }
}

/// When the first of them ends, if that is known.
pub(super) fn first_end(certificates: &[CertificateDer<'_>]) -> Option<Timestamp> {
    certificates.iter().filter_map(|certificate| end(&ParsedCertificate::try_from(certificate).ok()?)).min()
}

fn end(certificate: &ParsedCertificate<'_>) -> Option<Timestamp> {
    match refusal(certificate, Duration::from_secs(u64::MAX)) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => Some(timestamp(not_after)),
        _ => None,
    }
}

/// Asks rustls, which is what will look at certificates: it names the instant when it
/// refuses one for the time. That is the first that it looks at, before it finds out
/// that nobody is trusted here.
fn refusal(certificate: &ParsedCertificate<'_>, at: Duration) -> Option<CertificateError> {
    let at = UnixTime::since_unix_epoch(at);
    match verify_server_cert_signed_by_trust_anchor(certificate, &RootCertStore::empty(), &[], at, &[]) {
        Err(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs().saturating_mul(1_000)).unwrap_or(i64::MAX))
}
