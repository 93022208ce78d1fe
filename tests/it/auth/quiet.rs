//! Logs, errors and printed settings contain no tokens or secrets.

use std::fs;

use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    process::{Process, command},
    tokens::{self, FLAGS, Signer, USER, application},
};

#[tokio::test]
async fn no_token_is_logged() {
    let folder = TempDir::new().unwrap();
    let keys = folder.path().join("keys.json");
    let signer = Signer::new(Algorithm::EdDSA, "key");
    fs::write(&keys, tokens::key_set(&[&signer])).unwrap();
    let flags = [&FLAGS[..], &["--jwks-file", keys.to_str().unwrap(), "--log", "trace"]].concat();
    let mut process = Process::start("sqlite::memory:", &flags).await;
    let mut good = application(&["Presence.Read.All"]);
    (good["nbf"], good["exp"]) = (0.into(), 4_102_444_800_i64.into());
    let mut expired = good.clone();
    expired["exp"] = 1.into();
    let tokens = [signer.sign(&good), signer.sign(&expired), Signer::new(Algorithm::EdDSA, "x").sign(&good)];
    for (token, status) in tokens.iter().zip([200, 401, 401]) {
        let url = format!("http://{}/v1.0/users/{USER}/presence", process.http);
        let response = Client::new().get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), status);
        let text = response.text().await.unwrap();
        assert!(!text.contains(token.as_str()));
        let _: Value = serde_json::from_str(&text).unwrap();
    }
    process.signal("TERM");
    let (code, log) = process.wait();
    assert_eq!(code, Some(0));
    assert!(log.matches("\"request\"").count() >= 3, "{log}");
    for token in &tokens {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "{log}");
    }
}

#[test]
fn printed_settings_contain_no_secrets() {
    let arguments = ["--print-config", "--database-url", "postgres://me:hunter2@db/presence"];
    let output = command()
        .args(arguments)
        .env("PRESENCE_JWKS_URL", "https://me:hunter2@issuer.example/keys?code=hunter2")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("jwks-url = https://me:…@issuer.example/keys?… (environment)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
