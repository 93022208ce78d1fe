//! A client that runs in a process of its own.

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{Client, Service, browser};
use crate::{
    clients::TOOLS,
    support::{client::Api, process::without_settings},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The deadline of each expected line. It includes a build of the Rust client.
const PATIENCE: Duration = Duration::from_mins(5);

/// The seconds that the clients take for the service's heartbeat. After three times as long
/// without one they reconnect: that is a little more than the real 15 s.
const HEARTBEAT: &str = "7";

/// The document's command that generates the Python client's stubs.
const STUBS: &str = "\
python -m grpc_tools.protoc --proto_path proto --python_out . --grpc_python_out . \\
    presence/v1/presence.proto presence/v1/presence_service.proto
";

/// A running client. It is killed when dropped.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The output so far.
    output: String,
    page: JoinHandle<()>,
}

impl Running {
    /// Starts the client, which watches the user.
    pub async fn start(client: Client, service: &Service, user: &str) -> Self {
        let folder = service.folder.path();
        let url = match client.api {
            Api::Grpc => format!("http://{}", service.process.grpc),
            Api::Http => format!("http://{}", service.process.http),
        };
        let (page, origin) = browser::serve(service, url.clone(), user);
        let mut command = shell(client.command, folder);
        command.arg(user).env("PRESENCE_URL", url).env("PRESENCE_HEARTBEAT", HEARTBEAT).env("PAGE", origin);
        command.env("PRESENCE_ADDRESS", service.process.grpc.to_string());
        if service.token_file().exists() {
            command.env("PRESENCE_TOKEN_FILE", service.token_file());
        }
        if client.command.contains("python") {
            make_stubs(folder).await;
        }
        // The end of its input ends Chromium, even if this process is killed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, output: String::new(), page }
    }

    /// Waits until the client prints a line with this text.
    pub async fn prints(&mut self, text: &str) {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.output += &line;
                self.output.push('\n');
                if line.contains(text) {
                    return true;
                }
            }
            false
        });
        if found.await != Ok(true) {
            let missing = self.output.contains("not found") || self.output.contains("ModuleNotFoundError");
            let advice = if missing {
                "a client is not installed: run scripts/test --all, which installs it\n"
            } else {
                ""
            };
            panic!("{advice}{text:?} is not in the output:\n{}", self.output);
        }
    }

    /// Kills the client.
    pub async fn end(mut self) {
        self.child.kill().await.unwrap();
        self.page.abort();
    }
}

/// A shell command that runs in the folder, with the tools that `scripts/test --all` installs.
fn shell(command: &str, folder: &Path) -> Command {
    let path = format!("{TOOLS}:{}", env::var("PATH").unwrap());
    let mut shell = Command::from(without_settings(std::process::Command::new("sh")));
    shell.arg("-c").arg(format!("exec 2>&1; {command}")).arg(ROOT);
    shell.current_dir(folder).env("PATH", path).kill_on_drop(true);
    shell
}

async fn make_stubs(folder: &Path) {
    let document = fs::read_to_string(Path::new(ROOT).join("docs/watching.md")).unwrap();
    assert!(document.contains(&format!("```sh\n{STUBS}```\n")));
    if !folder.join("proto").exists() {
        symlink(Path::new(ROOT).join("proto"), folder.join("proto")).unwrap();
    }
    let output = shell(STUBS, folder).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "scripts/test --all installs grpcio-tools\n{text}");
}
