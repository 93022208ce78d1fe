//! The clients of `docs/watching.md`, against a service that goes away, comes back and
//! falls silent under them.

mod browser;
mod running;

use std::{fs, net::TcpListener, path::PathBuf};

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    client::Api,
    process::Process,
    tokens::{self, APP, Signer},
};
use running::Running;

/// A client: how it is started, and what it says.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// A shell's command: `$0` is the project's folder, and what follows the users.
    command: &'static str,
    /// Which URL it is given.
    api: Api,
    busy: &'static str,
    offline: &'static str,
    /// At the end of a snapshot.
    complete: &'static str,
    /// When the token is refused.
    refused: &'static str,
    /// When nothing was heard for long.
    silence: &'static str,
}

const RUST: Client = Client {
    command: "cd \"$0\" && exec \"${CARGO:-cargo}\" run --locked --quiet --example watch -- \"$@\"",
    api: Api::Grpc,
    busy: "ada Busy/InACall",
    offline: "ada Offline/Offline",
    complete: "-- snapshot complete: 1 users",
    refused: "-- lost: Unauthenticated: ",
    silence: "-- lost: Unavailable: silence",
};

const PYTHON: Client = Client {
    command: "PYTHONPATH=. exec python \"$0/docs/watching/watch.py\" \"$@\"",
    busy: "ada AVAILABILITY_BUSY ACTIVITY_IN_A_CALL",
    offline: "ada AVAILABILITY_OFFLINE ACTIVITY_OFFLINE",
    refused: "-- lost: UNAUTHENTICATED: ",
    silence: "-- lost: silence",
    ..RUST
};

const NODE: Client = Client {
    command: "exec node \"$0/docs/watching/node.mjs\" \"$@\"",
    api: Api::Http,
    refused: "-- lost: 401: ",
    silence: "-- lost: silence",
    ..RUST
};

const CHROMIUM: Client = Client { command: browser::COMMAND, ..NODE };

const CURL: Client = Client {
    command: "exec \"$0/docs/watching/watch.sh\" \"$@\"",
    busy: "\"id\":\"ada\",\"availability\":\"Busy\",\"activity\":\"InACall\"",
    offline: "\"id\":\"ada\",\"availability\":\"Offline\",\"activity\":\"Offline\"",
    complete: "event: snapshotComplete",
    refused: "\"code\":\"InvalidAuthenticationToken\"",
    silence: "curl: (28) ",
    ..NODE
};

/// A service that each test has for itself, and that can be started again.
struct Service {
    process: Process,
    folder: TempDir,
    flags: Vec<String>,
    /// Where the page of the browser comes from.
    page: TcpListener,
}

impl Service {
    async fn start(flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let page = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", page.local_addr().unwrap());
        let flags = [&["--cors-origins", &origin], flags].concat();
        let process = Process::start(&database(&folder), &flags).await;
        let flags = flags.into_iter().map(ToOwned::to_owned).collect();
        Self { process, folder, flags, page }
    }

    /// Another process at the same place.
    async fn start_again(&mut self) {
        let Process { grpc, http, .. } = self.process;
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.process = Process::start_at(grpc, http, &database(&self.folder), &flags).await;
    }

    /// The file that holds the token, once there is one.
    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Sets or clears the session of the token's application.
    async fn act(&self, action: &str, mut body: Value) {
        body["sessionId"] = APP.into();
        let url = format!("http://{}/v1.0/users/ada/presence/{action}", self.process.http);
        let token = fs::read_to_string(self.token_file()).unwrap();
        let request = reqwest::Client::new().request(Method::POST, url).bearer_auth(token).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

fn database(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("presence.db").display())
}

/// The client follows a user through all that happens to its streams.
async fn follows_and_comes_back(client: Client) {
    let (signer, keys) = (Signer::new(Algorithm::EdDSA, "key"), TempDir::new().unwrap());
    let key_file = keys.path().join("keys.json");
    fs::write(&key_file, tokens::key_set(&[&signer])).unwrap();
    let flags = [&tokens::FLAGS[..], &["--jwks-file", key_file.to_str().unwrap()]].concat();
    let mut service = Service::start(&flags).await;
    let token = |expiry: i64| {
        let mut claims = tokens::application(&["Presence.ReadWrite.All"]);
        (claims["nbf"], claims["exp"]) = (0.into(), expiry.into());
        signer.sign(&claims)
    };

    // A token that has expired; the next stream takes the next one, which lasts until 2100.
    fs::write(service.token_file(), token(1_000_000_000)).unwrap();
    let mut running = Running::start(client, &service, "ada").await;
    running.says(client.refused).await;
    fs::write(service.token_file(), token(4_102_444_800)).unwrap();
    running.says(client.offline).await;
    running.says(client.complete).await;
    service.act("setPresence", json!({ "availability": "Busy", "activity": "InACall" })).await;
    running.says(client.busy).await;

    // The service is stopped and started again.
    service.process.signal("TERM");
    assert_eq!(service.process.wait().0, Some(0));
    running.says("-- lost").await;
    service.start_again().await;
    running.says(client.busy).await;
    running.says(client.complete).await;
    service.act("clearPresence", json!({})).await;
    running.says(client.offline).await;

    // The connection stays, and nothing is heard.
    service.process.signal("STOP");
    running.says(client.silence).await;
    service.process.signal("CONT");
    running.says(client.offline).await;
    running.says(client.complete).await;
    running.end().await;
}

/// Where nobody is authenticated the client needs no token; it says what it did wrong; and
/// an id may hold a comma.
async fn needs_no_token_and_hears_what_is_wrong(client: Client) {
    let service = Service::start(&[]).await;
    let mut running = Running::start(client, &service, "ada,bob").await;
    running.says("ada,bob").await;
    running.says(client.complete).await;
    running.end().await;
    let mut running = Running::start(client, &service, "not an id").await;
    running.says("visible ASCII").await;
    running.end().await;
}

#[tokio::test]
async fn the_rust_client_follows_and_comes_back() {
    follows_and_comes_back(RUST).await;
    needs_no_token_and_hears_what_is_wrong(RUST).await;
}

#[tokio::test]
async fn the_python_client_follows_and_comes_back() {
    follows_and_comes_back(PYTHON).await;
    needs_no_token_and_hears_what_is_wrong(PYTHON).await;
}

#[tokio::test]
async fn the_node_client_follows_and_comes_back() {
    follows_and_comes_back(NODE).await;
    needs_no_token_and_hears_what_is_wrong(NODE).await;
}

#[tokio::test]
async fn the_page_in_chromium_follows_and_comes_back() {
    follows_and_comes_back(CHROMIUM).await;
    needs_no_token_and_hears_what_is_wrong(CHROMIUM).await;
}

#[tokio::test]
async fn curl_in_a_loop_follows_and_comes_back() {
    follows_and_comes_back(CURL).await;
    needs_no_token_and_hears_what_is_wrong(CURL).await;
}
