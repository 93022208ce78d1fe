//! Code that the tools share, also with the tests of the server.
//!
//! The tools use no code of the server: they start its binary and call its public APIs.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a tool or test may panic"
)]

pub mod machine;
pub mod process;
pub mod proxy;

/// The generated messages and client of `proto/presence/v1`.
#[expect(clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("presence.v1");
}
