//! A page in headless Chromium, from another origin than the service's, that holds a session with
//! `docs/sessions/session.mts`.

use std::{fs, net::TcpListener};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    FOLDER,
    running::{Running, shell},
    sessions::COMPILE,
    watching::CHROMIUM_COMMAND,
};
use crate::support::process::Process;

/// Holds a session until its first extension. Chromium prints the page's console.
const PAGE: &str = r#"<!doctype html>
<script type="module">
  import { hold } from "./session.mjs";
  const session = { url: "URL", user: "ada", session: "desk:tab-7f3a", onRetry: console.log };
  const control = new AbortController();
  for await (const held of hold(session, { availability: "Busy", activity: "InACall" }, control.signal)) {
    console.log(`-- ${held.event} ${held.expiryDateTime}`);
    if (held.event === "sessionExtended") control.abort();
  }
  console.log("-- cleared");
</script>
"#;

#[tokio::test]
async fn a_page_in_chromium_holds_a_session() {
    let folder = TempDir::new().unwrap();
    let modules = format!("{FOLDER}/javascript/node_modules");
    let compiled = shell(COMPILE, folder.path()).env("MODULES", modules).output().await.unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let service = Process::start("sqlite::memory:", &["--cors-origins", &origin]).await;
    let page = PAGE.replace("URL", &format!("http://{}", service.http));
    let module = fs::read_to_string(folder.path().join("session.mjs")).unwrap();
    let file = |kind: &'static str, text: String| get(async move || ([(CONTENT_TYPE, kind)], text));
    let router = Router::new()
        .route("/index.html", file("text/html", page))
        .route("/session.mjs", file("text/javascript", module));
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });

    let mut command = shell(CHROMIUM_COMMAND, folder.path());
    command.env("PAGE", origin);
    let mut running = Running::start(command);
    running.prints("-- sessionSet ").await;
    assert_eq!(activity(&service).await, "InACall");
    running.prints("-- sessionExtended ").await;
    running.prints("-- cleared").await;
    assert_eq!(activity(&service).await, "Offline");
    running.end().await;
}

async fn activity(service: &Process) -> String {
    let url = format!("http://{}/v1.0/users/ada/presence", service.http);
    let presence: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    presence["activity"].as_str().unwrap().to_owned()
}
