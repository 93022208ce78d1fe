//! Generates a gRPC client from the public proto. The tools use no code of the server.

use std::error::Error;

/// The file of the service; it imports the file of the resources.
const PROTO: &str = "presence/v1/presence_service.proto";
/// The folder of the proto files.
const FOLDER: &str = "../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    let files = protox::compile([PROTO], [FOLDER])?;
    // An event is handled as soon as it arrives, so its size costs nothing.
    let large = r#"#[expect(clippy::large_enum_variant, reason = "handled at once")]"#;
    tonic_prost_build::configure()
        .build_server(false)
        .enum_attribute("presence.v1.WatchPresencesResponse.event", large)
        .compile_fds(files)?;
    Ok(())
}
