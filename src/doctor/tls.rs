//! Encryption: whether certificates can be used, and for how long.

use std::time::Duration;

use super::{Fault, Finding};
use crate::{
    presence::Timestamp,
    server::{Validity, read_certificates},
    settings::Settings,
};

/// How long before its end a certificate is warned of.
const SOON: Duration = Duration::from_hours(30 * 24);

pub(super) fn check(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let tls = &settings.tls;
    // One of them alone: the settings do not go together.
    if tls.tls_cert.is_some() != tls.tls_key.is_some() {
        return Vec::new();
    }
    let certificates = match read_certificates(tls) {
        Ok(Some(certificates)) => certificates,
        Ok(None) => return vec![unencrypted(settings)],
        Err(error) => {
            let advice = "give a certificate and its own key in PEM, which the service may read";
            return vec![Finding::fail(Fault::Settings, "tls", error, advice)];
        }
    };
    let (own, behind) = certificates.chain.split_at(1);
    let mut findings = vec![own_certificate(Validity::worst(own, now), now)];
    findings.extend(behind_it(Validity::worst(behind, now), now));
    if !certificates.client_ca.is_empty() {
        findings.push(client_ca(Validity::worst(&certificates.client_ca, now), now));
    }
    findings
}

fn unencrypted(settings: &Settings) -> Finding {
    if settings.is_local() {
        return Finding::ok("tls", "off; gRPC and HTTP listen on this machine only");
    }
    let detail = "calls and tokens travel unencrypted";
    Finding::warn(
        "tls",
        detail,
        "give --tls-cert and --tls-key, unless something before the service encrypts",
    )
}

/// The APIs' own: everybody refuses it once it has expired.
fn own_certificate(validity: Validity, now: Timestamp) -> Finding {
    match (validity, throttle("the certificate in --tls-cert", validity, now)) {
        (Validity::Past | Validity::Future(_), Some((detail, advice))) => {
            Finding::fail(Fault::Other, "tls", detail, advice)
        }
        (_, Some((detail, advice))) => Finding::warn("tls", detail, advice),
        (Validity::Until(end), None) => {
            Finding::ok("tls", format!("the key fits the certificate, which is valid until {end}"))
        }
        _ => Finding::ok("tls", "the key fits the certificate; how long it is valid is not known"),
    }
}

/// Those behind it: a client may know another way from it to whom it trusts.
fn behind_it(validity: Validity, now: Timestamp) -> Option<Finding> {
    let (detail, advice) = throttle("a certificate of the chain in --tls-cert", validity, now)?;
    Some(Finding::warn("tls", detail, advice))
}

/// Those who sign the callers' certificates. The service takes them as they are; the
/// callers may not.
fn client_ca(validity: Validity, now: Timestamp) -> Finding {
    match (validity, throttle("a certificate in --tls-client-ca", validity, now)) {
        (_, Some((detail, advice))) => Finding::warn("client-ca", detail, advice),
        (Validity::Until(end), None) => Finding::ok("client-ca", format!("valid until {end}")),
        _ => Finding::ok("client-ca", "how long it is valid is not known"),
    }
}

/// What is the matter with a certificate, and what to do.
fn throttle(certificate: &str, validity: Validity, now: Timestamp) -> Option<(String, &'static str)> {
    const RENEW: &str = "renew it; the service reads the file again by itself";
    const WAIT: &str = "wait, or give another one; see whether this machine's clock is right";
    match validity {
        Validity::Past => Some((format!("{certificate} has expired"), RENEW)),
        Validity::Future(from) => Some((format!("{certificate} is not valid before {from}"), WAIT)),
        Validity::Until(end) if end < now + SOON => {
            Some((format!("{certificate} expires within 30 days, at {end}"), RENEW))
        }
        Validity::Until(_) | Validity::Unknown => None,
    }
}
