//! A service as a process of its own, and what it takes of the machine. Shared
//! by the tools that measure one.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

/// A child that ends with this process.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service: its process, and where it listens.
#[derive(Debug)]
pub(crate) struct Service {
    process: Running,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    #[allow(dead_code, reason = "one of the tools reads metrics")]
    pub(crate) admin: SocketAddr,
}

impl Service {
    /// Starts `binary` on free ports.
    pub(crate) fn start(binary: &str, arguments: &[&str]) -> Self {
        Self::start_by(Command::new(binary), arguments)
    }

    /// Starts the service on free ports with a command that has an environment.
    pub(crate) fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        let addresses = ["--grpc-addr", "--http-addr", "--admin-addr"].map(|flag| [flag, "127.0.0.1:0"]);
        let mut child = command
            .args(addresses.as_flattened())
            .args(["--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("presenced starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.by_ref().map(|line| line.unwrap()).find(|line| line.contains("\"listening\""));
        let listening: serde_json::Value = serde_json::from_str(&listening.expect("it listens")).unwrap();
        // Nobody else reads what it logs.
        thread::spawn(move || lines.for_each(drop));
        let address = |api: &str| listening[api].as_str().unwrap().parse().unwrap();
        Self {
            grpc: address("grpc"),
            http: address("http"),
            admin: address("admin"),
            process: Running(child),
        }
    }

    pub(crate) fn id(&self) -> String {
        self.process.0.id().to_string()
    }

    /// The memory in use, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        memory(&self.id())
    }
}

/// The memory in use by a process, in MiB.
pub(crate) fn memory(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The processor time that a process has taken, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    /// Ticks of the kernel in a second.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}
