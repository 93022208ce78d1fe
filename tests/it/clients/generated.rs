//! Clients that openapi-generator makes of the service's document. They are compiled, and a program of
//! `tests/clients/openapi` calls a running service with each of them.

use std::fs;

use jsonwebtoken::Algorithm;
use presenced::clock::Stopwatch;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::running::shell;
use crate::support::{
    process::Process,
    tokens::{self, APP, FLAGS, Signer, USER},
};

/// A generator, with its options, and the command that compiles and runs the program.
struct Generator {
    name: &'static str,
    options: &'static str,
    run: &'static str,
}

const PYTHON: Generator = Generator {
    name: "python",
    options: "",
    run: "PYTHONPATH=client python \"$0\"/tests/clients/openapi/generated.py",
};

const TYPESCRIPT: Generator = Generator {
    name: "typescript-fetch",
    options: "",
    run: "cp \"$0\"/tests/clients/openapi/generated.ts . && modules=\"$0\"/tests/clients/javascript/node_modules && \
          \"$modules\"/.bin/tsc --strict --target es2022 --module commonjs --esModuleInterop --typeRoots \"$modules\"/@types \
          --types node --outDir out generated.ts && node out/generated.js",
};

const GO: Generator = Generator {
    name: "go",
    options: "--git-host example.com --git-user-id test --git-repo-id presence \
              --additional-properties disallowAdditionalPropertiesIfNotPresent=false",
    run: "cd client && mkdir program && cp \"$0\"/tests/clients/openapi/generated.go program && go run ./program",
};

const JAVA: Generator = Generator {
    name: "java",
    options: "--additional-properties disallowAdditionalPropertiesIfNotPresent=false",
    run: "cd client && cp \"$0\"/tests/clients/openapi/Generated.java src/main/java && \
          mvn -q -B -ntp compile dependency:copy-dependencies -DincludeScope=runtime && \
          java -cp 'target/classes:target/dependency/*' Generated",
};

/// Makes a client of the document that a service serves, and runs the program against the service.
async fn compiles_and_works(generator: Generator) {
    let (signer, folder) = (Signer::new(Algorithm::ES256, "key"), TempDir::new().unwrap());
    let keys = folder.path().join("keys.json");
    fs::write(&keys, tokens::key_set(&[&signer])).unwrap();
    let flags = [&FLAGS[..], &["--jwks-file", keys.to_str().unwrap()]].concat();
    let service = Process::start("sqlite::memory:", &flags).await;
    let url = format!("http://{}", service.http);
    let document = reqwest::get(format!("{url}/openapi.json")).await.unwrap().text().await.unwrap();
    fs::write(folder.path().join("openapi.json"), document).unwrap();

    // Valid until 2100, since the process uses the system's clock.
    let token = |mut claims: Value| {
        (claims["nbf"], claims["exp"]) = (0.into(), 4_102_444_800_i64.into());
        signer.sign(&claims)
    };
    let mut user = tokens::delegated("Presence.Read Presence.ReadWrite");
    user["name"] = json!("Megan Bowen");
    let Generator { name, options, run } = generator;
    let generate = format!("openapi-generator-cli generate -g {name} -i openapi.json -o client {options}");
    let mut command = shell(&format!("{generate} && {run}"), folder.path());
    command.env("PRESENCE_URL", &url).env("PRESENCE_USER", USER).env("PRESENCE_APP", APP);
    command.env("PRESENCE_TOKEN", token(user));
    command.env("PRESENCE_APP_TOKEN", token(tokens::application(&["Presence.ReadWrite.All"])));
    let stopwatch = Stopwatch::start();
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let missing = printed.contains("openapi-generator-cli: not found");
    assert!(!missing, "a generator is not installed: run scripts/test --all, which installs it");
    assert!(output.status.success() && printed.ends_with("passed\n"), "{printed}");
    println!("{name}: generated, compiled and called in {:?}", stopwatch.elapsed());
}

#[tokio::test]
async fn a_generated_python_client_compiles_and_works() {
    compiles_and_works(PYTHON).await;
}

#[tokio::test]
async fn a_generated_typescript_client_compiles_and_works() {
    compiles_and_works(TYPESCRIPT).await;
}

#[tokio::test]
async fn a_generated_go_client_compiles_and_works() {
    compiles_and_works(GO).await;
}

#[tokio::test]
async fn a_generated_java_client_compiles_and_works() {
    compiles_and_works(JAVA).await;
}
