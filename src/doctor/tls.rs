//! Encryption: whether certificates can be used, and for how long.

use std::time::Duration;

use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::ParsedCertificate,
};

use super::{Fault, Finding};
use crate::{presence::Timestamp, server::read_certificates, settings::Settings};

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
    let mut findings = vec![own_certificate(worst(own, now), now)];
    findings.extend(behind_it(worst(behind, now), now));
    if !certificates.client_ca.is_empty() {
        findings.push(client_ca(worst(&certificates.client_ca, now), now));
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

/// The doors' own: everybody refuses it once it has expired.
fn own_certificate(state: State, now: Timestamp) -> Finding {
    match (state, trouble("the certificate in --tls-cert", state, now)) {
        (State::Past | State::Future(_), Some((detail, advice))) => {
            Finding::fail(Fault::Other, "tls", detail, advice)
        }
        (_, Some((detail, advice))) => Finding::warn("tls", detail, advice),
        (State::Until(end), None) => {
            Finding::ok("tls", format!("the key fits the certificate, which is valid until {end}"))
        }
        _ => Finding::ok("tls", "the key fits the certificate; how long it is valid is not known"),
    }
}

/// Those behind it: a client may know another way from it to whom it trusts.
fn behind_it(state: State, now: Timestamp) -> Option<Finding> {
    let (detail, advice) = trouble("a certificate of the chain in --tls-cert", state, now)?;
    Some(Finding::warn("tls", detail, advice))
}

/// Those who sign the callers' certificates. The service takes them as they are; the
/// callers may not.
fn client_ca(state: State, now: Timestamp) -> Finding {
    match (state, trouble("a certificate in --tls-client-ca", state, now)) {
        (_, Some((detail, advice))) => Finding::warn("client-ca", detail, advice),
        (State::Until(end), None) => Finding::ok("client-ca", format!("valid until {end}")),
        _ => Finding::ok("client-ca", "how long it is valid is not known"),
    }
}

/// What is the matter with a certificate, and what to do.
fn trouble(certificate: &str, state: State, now: Timestamp) -> Option<(String, &'static str)> {
    const RENEW: &str = "renew it; the service reads the file again by itself";
    const WAIT: &str = "wait, or give another one; see whether this machine's clock is right";
    match state {
        State::Past => Some((format!("{certificate} has expired"), RENEW)),
        State::Future(from) => Some((format!("{certificate} is not valid before {from}"), WAIT)),
        State::Until(end) if end < now + SOON => {
            Some((format!("{certificate} expires within 30 days, at {end}"), RENEW))
        }
        State::Until(_) | State::Unknown => None,
    }
}

/// Where the time stands to that in which a certificate is valid; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It has expired.
    Past,
    /// It begins then.
    Future(Timestamp),
    /// It ends then.
    Until(Timestamp),
    /// It can't be read.
    Unknown,
}

fn worst(certificates: &[CertificateDer<'_>], now: Timestamp) -> State {
    certificates.iter().map(|certificate| state(certificate, now)).min().unwrap_or(State::Unknown)
}

/// Asks rustls, which is what will look at certificates: it names the instant when it
/// refuses one for the time. That is the first that it looks at, before it finds out
/// that nobody is trusted here.
fn state(certificate: &CertificateDer<'_>, now: Timestamp) -> State {
    let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return State::Unknown };
    let refusal = |at: Duration| {
        let at = UnixTime::since_unix_epoch(at);
        match verify_server_cert_signed_by_trust_anchor(&certificate, &RootCertStore::empty(), &[], at, &[]) {
            Err(Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    };
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    match refusal(now) {
        Some(CertificateError::NotValidYetContext { not_before, .. }) => State::Future(timestamp(not_before)),
        Some(CertificateError::ExpiredContext { .. } | CertificateError::Expired) => State::Past,
        _ => match refusal(Duration::from_secs(u64::MAX)) {
            Some(CertificateError::ExpiredContext { not_after, .. }) => State::Until(timestamp(not_after)),
            _ => State::Unknown,
        },
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs().saturating_mul(1_000)).unwrap_or(i64::MAX))
}
