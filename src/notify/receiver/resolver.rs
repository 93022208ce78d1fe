//! The resolver of the names of receivers.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::{
    address::Addresses,
    url::{is_localhost, localhost},
};

/// Resolves names.
#[async_trait]
pub trait Lookup: fmt::Debug + Send + Sync {
    /// The addresses of a name.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // The port does not matter: the client sets that of the URL.
        Ok(lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The host has only addresses that are not allowed. The error does not say which, because it would
/// show the caller names and addresses of a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host resolves to an address that is not allowed")]
pub(super) struct ForbiddenAddress;

/// Resolves names to the addresses to which notifications may be sent. The client connects to one of
/// these, and resolves a name again for each new connection.
#[derive(Clone, Debug)]
pub(super) struct CheckedResolver {
    lookup: Arc<dyn Lookup>,
    addresses: Arc<Addresses>,
}

impl CheckedResolver {
    pub(super) fn new(lookup: Arc<dyn Lookup>, addresses: Arc<Addresses>) -> Self {
        Self { lookup, addresses }
    }

    async fn checked(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        // No resolver may send the traffic for this machine, which needs no TLS, elsewhere.
        let mut found = match name {
            name if is_localhost(name) => localhost().to_vec(),
            name => self.lookup.lookup(name).await?,
        };
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address").into());
        }
        found.retain(|address| self.addresses.permit(*address));
        if found.is_empty() {
            return Err(ForbiddenAddress.into());
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses: Addrs = Box::new(this.checked(name.as_str()).await?.into_iter());
            Ok(addresses)
        })
    }
}
