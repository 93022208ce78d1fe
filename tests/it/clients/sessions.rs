//! The clients of `docs/holding.md`, which refresh or hold a session until Enter is pressed. The service
//! restarts meanwhile, and another caller takes the session.

use std::{env, fs};

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::running::{Running, make_stubs, shell};
use crate::{
    clients::FOLDER,
    csharp,
    support::{
        client::Api,
        process::Process,
        tokens::{self, APP, Signer},
    },
};

/// A client: its commands, and what it prints.
#[derive(Clone, Copy)]
struct Client {
    /// A shell command that prepares the folder in which the client runs. `$0` is the project's folder.
    prepare: &'static str,
    /// A shell command, whose arguments are `hold` or `refresh`, the user and the session.
    command: &'static str,
    api: Api,
    /// Printed when the token has expired.
    refused: &'static str,
    /// Printed when another caller has taken the held session.
    taken: &'static str,
    /// Printed when a refresh is older than what another caller has observed.
    stale: &'static str,
    /// The name of the invalid field, at the end of an error.
    field: &'static str,
}

const RUST: Client = Client {
    prepare: "true",
    command: "cd \"$0\" && exec \"${CARGO:-cargo}\" run --locked --quiet --example session -- \"$@\"",
    api: Api::Grpc,
    refused: "-- lost: ERROR_REASON_TOKEN_INVALID: ",
    taken: "-- failed: ERROR_REASON_SESSION_TAKEN: ",
    stale: "-- failed: ERROR_REASON_STALE_WRITE: ",
    field: " session_id",
};

const PYTHON: Client =
    Client { command: "PYTHONPATH=. exec python \"$0/docs/sessions/session.py\" \"$@\"", ..RUST };

/// Compiles the TypeScript client.
pub const COMPILE: &str = "cp \"$0\"/docs/sessions/*.mts . && \"$MODULES/.bin/tsc\" --strict --target es2022 \
     --module nodenext --typeRoots \"$MODULES/@types\" --types node session.mts node.mts";

const NODE: Client = Client {
    prepare: COMPILE,
    command: "exec node node.mjs \"$@\"",
    api: Api::Http,
    refused: "-- lost: InvalidAuthenticationToken: ",
    taken: "-- failed: NotFound: ",
    stale: "-- failed: PreconditionFailed: ",
    field: " sessionId",
};

/// A service with authentication, which can be restarted, and a client's folder with its token.
struct Service {
    process: Process,
    folder: TempDir,
    flags: Vec<String>,
    signer: Signer,
    client: Client,
}

impl Service {
    async fn start(client: Client) -> Self {
        let (signer, folder) = (Signer::new(Algorithm::EdDSA, "key"), TempDir::new().unwrap());
        let keys = folder.path().join("keys.json");
        fs::write(&keys, tokens::key_set(&[&signer])).unwrap();
        let flags = [&tokens::FLAGS[..], &["--jwks-file", keys.to_str().unwrap()]].concat();
        let process = Process::start(&database(&folder), &flags).await;
        let flags = flags.into_iter().map(ToOwned::to_owned).collect();
        let service = Self { process, folder, flags, signer, client };
        make_stubs(service.folder.path()).await;
        let mut prepare = shell(client.prepare, service.folder.path());
        let output =
            prepare.env("MODULES", format!("{FOLDER}/javascript/node_modules")).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "scripts/test --all installs what this needs\n{text}");
        service
    }

    /// Runs the client, whose token is valid until 2100 or has expired.
    fn run(&self, command: &str, session_id: &str, expired: bool) -> Running {
        self.write_token(expired);
        let Process { grpc, http, .. } = &self.process;
        let address = if self.client.api == Api::Grpc { grpc } else { http };
        let mut shell = shell(self.client.command, self.folder.path());
        shell.args([command, "ada", session_id]).env("PRESENCE_REFRESH", "1");
        shell.env("PRESENCE_ADDRESS", grpc.to_string()).env("PRESENCE_URL", format!("http://{address}"));
        shell.env("PRESENCE_TOKEN_FILE", self.folder.path().join("token"));
        Running::start(shell)
    }

    fn write_token(&self, expired: bool) {
        let expiry = if expired { 1_000_000_000_i64 } else { 4_102_444_800 };
        fs::write(self.folder.path().join("token"), self.token(expiry)).unwrap();
    }

    fn token(&self, expiry: i64) -> String {
        let mut claims = tokens::application(&["Presence.ReadWrite.All"]);
        (claims["nbf"], claims["exp"]) = (0.into(), expiry.into());
        self.signer.sign(&claims)
    }

    /// Stops the service, waits for the client to notice, and starts it again with the same database.
    async fn restart(&mut self, running: &mut Running) {
        self.process.signal("TERM");
        assert_eq!(self.process.wait().0, Some(0));
        running.prints("-- lost: ").await;
        let Process { grpc, http, .. } = self.process;
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.process = Process::start_at(grpc, http, &database(&self.folder), &flags).await;
    }

    /// Calls as another part of the application.
    async fn call(&self, method: Method, action: &str, body: &Value) -> Value {
        let url = format!("http://{}/v1.0/users/ada/presence{action}", self.process.http);
        let request = reqwest::Client::new().request(method, url).bearer_auth(self.token(4_102_444_800));
        let request = request.json(body);
        let mut retried = false;
        loop {
            let response = request.try_clone().unwrap().send().await.unwrap();
            let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
            match status {
                // The disk is busy with other work.
                503 => retried = true,
                // The first try cleared the session.
                404 if retried => return Value::Null,
                200 if body.is_empty() => return Value::Null,
                200 => return serde_json::from_str(&body).unwrap(),
                _ => panic!("{action}: {status} {body}"),
            }
        }
    }

    async fn activity(&self) -> String {
        self.call(Method::GET, "", &json!({})).await["activity"].as_str().unwrap().to_owned()
    }
}

