//! The files in `deploy/`, `Dockerfile` and `docker-compose.yml` name existing settings and
//! files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use presenced::settings::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below the folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The path and text of each file for deployment.
fn deployed() -> Vec<(String, String)> {
    let mut found = ["Dockerfile", "docker-compose.yml"].map(|name| root().join(name)).to_vec();
    files(&root().join("deploy"), &mut found);
    let texts = found.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().display().to_string(), text)
    });
    texts.collect()
}

#[test]
fn every_deployed_setting_exists() {
    let command = Cli::command();
    let variables = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    let variables: BTreeSet<&str> = variables.collect();
    let mut checked = 0;
    for (path, text) in deployed() {
        for word in text.split(|character: char| !(character.is_ascii_uppercase() || character == '_')) {
            if word.starts_with("PRESENCE_") {
                assert!(variables.contains(word), "{path}: there is no setting {word}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn every_mounted_file_exists() {
    let compose = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let mounts: Vec<&str> = mounts.map(|mount| mount.split(':').next().unwrap()).collect();
    assert!(mounts.len() >= 4, "{mounts:?}");
    for mount in mounts {
        assert!(root().join(mount).exists(), "{mount}");
    }
}

/// Every supervisor waits before it kills the service: for longer than the drain timeout,
/// and the time before the signal.
#[test]
fn supervisors_kill_the_service_only_after_its_drain_timeout() {
    let command = Cli::command();
    let drain =
        command.get_arguments().find(|argument| argument.get_long() == Some("drain-timeout")).unwrap();
    let drain = seconds(drain.get_default_values()[0].to_str().unwrap());
    let number = |file: &str, before: &str| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        seconds(text.split_once(before).unwrap_or_else(|| panic!("no {before} in {file}")).1)
    };
    let service = "# Longer than --drain-timeout.\n    stop_grace_period: ";
    assert!(number("docker-compose.yml", service) > drain);
    assert!(number("deploy/systemd/presenced.service", "TimeoutStopSec=") > drain);
    let deployment = "deploy/kubernetes/deployment.yaml";
    let drain = number("deploy/kubernetes/kustomization.yaml", "PRESENCE_DRAIN_TIMEOUT=");
    let before = number(deployment, "command: [sleep, \"");
    assert!(number(deployment, "terminationGracePeriodSeconds: ") > before + drain);
}

/// The number of seconds at the beginning of the text.
fn seconds(text: &str) -> u32 {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap()
}
