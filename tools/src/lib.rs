//! Code that the tools share, also with the tests of the server.
//!
//! The tools use no code of the server: they start its binary and call its public APIs.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool or test may panic"
)]

pub mod ledger;
pub mod machine;
pub mod process;
pub mod proxy;

use std::net::SocketAddr;

use tonic::transport::Channel;

/// The generated messages and client of `proto/presence/v1`.
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("presence.v1");
}

/// A client of the gRPC API.
pub type Client = pb::presence_service_client::PresenceServiceClient<Channel>;

/// A client with a connection of its own, which opens on the first call.
#[must_use]
pub fn connect(grpc: SocketAddr) -> Client {
    Client::new(Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy())
}
