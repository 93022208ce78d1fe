//! The clients of `docs/clients.md`, which call two replicas, while these are killed in turn.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

use super::{
    FOLDER,
    running::{Running, make_stubs, shell},
};
use crate::{
    csharp,
    support::{
        database::{Engine, TestDatabase},
        metrics,
        process::Process,
        wait::eventually,
    },
};

/// A client: its commands. `$0` is the project's folder, and `$MODULES` has the packages of Node.
struct Client {
    /// A shell command that prepares the folder in which the client runs.
    prepare: &'static str,
    /// A shell command, whose argument is the addresses of the replicas.
    command: &'static str,
}

const GO: Client = Client {
    prepare: "cp \"$0\"/docs/clients/go/* \"$0/docs/clients/service-config.json\" . && buf generate && \
              go build -o client .",
    command: "exec ./client \"$@\"",
};

const JAVA: Client = Client {
    prepare: "cp -r \"$0\"/docs/clients/java/* \"$0/docs/clients/service-config.json\" . && \
              mvn --quiet --batch-mode compile dependency:copy-dependencies",
    command: "exec java -cp 'target/classes:target/dependency/*' Client \"$@\"",
};

const PYTHON: Client = Client {
    prepare: "cp \"$0/docs/clients/client.py\" \"$0/docs/clients/service-config.json\" .",
    command: "exec python client.py \"$@\"",
};

const NODE: Client = Client {
    prepare: "cp \"$0/docs/clients/client.mjs\" \"$0/docs/clients/service-config.json\" . && \
              ln -s \"$MODULES\" node_modules",
    command: "exec node client.mjs \"$@\"",
};

const RUST: Client = Client {
    prepare: "cd \"$0\" && \"${CARGO:-cargo}\" build --locked --quiet --example client",
    command: "cd \"$0\" && exec \"${CARGO:-cargo}\" run --locked --quiet --example client -- \"$@\"",
};

/// Kills each replica twice with SIGKILL, and starts it again after a second. The client goes on.
async fn calls_through_kills(client: Client) {
    let (database, folder) = (TestDatabase::new(Engine::Postgres).await, TempDir::new().unwrap());
    make_stubs(folder.path()).await;
    let mut prepare = shell(client.prepare, folder.path());
    let output = prepare.env("MODULES", format!("{FOLDER}/javascript/node_modules")).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "scripts/test --all installs what this needs\n{text}");

    let mut replicas = [Process::start(&database.url, &[]).await, Process::start(&database.url, &[]).await];
    let mut command = shell(client.command, folder.path());
    command.arg(replicas.each_ref().map(|replica| replica.grpc.to_string()).join(","));
    let mut running = Running::start(command);
    running.prints("-- calls: ").await;
    for round in 0..4 {
        for replica in &replicas {
            is_called(replica).await;
        }
        let replica = &mut replicas[round % 2];
        let Process { grpc, http, .. } = *replica;
        replica.kill();
        running.prints("-- calls: ").await;
        sleep(Duration::from_secs(1)).await;
        *replica = Process::start_at(grpc, http, &database.url, &[]).await;
    }
    running.prints("-- calls: ").await;
    running.enter().await;
    let ended = running.prints("-- ended: ").await;
    println!("4 kills: {ended}");
    assert!(ended.ends_with(" 0 failed"), "{}", running.output());
    running.ends(true).await;
}

/// Waits until the client uses the replica. By turns, one replica gets all sets, and another all gets.
async fn is_called(replica: &Process) {
    let called = async || {
        let calls = ["set_presence", "get_presence"]
            .map(|name| format!(r#"presence_requests_total{{operation="{name}",api="grpc",code="OK"}}"#));
        metrics::value(replica.admin, &calls[0]).await + metrics::value(replica.admin, &calls[1]).await > 0.0
    };
    eventually("the client calls the replica", called).await;
}

#[tokio::test]
async fn the_go_client_loses_no_call_when_replicas_are_killed() {
    calls_through_kills(GO).await;
}

#[tokio::test]
async fn the_java_client_loses_no_call_when_replicas_are_killed() {
    calls_through_kills(JAVA).await;
}

#[tokio::test]
async fn the_python_client_loses_no_call_when_replicas_are_killed() {
    calls_through_kills(PYTHON).await;
}

#[tokio::test]
async fn the_node_client_loses_no_call_when_replicas_are_killed() {
    calls_through_kills(NODE).await;
}

#[tokio::test]
async fn the_rust_client_loses_no_call_when_replicas_are_killed() {
    calls_through_kills(RUST).await;
}

/// Run where .NET is installed. Elsewhere only the client's names are checked.
#[tokio::test]
async fn the_csharp_client_loses_no_call_when_replicas_are_killed() {
    csharp::check(&csharp::text_of("docs/clients/dotnet/Client.cs"));
    if Command::new("dotnet").arg("--version").output().await.is_err() {
        println!("no .NET: only the names were checked");
        return;
    }
    let client = Client {
        prepare: "cp \"$0\"/docs/clients/dotnet/* . && exec dotnet build --nologo",
        command: "exec dotnet run --no-build -- \"$@\"",
    };
    calls_through_kills(client).await;
}

/// The retries of the C# client, which reads no service config, are those of the other clients.
#[test]
fn the_csharp_client_has_the_service_config_of_the_others() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients");
    let config = fs::read_to_string(docs.join("service-config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let retry = &config["methodConfig"][0]["retryPolicy"];
    let client = csharp::text_of("docs/clients/dotnet/Client.cs");
    let seconds = |name: &str| retry[name].as_str().unwrap().trim_end_matches('s').to_owned();
    for expected in [
        format!("MaxAttempts = {},", retry["maxAttempts"]),
        format!("InitialBackoff = TimeSpan.FromSeconds({}),", seconds("initialBackoff")),
        format!("MaxBackoff = TimeSpan.FromSeconds({}),", seconds("maxBackoff")),
        format!("BackoffMultiplier = {},", retry["backoffMultiplier"]),
    ] {
        assert!(client.contains(&expected), "{expected}");
    }
    let codes = retry["retryableStatusCodes"].as_array().unwrap();
    assert_eq!(client.matches("StatusCode.").count(), codes.len());
    for code in codes {
        let code = code.as_str().unwrap().replace('_', "").to_lowercase();
        assert!(client.to_lowercase().contains(&format!("statuscode.{code}")), "{code}");
    }
}
