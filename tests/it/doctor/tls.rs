//! Certificates that are unusable, or expire soon.

use std::{fs, path::Path};

use presenced::{
    clock::{Clock, ManualClock},
    doctor::{Fault, examine},
};
use tempfile::TempDir;

use super::{assert_contains, doctor};
use crate::support::{
    authority::Authority,
    server::{START, settings},
};

const MEMORY: &str = "sqlite::memory:";

/// The flags of a certificate and a client CA in the folder.
fn flags(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    vec![
        "--tls-cert".to_owned(),
        path("tls.crt"),
        "--tls-key".to_owned(),
        path("tls.key"),
        "--tls-client-ca".to_owned(),
        path("ca.crt"),
    ]
}

/// The findings about a certificate that is valid between these days, on 2026-11-22.
async fn found(from: (i32, u8, u8), until: (i32, u8, u8)) -> (Option<Fault>, String) {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let (cert, key) = authority.issue_between(from, until);
    // The certificate is its own chain, too.
    fs::write(folder.path().join("tls.crt"), cert.repeat(2)).unwrap();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    fs::write(folder.path().join("ca.crt"), authority.pem() + &cert).unwrap();
    let flags = flags(folder.path());
    let settings = settings(MEMORY, &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let report = examine(&settings, &Clock::Manual(ManualClock::new(START))).await;
    let text = report.to_string();
    let lines: Vec<_> = text
        .lines()
        .skip_while(|line| !line.contains("  tls: "))
        .take_while(|line| !line.contains("addr"))
        .collect();
    (report.fault(), lines.join("\n"))
}

#[tokio::test]
async fn a_certificate_is_ok_until_30_days_before_its_expiry() {
    let renew = "\n      renew it; the service reads a changed file again";
    let wait = "\n      check this machine's clock; wait, or give another certificate";
    let good = "ok    tls: the key matches the certificate, which is valid until 2026-12-23T00:00:00.000Z\n\
                ok    client-ca: valid until 2026-12-23T00:00:00.000Z";
    assert_eq!(found((2026, 1, 1), (2026, 12, 23)).await, (None, good.to_owned()));
    let all = |verdict: &str, state: &str, advice: &str| {
        format!(
            "{verdict}  tls: the certificate in --tls-cert {state}{advice}\n\
             warn  tls: a certificate of the chain in --tls-cert {state}{advice}\n\
             warn  client-ca: a certificate in --tls-client-ca {state}{advice}"
        )
    };
    let soon = all("warn", "expires within 30 days, at 2026-12-22T00:00:00.000Z", renew);
    assert_eq!(found((2026, 1, 1), (2026, 12, 22)).await, (None, soon));
    let past = all("FAIL", "has expired", renew);
    assert_eq!(found((2026, 1, 1), (2026, 11, 22)).await, (Some(Fault::Other), past));
    let future = all("FAIL", "is not valid before 2026-11-23T00:00:00.000Z", wait);
    assert_eq!(found((2026, 11, 23), (2027, 11, 22)).await, (Some(Fault::Other), future));
}

#[test]
fn missing_and_invalid_files_fail() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let check = || {
        let flags = flags(folder.path());
        doctor(MEMORY, &flags[..4].iter().map(String::as_str).collect::<Vec<_>>())
    };
    let advice = "      give a readable certificate and its key, both in PEM";
    assert_contains(
        &check(),
        64,
        &["FAIL  tls: --tls-cert …/tls.crt: No such file or directory (os error 2)", advice],
    );
    authority.write(folder.path());
    assert_contains(
        &check(),
        0,
        &["ok    tls: the key matches the certificate, which is valid until 4096-…"],
    );
    fs::write(folder.path().join("tls.key"), authority.issue().1).unwrap();
    assert_contains(&check(), 64, &["FAIL  tls: --tls-cert and --tls-key do not match: …", advice]);
    fs::write(folder.path().join("tls.key"), "nonsense").unwrap();
    assert_contains(&check(), 64, &["FAIL  tls: --tls-key does not contain a PEM private key", advice]);
}
