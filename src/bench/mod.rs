//! `presenced bench`: calls a running service as fast as it answers, or at a
//! fixed rate, and prints how many calls it answered and how soon.
//!
//! One thread and raw bytes on sockets, so that it costs a fraction of what the
//! service costs: on one machine a dearer client would measure itself.

mod call;
mod connection;
mod graph;
mod grpc;
mod http1;
mod http2;
mod load;
mod report;

use std::{
    fs, io,
    net::{SocketAddr, ToSocketAddrs},
};

use crate::{
    presence::{BATCH_ITEMS_MAX, REQUESTS_MAX, USER_IDS_MAX},
    settings::{BenchApi, BenchOperation, BenchSettings},
};
use call::Calls;
use connection::Connection;
use load::Load;

pub use report::Report;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// The service can't be reached, or ended a connection.
    #[error("{0}: {1}")]
    Target(String, String),
    /// The system gives us no time or no sockets.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs a benchmark against the service at `default` unless the settings name
/// another one.
pub fn run(settings: &BenchSettings, default: SocketAddr) -> Result<Report, BenchError> {
    let target = settings.target.clone().unwrap_or_else(|| default.to_string());
    let mut settings = settings.clone();
    settings.batch_size = Some(batch_size(&settings)?);
    if settings.operation == BenchOperation::Health && settings.api != BenchApi::Grpc {
        return Err(BenchError::Settings(
            "--operation health takes --API grpc: HTTP has no such call".into(),
        ));
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
    let unknown = |why: &str| BenchError::Settings(format!("{target:?} is no HOST:PORT: {why}"));
    let mut addresses = target.to_socket_addrs().map_err(|error| unknown(&error.to_string()))?;
    addresses.next().ok_or_else(|| unknown("it has no address"))
}

/// The members that a call has unless it is said, and at most.
fn batch_sizes(operation: BenchOperation, api: BenchApi) -> (u16, usize) {
    match (operation, api) {
        (BenchOperation::BatchSet, BenchApi::Grpc) => (500, REQUESTS_MAX),
        (BenchOperation::BatchSet, _) => (20, BATCH_ITEMS_MAX),
        (BenchOperation::BatchGet, _) => (650, USER_IDS_MAX),
        _ => (1, 1),
    }
}

/// The members of one call.
fn batch_size(settings: &BenchSettings) -> Result<u16, BenchError> {
    let (default, max) = batch_sizes(settings.operation, settings.api);
    match settings.batch_size {
        None => Ok(default),
        Some(size) if usize::from(size) <= max => Ok(size),
        Some(size) => Err(BenchError::Settings(format!(
            "--batch-size {size}: a call of this operation at this API takes {max} at most"
        ))),
    }
}
