//! Other programs against the binary: the official Graph SDKs, other Graph libraries, Schemathesis with the
//! service's OpenAPI document, and the clients of `docs/watching.md`, `docs/holding.md`, `docs/clients.md`
//! and `docs/receivers.md`.
//!
//! `scripts/test --all` installs and runs them.

mod calls;
mod generated;
mod notifications;
mod page;
mod readme;
mod running;
mod sessions;
mod watching;

use std::{fs, path::Path, process::Stdio};

use jsonwebtoken::Algorithm;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    authority::Authority,
    process::Process,
    tokens::{self, Signer, USER},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// The folder in which `scripts/test --all` installs Python programs.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");

/// Runs the program against a new service. Returns its output; the program must succeed.
async fn run(program: &str, arguments: &[&str], folder: &str) -> String {
    let service = Process::start("sqlite::memory:", &[]).await;
    let url = format!("http://{}", service.http);
    run_with(program, arguments, folder, &[("PRESENCE_URL", &url)]).await
}

/// Runs the program with these environment variables. Returns its output.
async fn run_with(program: &str, arguments: &[&str], folder: &str, variables: &[(&str, &str)]) -> String {
    let installed = Path::new(TOOLS).join(program);
    let program = if installed.exists() { installed } else { program.into() };
    let output = Command::new(&program)
        .args(arguments)
        .current_dir(Path::new(FOLDER).join(folder))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}: scripts/test --all installs it", program.display()));
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let missing = text.contains("ModuleNotFoundError") || text.contains("ERR_MODULE_NOT_FOUND");
    assert!(!missing, "a client is not installed: run scripts/test --all, which installs it\n{text}");
    assert!(output.status.success(), "{text}");
    text
}

/// The number that follows `label`.
fn number_behind(text: &str, label: &str) -> usize {
    let behind = text.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {text}")).1;
    let digits = behind.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {label:?} in {text}"))
}

#[tokio::test]
async fn the_python_sdk_runs_unmodified() {
    let printed = run("python", &["-W", "ignore", "test_msgraph.py"], "python").await;
    let tests = number_behind(&printed, "Ran ");
    assert!(tests >= 12, "{printed}");
    println!("msgraph-sdk for Python: {tests} tests passed");
}

#[tokio::test]
async fn the_python_libraries_run_unmodified() {
    let printed = run("python", &["-W", "ignore", "test_libraries.py"], "python").await;
    let tests = number_behind(&printed, "Ran ");
    assert!(tests >= 7, "{printed}");
    println!("Office365-REST-Python-Client and O365: {tests} tests passed");
}

#[tokio::test]
async fn the_javascript_clients_run_unmodified() {
    let printed = run("node", &["--test", "--test-reporter=tap"], "javascript").await;
    let (passed, failed) = (number_behind(&printed, "# pass "), number_behind(&printed, "# fail "));
    assert!(passed >= 19 && failed == 0, "{printed}");
    println!("microsoft-graph-client, msgraph-sdk and PnPjs for JavaScript: {passed} tests passed");
}

#[tokio::test]
async fn the_sdks_send_nothing_that_the_service_does_not_know() {
    let service = Process::start("sqlite::memory:", &["--unknown-properties", "reject"]).await;
    let url = format!("http://{}", service.http);
    let variables = [("PRESENCE_URL", &*url)];
    let python = run_with("python", &["-W", "ignore", "test_msgraph.py"], "python", &variables).await;
    let files = ["graph-client.test.js", "msgraph-sdk.test.js"];
    let arguments = [&["--test", "--test-reporter=tap"], &files[..]].concat();
    let node = run_with("node", &arguments, "javascript", &variables).await;
    let (python, node) = (number_behind(&python, "Ran "), number_behind(&node, "# pass "));
    assert!(python >= 12 && node >= 14, "{python} and {node}");
    println!("under --unknown-properties reject: {} tests passed", python + node);
}

#[tokio::test]
async fn the_sdks_authenticate_over_tls() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.write(folder.path());
    let signer = Signer::new(Algorithm::RS256, "key");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [keys, cert, key, ca] = ["keys.json", "tls.crt", "tls.key", "ca.crt"].map(path);
    fs::write(&keys, tokens::key_set(&[&signer])).unwrap();
    fs::write(&ca, authority.pem()).unwrap();
    let guarded = ["--jwks-file", &keys, "--tls-cert", &cert, "--tls-key", &key];
    let service = Process::start("sqlite::memory:", &[&tokens::FLAGS[..], &guarded].concat()).await;

    // Valid until 2100, since the process uses the system's clock.
    let token = |mut claims: Value| {
        (claims["nbf"], claims["exp"]) = (0.into(), 4_102_444_800_i64.into());
        signer.sign(&claims)
    };
    let variables = [
        ("PRESENCE_URL", &*format!("https://localhost:{}", service.http.port())),
        ("PRESENCE_TOKEN", &token(tokens::delegated("Presence.Read Presence.ReadWrite"))),
        ("PRESENCE_APP_TOKEN", &token(tokens::application(&["Presence.ReadWrite.All"]))),
        ("PRESENCE_USER", USER),
        ("SSL_CERT_FILE", &ca),
        ("NODE_EXTRA_CA_CERTS", &ca),
    ];
    let python = run_with("python", &["-W", "ignore", "secure.py"], "python", &variables).await;
    assert!(number_behind(&python, "Ran ") >= 3, "{python}");
    let node =
        run_with("node", &["--test", "--test-reporter=tap", "secure.js"], "javascript", &variables).await;
    assert!(number_behind(&node, "# pass ") >= 3 && number_behind(&node, "# fail ") == 0, "{node}");
    // Last, as it leaves a preferred presence.
    let o365 = run_with("python", &["-W", "ignore", "secure_libraries.py"], "python", &variables).await;
    assert!(number_behind(&o365, "Ran ") >= 2, "{o365}");
    let tests =
        number_behind(&python, "Ran ") + number_behind(&node, "# pass ") + number_behind(&o365, "Ran ");
    println!("over TLS with tokens: {tests}");
}

#[tokio::test]
async fn schemathesis_finds_no_failure_and_no_undocumented_response() {
    let printed = run("sh", &["-c", &format!("PATH={TOOLS}:$PATH; . ./schemathesis.sh")], "openapi").await;
    let mut cases = 0;
    for summary in printed.split("Test cases:").skip(1) {
        let line = summary.trim_start().lines().next().unwrap_or_default();
        let number = number_behind(line, "");
        assert_eq!(line, format!("{number} generated, {number} passed"), "{printed}");
        cases += number;
    }
    assert!(cases >= 2_000, "{printed}");
    println!("schemathesis: {cases} cases, no response of 5xx, no undocumented status");
}
