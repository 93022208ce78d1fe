//! A client that runs in a process of its own.

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::TOOLS;
use crate::support::process::without_settings;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The deadline of each expected line. It includes a build of the Rust client.
const PATIENCE: Duration = Duration::from_mins(5);

/// The document's command that generates the Python client's stubs.
const STUBS: &str = "\
python -m grpc_tools.protoc --proto_path proto --python_out . --grpc_python_out . \\
    presence/v1/presence.proto presence/v1/presence_service.proto presence/v1/subscriptions.proto \\
    google/rpc/status.proto google/rpc/error_details.proto
";

/// A running client. It is killed when dropped.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The output so far.
    output: String,
}

impl Running {
    /// Starts a [`shell`] command. The end of its input ends Chromium, even if this process is killed.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, output: String::new() }
    }

    /// Presses Enter.
    pub async fn enter(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    }

    /// Waits until the client has ended, with success or with a failure.
    pub async fn ends(mut self, success: bool) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the client ends").unwrap();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.output = self.output + &line + "\n";
        }
        assert_eq!(status.success(), success, "{}", self.output);
    }

    /// The output so far.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Waits until the client prints a line with this text. Returns the line.
    pub async fn prints(&mut self, text: &str) -> String {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.output += &line;
                self.output.push('\n');
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        });
        let Ok(Some(line)) = found.await else {
            let missing = self.output.contains("not found") || self.output.contains("ModuleNotFoundError");
            let advice = if missing {
                "a client is not installed: run scripts/test --all, which installs it\n"
            } else {
                ""
            };
            panic!("{advice}{text:?} is not in the output:\n{}", self.output);
        };
        line
    }

    /// Kills the client.
    pub async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A shell command that runs in the folder, with the tools that `scripts/test --all` installs.
pub fn shell(command: &str, folder: &Path) -> Command {
    let path = format!("{TOOLS}:{}", env::var("PATH").unwrap());
    let mut shell = Command::from(without_settings(std::process::Command::new("sh")));
    shell.arg("-c").arg(format!("exec 2>&1; {command}")).arg(ROOT);
    shell.current_dir(folder).env("PATH", path).kill_on_drop(true);
    shell
}

/// Generates the Python clients' stubs in the folder.
pub async fn make_stubs(folder: &Path) {
    let document = fs::read_to_string(Path::new(ROOT).join("docs/watching.md")).unwrap();
    assert!(document.contains(&format!("```sh\n{STUBS}```\n")));
    if !folder.join("proto").exists() {
        symlink(Path::new(ROOT).join("proto"), folder.join("proto")).unwrap();
    }
    let output = shell(STUBS, folder).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "scripts/test --all installs grpcio-tools\n{text}");
}
