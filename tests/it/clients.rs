//! Programs of others against the binary: the official Graph SDKs, and
//! Schemathesis with our own document in its hand.
//!
//! `scripts/test` installs them; `scripts/test --quick` leaves them out.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::process::Process;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// Where `scripts/test` puts what is Python's.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");

/// Runs the program against a fresh service; what it printed, if it succeeded.
async fn run(program: &str, arguments: &[&str], folder: &str) -> String {
    let installed = Path::new(TOOLS).join(program);
    let program = if installed.exists() { installed } else { program.into() };
    let service = Process::start("sqlite::memory:", &[]).await;
    let output = Command::new(&program)
        .args(arguments)
        .current_dir(Path::new(FOLDER).join(folder))
        .env("PRESENCE_URL", format!("http://{}", service.http))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}: scripts/test installs it", program.display()));
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let missing = text.contains("ModuleNotFoundError") || text.contains("ERR_MODULE_NOT_FOUND");
    assert!(!missing, "a client is not installed: run scripts/test, which does it\n{text}");
    assert!(output.status.success(), "{text}");
    text
}

/// The number behind `label`.
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
async fn both_javascript_clients_run_unmodified() {
    let printed = run("node", &["--test", "--test-reporter=tap"], "javascript").await;
    let (passed, failed) = (number_behind(&printed, "# pass "), number_behind(&printed, "# fail "));
    assert!(passed >= 14 && failed == 0, "{printed}");
    println!("microsoft-graph-client and msgraph-sdk for JavaScript: {passed} tests passed");
}

#[tokio::test]
async fn schemathesis_finds_no_fault_and_no_answer_that_is_not_documented() {
    let printed = run("sh", &["-c", &format!("PATH={TOOLS}:$PATH; . ./schemathesis.sh")], "openapi").await;
    let mut cases = 0;
    for summary in printed.split("Test cases:").skip(1) {
        let line = summary.trim_start().lines().next().unwrap_or_default();
        let number = number_behind(line, "");
        assert_eq!(line, format!("{number} generated, {number} passed"), "{printed}");
        cases += number;
    }
    assert!(cases >= 2_000, "{printed}");
    println!("schemathesis: {cases} cases, 0 answers of 5xx, 0 undocumented codes");
}
