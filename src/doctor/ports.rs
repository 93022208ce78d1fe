//! Whether the service can listen where it is told to.

use std::{io, net::SocketAddr};

use super::{Fault, Finding};
use crate::{admin::ask_readyz, health::Readiness, server::bind, settings::Settings};

/// What is found at an address.
enum Port {
    Free,
    /// An earlier setting names it, too, or all addresses.
    Same(&'static str),
    Taken,
    Unusable(io::Error),
}

pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let apis = [
        ("--grpc-addr", settings.grpc_addr),
        ("--http-addr", settings.http_addr),
        ("--admin-addr", settings.admin_addr),
    ];
    let ports = look(&apis);
    let taken = ports.iter().any(|(.., port)| matches!(port, Port::Taken));
    let running = if taken { running(settings.admin_addr).await } else { None };
    ports.into_iter().map(|(flag, address, port)| finding(flag, address, port, running)).collect()
}

/// Binds all of them, and lets go of them only then.
fn look(apis: &[(&'static str, SocketAddr)]) -> Vec<(&'static str, SocketAddr, Port)> {
    let mut held = Vec::new();
    let mut ports: Vec<(&'static str, SocketAddr, Port)> = Vec::new();
    for &(flag, address) in apis {
        let earlier = ports.iter().find(|(_, other, _)| collide(*other, address));
        let port = match (earlier, bind(flag, address)) {
            (Some((earlier, ..)), _) => Port::Same(earlier),
            (None, Ok(listener)) => {
                held.push(listener);
                Port::Free
            }
            (None, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => Port::Taken,
            (None, Err(error)) => Port::Unusable(error),
        };
        ports.push((flag, address, port));
    }
    ports
}

/// Whether the one shuts out the other.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let meet = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    meet && one.port() == other.port() && one.port() != 0
}

/// The state of the service that runs here, if one does.
async fn running(admin: SocketAddr) -> Option<Readiness> {
    const ALL: [Readiness; 5] = [
        Readiness::Starting,
        Readiness::Ready,
        Readiness::StoreUnavailable,
        Readiness::ClockSkew,
        Readiness::Stopping,
    ];
    let (_, state) = ask_readyz(admin).await.ok()?;
    ALL.into_iter().find(|readiness| readiness.as_str() == state)
}

fn finding(flag: &str, address: SocketAddr, port: Port, running: Option<Readiness>) -> Finding {
    let other = format!("give another {flag}");
    match (port, running) {
        (Port::Free, _) => Finding::ok(flag, format!("{address} is free")),
        (Port::Same(earlier), _) => {
            Finding::fail(Fault::Settings, flag, format!("{address} is in the way of {earlier}"), other)
        }
        (Port::Unusable(error), _) => Finding::fail(Fault::Other, flag, error.to_string(), other),
        (Port::Taken, Some(Readiness::Ready)) => {
            Finding::ok(flag, format!("{address} is taken: a service is running here and is ready"))
        }
        (Port::Taken, Some(state)) => Finding::fail(
            Fault::Other,
            flag,
            format!("{address} is taken: a service is running here and is not ready: {}", state.as_str()),
            "see its log",
        ),
        (Port::Taken, None) => Finding::fail(
            Fault::Other,
            flag,
            format!("{address} is taken by something else"),
            format!("stop what listens there (`ss -ltnp` shows it), or {other}"),
        ),
    }
}
