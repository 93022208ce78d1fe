//! Reads the validity periods of certificates.

use rustls::pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, time::ASN1Time};

use crate::presence::Timestamp;

/// A certificate's validity at some time; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// It has expired.
    Past,
    /// It is not valid before this time.
    Future(Timestamp),
    /// It is valid until this time.
    Until(Timestamp),
    /// It cannot be parsed.
    Unknown,
}

impl Validity {
    /// The worst validity of some certificates.
    #[must_use]
    pub fn worst(certificates: &[CertificateDer<'_>], now: Timestamp) -> Self {
        certificates.iter().map(|certificate| Self::new(certificate, now)).min().unwrap_or(Self::Unknown)
    }

    fn new(certificate: &CertificateDer<'_>, now: Timestamp) -> Self {
        match period(certificate) {
            None => Self::Unknown,
            Some((from, _)) if now < from => Self::Future(from),
            Some((_, until)) if now > until => Self::Past,
            Some((_, until)) => Self::Until(until),
        }
    }
}

/// The time at which the first of the certificates expires; `None` if none can be parsed.
pub(super) fn first_expiry(certificates: &[CertificateDer<'_>]) -> Option<Timestamp> {
    certificates.iter().filter_map(|certificate| period(certificate).map(|(_, until)| until)).min()
}

/// The first and the last second of the validity period.
fn period(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    Some((timestamp(validity.not_before), timestamp(validity.not_after)))
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn validity_follows_the_period_to_the_second() {
        let [from, until] = [1_767_225_600_000, 2_524_608_000_000].map(Timestamp::from_millis);
        let certificate = certificate(2026, 2050);
        let at = |millis: i64| Validity::new(&certificate, Timestamp::from_millis(millis));
        assert_eq!(at(0), Validity::Future(from));
        assert_eq!(at(from.as_millis() - 1), Validity::Future(from));
        assert_eq!(at(from.as_millis()), Validity::Until(until));
        assert_eq!(at(until.as_millis()), Validity::Until(until));
        assert_eq!(at(until.as_millis() + 1_000), Validity::Past);
    }

    #[test]
    fn the_worst_certificate_decides_and_an_unreadable_one_does_not() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let unreadable = CertificateDer::from(vec![0x30, 0]);
        let [old, new, good] = [(2000, 2001), (2090, 2099), (2020, 2090)].map(|(a, b)| certificate(a, b));
        assert_eq!(Validity::worst(&[good.clone(), new.clone(), old], now), Validity::Past);
        assert!(matches!(Validity::worst(&[good.clone(), new], now), Validity::Future(_)));
        assert!(matches!(Validity::worst(&[unreadable.clone(), good.clone()], now), Validity::Until(_)));
        assert_eq!(Validity::worst(std::slice::from_ref(&unreadable), now), Validity::Unknown);
        assert_eq!(first_expiry(&[unreadable, good]).unwrap().as_millis(), 3_786_912_000_000);
    }
}
