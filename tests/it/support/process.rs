//! The service as its users run it: the binary, in a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStderr, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::binary;

/// How long a start may take on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `presenced`; killed when dropped.
pub struct Process {
    pub child: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    /// Reads the log to its end.
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts the binary on free ports and waits until it is ready.
    pub async fn start(database_url: &str, flags: &[&str]) -> Self {
        Self::start_by(command(), database_url, flags).await
    }

    /// The same by a [`command`] that has been told more.
    pub async fn start_by(command: Command, database_url: &str, flags: &[&str]) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::run(command, [free, free], database_url, flags).await
    }

    /// The same at these addresses, e.g. those of one that was stopped.
    pub async fn start_at(grpc: SocketAddr, http: SocketAddr, database_url: &str, flags: &[&str]) -> Self {
        Self::run(command(), [grpc, http], database_url, flags).await
    }

    async fn run(
        mut command: Command,
        addresses: [SocketAddr; 2],
        database_url: &str,
        flags: &[&str],
    ) -> Self {
        let [grpc, http] = addresses.map(|address| address.to_string());
        let mut child = command
            .args(["--database-url", database_url, "--grpc-addr", &grpc, "--http-addr", &http])
            .args(["--admin-addr", "127.0.0.1:0", "--log-format", "json"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let (found, listening) = oneshot::channel();
        let stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || read_log(stderr, found));
        let listening = timeout(START_TIMEOUT, listening).await.expect("presenced listens");
        let Ok([grpc, http, admin]) = listening else { panic!("presenced ended: {}", log.join().unwrap()) };
        let process = Self { child, grpc, http, admin, log: Some(log) };
        let ready = async {
            while presenced::admin::healthcheck(admin).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(START_TIMEOUT, ready).await.expect("presenced gets ready");
        process
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end; the exit code and the whole log.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

/// Reads JSON lines to the end; tells the addresses when they come by.
fn read_log(stderr: ChildStderr, found: oneshot::Sender<[SocketAddr; 3]>) -> String {
    let (mut log, mut found) = (String::new(), Some(found));
    for line in BufReader::new(stderr).lines() {
        let line = line.unwrap();
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["message"] == "listening" {
            let address = |name: &str| entry[name].as_str().unwrap().parse().unwrap();
            let addresses = ["grpc", "http", "admin"].map(address);
            found.take().map(|found| found.send(addresses));
        }
        log += &line;
        log.push('\n');
    }
    log
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, with no settings from this process's environment.
pub fn command() -> Command {
    without_settings(Command::new(binary()))
}

/// The command, with no settings from this process's environment and no input. Variables
/// for tests stay.
pub fn without_settings(mut command: Command) -> Command {
    let is_setting = |name: &str| name.starts_with("PRESENCE_") && !name.starts_with("PRESENCE_TEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// An address at which nobody listens now.
pub fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
