//! Compiles the proto with `protox`, so that the build needs no `protoc`. Keeps the descriptor
//! set with its comments for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

/// The files that no other file imports.
const PROTOS: [&str; 3] =
    ["presence/v1/presence_service.proto", "presence/v1/errors.proto", "grpc/health/v1/health.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("presence_v1.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    // An event is sent as soon as it is made, so its size costs nothing.
    let large = r#"#[expect(clippy::large_enum_variant, reason = "made and sent at once")]"#;
    tonic_prost_build::configure()
        .enum_attribute("presence.v1.WatchPresencesResponse.event", large)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
