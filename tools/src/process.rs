//! The server as a process of its own.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::OnceLock,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

/// The time that a start may take on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The environment variable with the path of the binary under test.
const BINARY_VARIABLE: &str = "PRESENCE_TEST_BINARY";

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// Sets the binary that [`command`] runs. Panics if [`binary`] was called before.
pub fn set_binary(path: impl Into<PathBuf>) {
    BINARY.set(path.into()).expect("the binary is set once");
}

/// The path of the binary under test: the one that was set, else the value of
/// `PRESENCE_TEST_BINARY`, else `presenced` in the folder to which cargo builds.
pub fn binary() -> &'static PathBuf {
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os(BINARY_VARIABLE) {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "{BINARY_VARIABLE}={}: no such file", path.display());
            return path;
        }
        let path = sibling("presenced");
        assert!(
            path.is_file(),
            "{} is missing: build it with `cargo build -p presenced`, or set {BINARY_VARIABLE}",
            path.display()
        );
        path
    })
}

/// The path of a binary that cargo built beside the running executable.
#[must_use]
pub fn sibling(name: &str) -> PathBuf {
    let executable = env::current_exe().unwrap();
    let folder = executable.parent().unwrap();
    // Cargo puts test executables one folder deeper.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    folder.join(name)
}

/// A running `presenced`, which is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    /// The operating system's process.
    pub child: Child,
    /// The address of the gRPC API.
    pub grpc: SocketAddr,
    /// The address of the HTTP API.
    pub http: SocketAddr,
    /// The address of the admin API.
    pub admin: SocketAddr,
    /// Reads the log to its end.
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts the binary under test on free ports, and waits until it is ready.
    pub async fn start(database_url: &str, flags: &[&str]) -> Self {
        Self::start_by(command(), database_url, flags).await
    }

    /// Does the same with a prepared [`command`].
    pub async fn start_by(command: Command, database_url: &str, flags: &[&str]) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::run(command, [free, free], database_url, flags).await
    }

    /// Does the same at the given addresses, for example at those of a stopped process.
    pub async fn start_at(grpc: SocketAddr, http: SocketAddr, database_url: &str, flags: &[&str]) -> Self {
        Self::run(command(), [grpc, http], database_url, flags).await
    }

    /// Does the same as [`Self::start_by`], without flags, for callers without a runtime.
    #[must_use]
    pub fn start_blocking(command: Command, database_url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Self::start_by(command, database_url, &[]))
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
            .expect("the binary starts");
        let (found, listening) = oneshot::channel();
        let stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || read_log(stderr, found));
        let listening = timeout(START_TIMEOUT, listening).await.expect("presenced listens");
        let Ok([grpc, http, admin]) = listening else { panic!("presenced ended: {}", log.join().unwrap()) };
        let process = Self { child, grpc, http, admin, log: Some(log) };
        process.wait_until_ready(START_TIMEOUT).await;
        process
    }

    /// Waits until `/readyz` returns 200. Panics after the timeout.
    pub async fn wait_until_ready(&self, patience: Duration) {
        let ready = async {
            while !is_ready(self.admin).await.unwrap_or(false) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(patience, ready).await.expect("presenced becomes ready");
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until the process ends. Returns its exit code and its whole log.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads JSON lines to the end, and sends the three addresses when it finds them.
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

async fn is_ready(admin: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nhost: {admin}\r\n\r\n").as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response.split(' ').nth(1) == Some("200"))
}

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs the binary under test, without settings from the environment.
#[must_use]
pub fn command() -> Command {
    without_settings(Command::new(binary()))
}

/// The command without input and without settings from the environment. Variables for tests
/// (`PRESENCE_TEST_…`) stay.
#[must_use]
pub fn without_settings(mut command: Command) -> Command {
    let is_setting = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("PRESENCE_") && !name.starts_with("PRESENCE_TEST_")
    };
    for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// An address without a listener.
#[must_use]
pub fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
