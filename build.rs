//! Compiles the proto with `protox`, so that no `protoc` is needed, and keeps
//! the descriptor set, comments included, for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

/// The service's file imports the resources; nothing imports the reasons.
const PROTOS: [&str; 2] = ["presence/v1/presence_service.proto", "presence/v1/errors.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("presence_v1.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
