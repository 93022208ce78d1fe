//! The clients of `docs/watching.md`, against a service that stops, returns and falls
//! silent while they watch.

mod browser;

use std::{fs, net::TcpListener, path::PathBuf};

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use browser::COMMAND as CHROMIUM_COMMAND;

use super::running::{Running, make_stubs, shell};
use crate::support::{
    client::Api,
    process::Process,
    tokens::{self, APP, Signer},
};

/// The seconds that the clients take for the service's heartbeat. After three times as long
/// without one they reconnect: that is a little more than the real 15 s.
const HEARTBEAT: &str = "7";

/// A client: its command, and the text that it prints for each event.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// A shell command. `$0` is the project's folder, and the arguments are users.
    command: &'static str,
    /// The API that it uses.
    api: Api,
    busy: &'static str,
    offline: &'static str,
    /// Printed at the end of a snapshot.
    complete: &'static str,
    /// Printed when the token is refused.
    refused: &'static str,
    /// Printed when no message arrived for too long.
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

/// A service for one test, which can be restarted.
struct Service {
    process: Process,
    folder: TempDir,
    flags: Vec<String>,
    /// Listens for the browser, which loads the page from there.
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

    /// Starts another process with the same addresses and database.
    async fn restart(&mut self) {
        let Process { grpc, http, .. } = self.process;
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.process = Process::start_at(grpc, http, &database(&self.folder), &flags).await;
    }

    /// The file of the token. A test without authentication has none.
    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Posts an action on the session of the token's application.
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

/// A running client, and the server of its page.
struct Watching {
    running: Running,
    page: JoinHandle<()>,
}

impl Watching {
    /// Starts the client, which watches the user.
    async fn start(client: Client, service: &Service, user: &str) -> Self {
        let folder = service.folder.path();
        let url = match client.api {
            Api::Grpc => format!("http://{}", service.process.grpc),
            Api::Http => format!("http://{}", service.process.http),
        };
        let (page, origin) = browser::serve(service, url.clone(), user);
        let mut command = shell(client.command, folder);
        command.arg(user).env("PRESENCE_URL", url).env("PRESENCE_HEARTBEAT", HEARTBEAT).env("PAGE", origin);
        command.env("PRESENCE_ADDRESS", service.process.grpc.to_string());
        if service.token_file().exists() {
            command.env("PRESENCE_TOKEN_FILE", service.token_file());
        }
        if client.command.contains("python") {
            make_stubs(folder).await;
        }
        Self { running: Running::start(command), page }
    }

    async fn prints(&mut self, text: &str) {
        self.running.prints(text).await;
    }

    async fn end(self) {
        self.running.end().await;
        self.page.abort();
    }
}

/// The client watches a user, and reopens its stream after every kind of end.
async fn watches_and_reconnects(client: Client) {
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

    // First an expired token. The next stream uses the next token, which is valid until 2100.
    fs::write(service.token_file(), token(1_000_000_000)).unwrap();
    let mut running = Watching::start(client, &service, "ada").await;
    running.prints(client.refused).await;
    fs::write(service.token_file(), token(4_102_444_800)).unwrap();
    running.prints(client.offline).await;
    running.prints(client.complete).await;
    service.act("setPresence", json!({ "availability": "Busy", "activity": "InACall" })).await;
    running.prints(client.busy).await;

    // The service restarts.
    service.process.signal("TERM");
    assert_eq!(service.process.wait().0, Some(0));
    running.prints("-- lost").await;
    service.restart().await;
    running.prints(client.busy).await;
    running.prints(client.complete).await;
    service.act("clearPresence", json!({})).await;
    running.prints(client.offline).await;

    // The connection stays open, and nothing arrives.
    service.process.signal("STOP");
    running.prints(client.silence).await;
    service.process.signal("CONT");
    running.prints(client.offline).await;
    running.prints(client.complete).await;
    running.end().await;
}

/// Without authentication the client needs no token. A user id may contain a comma, and the
/// client prints the service's error.
async fn needs_no_token_and_prints_errors(client: Client) {
    let service = Service::start(&[]).await;
    let mut running = Watching::start(client, &service, "ada,bob").await;
    running.prints("ada,bob").await;
    running.prints(client.complete).await;
    running.end().await;
    let mut running = Watching::start(client, &service, "not an id").await;
    running.prints("visible ASCII").await;
    running.end().await;
}

#[tokio::test]
async fn the_rust_client_watches_and_reconnects() {
    watches_and_reconnects(RUST).await;
    needs_no_token_and_prints_errors(RUST).await;
}

#[tokio::test]
async fn the_python_client_watches_and_reconnects() {
    watches_and_reconnects(PYTHON).await;
    needs_no_token_and_prints_errors(PYTHON).await;
}

#[tokio::test]
async fn the_node_client_watches_and_reconnects() {
    watches_and_reconnects(NODE).await;
    needs_no_token_and_prints_errors(NODE).await;
}

#[tokio::test]
async fn the_page_in_chromium_watches_and_reconnects() {
    watches_and_reconnects(CHROMIUM).await;
    needs_no_token_and_prints_errors(CHROMIUM).await;
}

#[tokio::test]
async fn curl_in_a_loop_watches_and_reconnects() {
    watches_and_reconnects(CURL).await;
    needs_no_token_and_prints_errors(CURL).await;
}
