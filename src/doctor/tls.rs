//! TLS: whether the certificates are usable, and until when.

use std::time::Duration;

use super::report::{Fault, Finding};
use crate::{
    presence::Timestamp,
    server::{Validity, read_certificates},
    settings::Settings,
};

/// The time before its expiry at which the doctor warns of a certificate.
const SOON: Duration = Duration::from_hours(30 * 24);

pub(super) fn check(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let tls = &settings.tls;
    // With only one of them, the settings are invalid, which is a finding of its own.
    if tls.tls_cert.is_some() != tls.tls_key.is_some() {
        return Vec::new();
    }
    let certificates = match read_certificates(tls) {
        Ok(Some(certificates)) => certificates,
        Ok(None) => return vec![unencrypted(settings)],
        Err(error) => {
            let advice = "give a readable certificate and its key, both in PEM";
            return vec![Finding::fail(Fault::Settings, "tls", error, advice)];
        }
    };
    let (own, chain) = certificates.chain.split_at(1);
    let mut findings = vec![own_certificate(Validity::worst(own, now), now)];
    findings.extend(chain_certificates(Validity::worst(chain, now), now));
    if !certificates.client_ca.is_empty() {
        findings.push(client_ca(Validity::worst(&certificates.client_ca, now), now));
    }
    findings
}

fn unencrypted(settings: &Settings) -> Finding {
    if settings.is_local() {
        return Finding::ok("tls", "off; both APIs are reachable from this machine only");
    }
    let detail = "off: requests and tokens are unencrypted";
    Finding::warn("tls", detail, "give --tls-cert and --tls-key, unless a proxy encrypts them")
}

/// The certificate of the APIs: every client refuses it once it has expired.
fn own_certificate(validity: Validity, now: Timestamp) -> Finding {
    match (validity, problem("the certificate in --tls-cert", validity, now)) {
        (Validity::Past | Validity::Future(_), Some((detail, advice))) => {
            Finding::fail(Fault::Other, "tls", detail, advice)
        }
        (_, Some((detail, advice))) => Finding::warn("tls", detail, advice),
        (Validity::Until(end), None) => {
            Finding::ok("tls", format!("the key matches the certificate, which is valid until {end}"))
        }
        _ => Finding::ok("tls", "the key matches the certificate; its expiry is unknown"),
    }
}

/// The other certificates of the chain: a client may trust another chain to the same
/// certificate.
fn chain_certificates(validity: Validity, now: Timestamp) -> Option<Finding> {
    let (detail, advice) = problem("a certificate of the chain in --tls-cert", validity, now)?;
    Some(Finding::warn("tls", detail, advice))
}

/// The authorities that sign clients' certificates. The service ignores their expiry;
/// clients may not.
fn client_ca(validity: Validity, now: Timestamp) -> Finding {
    match (validity, problem("a certificate in --tls-client-ca", validity, now)) {
        (_, Some((detail, advice))) => Finding::warn("client-ca", detail, advice),
        (Validity::Until(end), None) => Finding::ok("client-ca", format!("valid until {end}")),
        _ => Finding::ok("client-ca", "its expiry is unknown"),
    }
}

/// The problem of a certificate, and the advice.
fn problem(certificate: &str, validity: Validity, now: Timestamp) -> Option<(String, &'static str)> {
    const RENEW: &str = "renew it; the service reads a changed file again";
    const WAIT: &str = "check this machine's clock; wait, or give another certificate";
    match validity {
        Validity::Past => Some((format!("{certificate} has expired"), RENEW)),
        Validity::Future(from) => Some((format!("{certificate} is not valid before {from}"), WAIT)),
        Validity::Until(end) if end < now + SOON => {
            Some((format!("{certificate} expires within 30 days, at {end}"), RENEW))
        }
        Validity::Until(_) | Validity::Unknown => None,
    }
}
