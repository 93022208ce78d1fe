//! The Python client of the README.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::run_with;
use crate::support::process::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn the_python_client_of_the_readme_sets_a_session() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, code) = readme.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```\n").unwrap();

    let service = Process::start("sqlite::memory:", &[]).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("client.py"), code.replace("localhost:50051", &service.grpc.to_string()))
        .unwrap();
    let proto = format!("--proto_path={ROOT}/proto");
    let generate = ["-m", "grpc_tools.protoc", &proto, "--python_out=.", "--grpc_python_out=."].into_iter();
    let files = [
        "presence/v1/presence.proto",
        "presence/v1/presence_service.proto",
        "presence/v1/subscriptions.proto",
    ];
    let generate: Vec<&str> = generate.chain(files).collect();
    run_with("python", &generate, path, &[]).await;
    run_with("python", &["client.py"], path, &[]).await;

    let url = format!("http://{}/v1.0/users/ada/presence", service.http);
    let presence = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(presence.contains("\"activity\":\"InACall\""), "{presence}");
}