fn database(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("presence.db").display())
}

async fn holds_until_its_end(client: Client) {
    let mut service = Service::start(client).await;
    let session = format!("{APP}:call-1");
    let mut running = service.run("hold", &session, true);
    running.prints(client.refused).await;
    service.write_token(false);
    running.prints("-- held until ").await;
    assert_eq!(service.activity().await, "InACall");
    service.restart(&mut running).await;
    assert_eq!(service.activity().await, "InACall", "the grace has not passed");
    running.prints("-- held until ").await;
    running.enter().await;
    running.prints("-- cleared").await;
    running.ends(true).await;
    assert_eq!(service.activity().await, "Offline");

    // Another caller sets the session.
    let mut running = service.run("hold", &session, false);
    running.prints("-- held until ").await;
    let set = json!({ "sessionId": session, "availability": "Away", "activity": "Away" });
    service.call(Method::POST, "/setPresence", &set).await;
    running.prints(client.taken).await;
    running.ends(false).await;
    assert_eq!(service.activity().await, "Away");

    let mut running = service.run("hold", "not an id", false);
    running.prints(client.field).await;
    running.ends(false).await;
}

async fn refreshes_until_its_end(client: Client) {
    let mut service = Service::start(client).await;
    let session = format!("{APP}:call-1");
    let mut running = service.run("refresh", &session, true);
    running.prints(client.refused).await;
    service.write_token(false);
    running.prints("-- set").await;
    running.prints("-- set").await;
    service.restart(&mut running).await;
    running.prints("-- set").await;
    assert_eq!(service.activity().await, "InACall");
    running.enter().await;
    running.prints("-- cleared").await;
    running.ends(true).await;
    assert_eq!(service.activity().await, "Offline");

    // Another caller clears the session, and no refresh opens it again.
    let mut running = service.run("refresh", &session, false);
    running.prints("-- set").await;
    service.call(Method::POST, "/clearPresence", &json!({ "sessionId": session })).await;
    running.prints(client.stale).await;
    running.ends(false).await;
    assert_eq!(service.activity().await, "Offline");
}

#[tokio::test]
async fn the_rust_client_holds_and_refreshes_a_session() {
    holds_until_its_end(RUST).await;
    refreshes_until_its_end(RUST).await;
}

#[tokio::test]
async fn the_python_client_holds_and_refreshes_a_session() {
    holds_until_its_end(PYTHON).await;
    refreshes_until_its_end(PYTHON).await;
}

#[tokio::test]
async fn the_typescript_client_holds_and_refreshes_a_session() {
    holds_until_its_end(NODE).await;
    refreshes_until_its_end(NODE).await;
}

/// Compiled where .NET is installed. `csharp` checks its names everywhere.
#[tokio::test]
async fn the_csharp_client_compiles() {
    csharp::check(&csharp::client());
    let Ok(version) = Command::new("dotnet").arg("--version").output().await else {
        println!("no .NET: only the names were checked");
        return;
    };
    let folder = TempDir::new().unwrap();
    let copy = "cp \"$0\"/docs/sessions/Session.cs* . && cp -r \"$0/proto\" . && exec dotnet build --nologo";
    let output = shell(copy, folder.path()).env("HOME", env::var("HOME").unwrap()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    println!("compiled by .NET {}", String::from_utf8_lossy(&version.stdout).trim());
}
