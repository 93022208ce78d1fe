//! `bench`: sends requests to a running service in a closed loop or at a fixed rate,
//! and prints throughput and latency.
//!
//! It runs on one thread and writes raw bytes to sockets. On a shared machine, a more
//! expensive client would measure mostly itself.

mod call;
mod connection;
mod graph;
mod grpc;
mod http1;
mod http2;
mod load;
mod report;
mod settings;
mod webdis;

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
};

use call::Calls;
use clap::Parser;
use connection::Connection;
use load::Load;
use report::Report;
use settings::{Api, Operation, Settings};

/// Exit code for invalid settings.
const EXIT_SETTINGS: u8 = 64;
/// Exit code for any other failure, including a failed call.
const EXIT_FAILURE: u8 = 70;

/// The most requests of one `BatchSetPresences`.
const REQUESTS_MAX: usize = 1_000;
/// The most ids of one `BatchGetPresences` or `getPresencesByUserId`.
const USER_IDS_MAX: usize = 650;
/// The most items of one `$batch`.
const BATCH_ITEMS_MAX: usize = 20;

/// A reason why there is no result.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// The settings are invalid, alone or together.
    #[error("{0}")]
    Settings(String),
    /// The service is unreachable, or closed a connection.
    #[error("{0}: {1}")]
    Target(String, String),
    /// The operating system refused a socket or a timer.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) => {
            // Prints to standard output for --help, else to standard error.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    let report = match run(&settings) {
        Ok(report) => report,
        Err(error) => {
            let code = if matches!(error, BenchError::Settings(_)) { EXIT_SETTINGS } else { EXIT_FAILURE };
            let _ = writeln!(io::stderr(), "bench: {error}");
            return ExitCode::from(code);
        }
    };
    let text = if settings.json { report.to_json() } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) if report.errors() == 0 => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FAILURE),
    }
}

/// Runs one benchmark.
fn run(settings: &Settings) -> Result<Report, BenchError> {
    let target = settings.target.clone().unwrap_or_else(|| settings.api.default_target().to_owned());
    let mut settings = settings.clone();
    settings.batch_size = Some(batch_size(&settings)?);
    if settings.operation == Operation::Health && settings.api != Api::Grpc {
        return Err(BenchError::Settings(
            "--operation health requires --api grpc: the HTTP API has no such call".into(),
        ));
    }
    if settings.operation == Operation::Health && settings.each_user {
        return Err(BenchError::Settings(
            "--each-user requires an operation on users, and --operation health has none".into(),
        ));
    }
    if settings.api == Api::Webdis
        && !matches!(settings.operation, Operation::Set | Operation::Get | Operation::Mix)
    {
        return Err(BenchError::Settings("--api webdis requires --operation set, get or mix".into()));
    }
    let token = settings.token_file.as_ref().map(fs::read_to_string).transpose().map_err(|error| {
        BenchError::Settings(format!("--token-file {:?}: {error}", settings.token_file.as_deref()))
    })?;

    let address = resolve(&target)?;
    let (connections, streams) = settings.width();
    let calls = Calls::new(&settings);
    let open = |_| {
        Connection::open(address, &target, token.as_deref().map(str::trim), streams, &settings)
            .map_err(|error| BenchError::Target(target.clone(), error.to_string()))
    };
    let connections = (0..connections).map(open).collect::<Result<Vec<_>, _>>()?;
    let mut load = Load::new(connections, calls, &settings)?;
    let measured =
        load.run(&settings).map_err(|error| BenchError::Target(target.clone(), error.to_string()))?;
    Ok(Report::new(&settings, &target, &measured))
}

fn resolve(target: &str) -> Result<SocketAddr, BenchError> {
    let invalid =
        |why: &str| BenchError::Settings(format!("{target:?} must be HOST:PORT of the service: {why}"));
    let mut addresses = target.to_socket_addrs().map_err(|error| invalid(&error.to_string()))?;
    addresses.next().ok_or_else(|| invalid("the host has no address"))
}

/// The default and the largest number of members of one call.
fn batch_sizes(operation: Operation, api: Api) -> (u16, usize) {
    match (operation, api) {
        (Operation::BatchSet, Api::Grpc) => (500, REQUESTS_MAX),
        (Operation::BatchSet, Api::Webdis) => (1, 1),
        (Operation::BatchSet, _) => (20, BATCH_ITEMS_MAX),
        (Operation::BatchGet, _) => (650, USER_IDS_MAX),
        _ => (1, 1),
    }
}

/// The number of members of one call.
fn batch_size(settings: &Settings) -> Result<u16, BenchError> {
    let (default, max) = batch_sizes(settings.operation, settings.api);
    match settings.batch_size {
        None => Ok(default),
        Some(size) if usize::from(size) <= max => Ok(size),
        Some(size) => Err(BenchError::Settings(format!(
            "--batch-size must be at most {max} for this operation and API, got {size}"
        ))),
    }
}
