//! What is done to the service, one file for each group of rows of the table. The
//! tests run some of them with small numbers, `scripts/torture` all with large ones.

pub mod callers;
pub mod clock;
pub mod cluster;
pub mod faults;
pub mod herd;
pub mod kills;
pub mod ledger;
pub mod pairs;
pub mod retries;
pub mod rolling;
pub mod soak;

use std::net::SocketAddr;

use presenced_tools::pb::presence_service_client::PresenceServiceClient;
use tonic::transport::Channel;

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What should hold.
    pub property: String,
    /// How often it was tried.
    pub tried: String,
    /// What came of it.
    pub figure: String,
    /// Whether it held.
    pub held: bool,
}

pub type Client = PresenceServiceClient<Channel>;

/// A connection of its own, opened by the first call.
pub fn connect(grpc: SocketAddr) -> Client {
    Client::new(Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy())
}
