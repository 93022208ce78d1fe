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

use std::{fs, net::SocketAddr};

use presenced::grpc::pb::presence_service_client::PresenceServiceClient;
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

/// The memory in use by a process, in MiB.
pub fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1_024
}
