//! The generated code of `proto/presence/v1` and `health/v1`.

tonic::include_proto!("presence.v1");

/// The health checks of gRPC.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The descriptors of all files with their comments, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/presence_v1.bin"));
