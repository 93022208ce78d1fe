//! Invalid settings, keys, addresses and limits.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread,
};

use jsonwebtoken::Algorithm;
use tempfile::TempDir;

use super::{AROUND, FIXED, assert_contains, assert_prints, doctor};
use crate::{
    cli::run,
    support::{
        process::{binary, unused_address, without_settings},
        tokens::{FLAGS, Signer, key_set},
    },
};

const MEMORY: &str = "sqlite::memory:";

#[test]
fn all_faults_are_printed_and_the_first_decides_the_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let unused = unused_address();
    let url = format!("postgres://me:hunter2@{unused}/presence");
    let database = format!(
        "FAIL  database: PostgreSQL at {unused}, database presence: no server listens there: Connection refused (os error …)"
    );
    let port = format!("FAIL  --http-addr: {taken} is in use by another process");
    let mut lines = vec![
        "ok    settings: valid",
        &database,
        "      start the database, or check the host and the port in --database-url",
    ];
    lines.extend(AROUND);
    lines[6] = &port;
    lines.insert(7, "      stop that process (`ss -ltnp` shows it), or give another address in --http-addr");
    let output = run(&[
        "doctor",
        "--database-url",
        &url,
        "--http-addr",
        &taken,
        "--connections-max=100",
        "--grpc-addr=127.0.0.1:0",
        "--admin-addr=127.0.0.1:0",
    ]);
    assert_prints(&output, 69, &lines);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));

    let output = doctor(&url, &["--jwks-file", "a"]);
    let settings = "FAIL  settings: --jwks-file has no effect because callers are not authenticated: give --auth jwt, too";
    assert_contains(&output, 64, &[settings, "      change the settings", &database]);
    assert_contains(
        &doctor("mysql://db/presence", &[]),
        64,
        &["FAIL  database: invalid database URL: it must begin with …"],
    );
}

#[test]
fn conflicting_addresses_fail() {
    let free = unused_address();
    let output = run(&["doctor", "--database-url", MEMORY, "--grpc-addr", &free, "--http-addr", &free]);
    let line = format!("FAIL  --http-addr: {free} conflicts with --grpc-addr");
    assert_contains(&output, 64, &[&line, "      give another address in --http-addr"]);
}

#[test]
fn missing_and_unusable_keys_fail() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys.json");
    let path = file.to_str().unwrap();
    let check = || doctor(MEMORY, &[&FLAGS[..], &["--jwks-file", path]].concat());
    let missing =
        format!("FAIL  keys: --jwks-file {path}: cannot read {path}: No such file or directory (os error 2)");
    assert_contains(&check(), 64, &[&missing, "      give a readable JSON Web Key Set; …"]);
    fs::write(&file, "<html>").unwrap();
    let nonsense = format!("FAIL  keys: --jwks-file {path}: not a JSON Web Key Set …");
    assert_contains(&check(), 64, &[&nonsense]);
    fs::write(&file, r#"{"keys":[]}"#).unwrap();
    let none = format!("FAIL  keys: --jwks-file {path} contains no usable key: all callers are refused");
    assert_contains(
        &check(),
        70,
        &[&none, "      give keys of a supported type; docs/authentication.md lists them"],
    );
}

#[test]
fn keys_at_a_url_are_fetched() {
    let unused = unused_address();
    let check = |address: &str| {
        doctor(MEMORY, &[&FLAGS[..], &["--jwks-url", &format!("http://{address}/keys?secret")]].concat())
    };
    let line = format!("FAIL  keys: --jwks-url http://{unused}/keys?…: cannot fetch the key set: …");
    assert_contains(&check(&unused), 70, &[&line]);

    let issuer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = issuer.local_addr().unwrap().to_string();
    let keys = key_set(&[&Signer::new(Algorithm::ES256, "a"), &Signer::new(Algorithm::EdDSA, "b")]);
    let served = thread::spawn(move || {
        let (mut stream, _) = issuer.accept().unwrap();
        assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len()).unwrap();
    });
    let line = format!("ok    keys: --jwks-url http://{address}/keys?… contains 2 keys");
    assert_contains(&check(&address), 0, &[&line]);
    served.join().unwrap();
}

#[test]
fn a_low_limit_of_open_files_is_a_warning() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 1000 && exec \"$@\"", "sh"]).arg(binary());
    let output =
        without_settings(limited).args(&FIXED[..7]).args(["--database-url", MEMORY]).output().unwrap();
    assert_contains(
        &output,
        0,
        &[
            "warn  files: 1000 open files suffice for 244 connections to each API, not for 10000",
            "      raise the limit (ulimit -n, LimitNOFILE=) to 20512, or lower --connections-max",
            "warn  database: SQLite in memory: all sessions are lost when the service stops",
        ],
    );
}

#[test]
fn unprotected_apis_are_a_warning() {
    let open = ["doctor", "--database-url", MEMORY, "--http-addr", "0.0.0.0:0", "--grpc-addr", "127.0.0.1:0"];
    assert_contains(
        &run(&[&open[..], &["--admin-addr", "127.0.0.1:0", "--allow-insecure"]].concat()),
        0,
        &[
            "warn  callers: not authenticated: any client that can connect can read and change every presence",
            "warn  tls: off: requests and tokens are unencrypted",
        ],
    );
    assert_contains(
        &run(&open),
        64,
        &["FAIL  settings: --http-addr 0.0.0.0:0 is reachable from other machines, …"],
    );
}
