//! The addresses: whether the service can listen on them.

use std::{io, net::SocketAddr};

use super::report::{Fault, Finding};
use crate::{admin::ask_readyz, health::Readiness, server::bind, settings::Settings};

/// The state of an address.
enum Port {
    Free,
    /// An earlier flag has the same port, and the same or an unspecified address.
    Conflict(&'static str),
    InUse,
    Unusable(io::Error),
}

pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let apis = [
        ("--grpc-addr", settings.grpc_addr),
        ("--http-addr", settings.http_addr),
        ("--admin-addr", settings.admin_addr),
    ];
    let ports = probe(&apis);
    let in_use = ports.iter().any(|(.., port)| matches!(port, Port::InUse));
    let running = if in_use { running(settings.admin_addr).await } else { None };
    ports.into_iter().map(|(flag, address, port)| finding(flag, address, port, running)).collect()
}

/// Binds all addresses before it releases any.
fn probe(apis: &[(&'static str, SocketAddr)]) -> Vec<(&'static str, SocketAddr, Port)> {
    let mut held = Vec::new();
    let mut ports: Vec<(&'static str, SocketAddr, Port)> = Vec::new();
    for &(flag, address) in apis {
        let earlier = ports.iter().find(|(_, other, _)| conflict(*other, address));
        let port = match (earlier, bind(flag, address)) {
            (Some((earlier, ..)), _) => Port::Conflict(earlier),
            (None, Ok(listener)) => {
                held.push(listener);
                Port::Free
            }
            (None, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => Port::InUse,
            (None, Err(error)) => Port::Unusable(error),
        };
        ports.push((flag, address, port));
    }
    ports
}

/// Whether only one of them can be bound.
fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

/// The state of the service that runs on this machine, if there is one.
async fn running(admin: SocketAddr) -> Option<Readiness> {
    const ALL: [Readiness; 4] =
        [Readiness::Starting, Readiness::Ready, Readiness::StoreUnavailable, Readiness::Stopping];
    let (_, state) = ask_readyz(admin).await.ok()?;
    ALL.into_iter().find(|readiness| readiness.as_str() == state)
}

fn finding(flag: &str, address: SocketAddr, port: Port, running: Option<Readiness>) -> Finding {
    let other = format!("give another address in {flag}");
    match (port, running) {
        (Port::Free, _) => Finding::ok(flag, format!("{address} is free")),
        (Port::Conflict(earlier), _) => {
            Finding::fail(Fault::Settings, flag, format!("{address} conflicts with {earlier}"), other)
        }
        (Port::Unusable(error), _) => Finding::fail(Fault::Other, flag, error.to_string(), other),
        (Port::InUse, Some(Readiness::Ready)) => {
            Finding::ok(flag, format!("{address} is in use: a service is running here and is ready"))
        }
        (Port::InUse, Some(state)) => Finding::fail(
            Fault::Other,
            flag,
            format!("{address} is in use: a service is running here and is not ready: {}", state.as_str()),
            "read its log",
        ),
        (Port::InUse, None) => Finding::fail(
            Fault::Other,
            flag,
            format!("{address} is in use by another process"),
            format!("stop that process (`ss -ltnp` shows it), or {other}"),
        ),
    }
}
