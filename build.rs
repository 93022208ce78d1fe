//! Compiles the proto with `protox`, so that the build needs no `protoc`. Keeps the descriptor
//! set with its comments for gRPC reflection. Compresses the files of the page at `/docs`, so that
//! no worker has to.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use utoipa_swagger_ui::Config;

/// The files that no other file imports. That of health checks is not in `proto`, which clients compile
/// as a whole: their libraries have it already.
const PROTOS: [&str; 3] =
    ["presence/v1/presence_service.proto", "presence/v1/errors.proto", "grpc/health/v1/health.proto"];

/// The files of Swagger UI that its page loads.
const PAGE_FILES: [&str; 10] = [
    "favicon-16x16.png",
    "favicon-32x32.png",
    "index.css",
    "index.html",
    "oauth2-redirect.html",
    "oauth2-redirect.js",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=src/grpc/health");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_protos(&out)?;
    pack_page(&out)
}

fn compile_protos(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto", "src"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    fs::write(out.join("presence_v1.bin"), compiler.encode_file_descriptor_set())?;
    // An event is sent as soon as it is made, so its size costs nothing.
    let large = r#"#[expect(clippy::large_enum_variant, reason = "made and sent at once")]"#;
    tonic_prost_build::configure()
        .enum_attribute("presence.v1.WatchPresencesResponse.event", large)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Writes each file of the page as it is and compressed, and `page.rs` with the list of them.
fn pack_page(out: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::new(["/openapi.json"]).try_it_out_enabled(true).validator_url("none");
    let config = Arc::new(config);
    fs::create_dir_all(out.join("page"))?;
    let mut list = String::new();
    for name in PAGE_FILES {
        let file = utoipa_swagger_ui::serve(name, Arc::clone(&config))?.ok_or(name)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&file.bytes)?;
        fs::write(out.join("page").join(name), &file.bytes)?;
        fs::write(out.join("page").join(format!("{name}.gz")), packed.finish()?)?;
        let content_type = file.content_type;
        writeln!(
            list,
            "PageFile {{ name: {name:?}, content_type: {content_type:?}, plain: include_bytes!({:?}), packed: \
             include_bytes!({:?}) }},",
            format!("page/{name}"),
            format!("page/{name}.gz"),
        )?;
    }
    fs::write(out.join("page.rs"), format!("&[{list}]"))?;
    Ok(())
}
