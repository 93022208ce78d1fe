//! The page of `docs/watching.md` in headless Chromium, from another origin than the
//! service's.

use std::{fs, path::Path};

use axum::{Router, extract, http::header::CONTENT_TYPE, routing::get};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use super::Service;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/watching");

/// Chromium writes the page's console to stderr. It exits when its input ends, which it
/// takes for the commands of a debugger.
pub const COMMAND: &str = "HOME=$PWD TMPDIR=$PWD exec chromium --headless --no-sandbox --disable-gpu --disable-quic \
     --no-first-run --disable-background-networking --disable-component-update --disable-sync \
     --user-data-dir=\"$(mktemp -d -p \"$PWD\")\" --enable-logging=stderr --remote-debugging-pipe \
     \"$PAGE/index.html\" 3<&0 4>/dev/null";

/// Serves the page and its settings. Also returns the page's origin.
pub fn serve(service: &Service, url: String, user: &str) -> (JoinHandle<()>, String) {
    let (user, token_file) = (user.to_owned(), service.token_file());
    let settings = move || {
        let token = fs::read_to_string(&token_file).ok();
        let settings = json!({ "url": url, "ids": [user], "heartbeat": 1_000, "token": token });
        async move { ([(CONTENT_TYPE, "application/json")], settings.to_string()) }
    };
    let router = Router::new().route("/settings.json", get(settings)).route("/{file}", get(file));
    let listener = service.page.try_clone().unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    (tokio::spawn(async { axum::serve(listener, router).await.unwrap() }), origin)
}

async fn file(
    extract::Path(name): extract::Path<String>,
) -> ([(http::HeaderName, &'static str); 1], Vec<u8>) {
    let kind = if name == "watch.mjs" { "text/javascript" } else { "text/html" };
    ([(CONTENT_TYPE, kind)], fs::read(Path::new(FOLDER).join(name)).unwrap_or_default())
}
