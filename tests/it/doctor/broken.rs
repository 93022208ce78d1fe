//! Broken settings, keys, ports, and limits.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread,
};

use jsonwebtoken::Algorithm;
use tempfile::TempDir;

use super::{AROUND, FIXED, assert_prints, assert_says, doctor};
use crate::{
    cli::run,
    support::{
        process::{binary, nobody, without_settings},
        tokens::{FLAGS, Signer, key_set},
    },
};

const MEMORY: &str = "sqlite::memory:";

#[test]
fn of_several_faults_the_first_decides_the_exit_code_and_all_are_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nobody = nobody();
    let url = format!("postgres://me:hunter2@{nobody}/presence");
    let database = format!(
        "FAIL  database: PostgreSQL at {nobody}, database presence: nobody listens there: Connection refused (os error …)"
    );
    let port = format!("FAIL  --http-addr: {taken} is taken by something else");
    let mut lines = vec![
        "ok    settings: they go together",
        &database,
        "      start the database, or check the host and the port in --database-url",
    ];
    lines.extend(AROUND);
    lines[6] = &port;
    lines.insert(7, "      stop what listens there (`ss -ltnp` shows it), or give another --http-addr");
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
    let settings =
        "FAIL  settings: --jwks-file has no effect while nobody is authenticated: give --auth jwt, too";
    assert_says(&output, 64, &[settings, "      change the settings as it says", &database]);
    assert_says(
        &doctor("mysql://db/presence", &[]),
        64,
        &["FAIL  database: invalid database URL: it must begin with …"],
    );
}

#[test]
fn addresses_that_are_in_the_way_of_one_another_are_told() {
    let free = nobody();
    let output = run(&["doctor", "--database-url", MEMORY, "--grpc-addr", &free, "--http-addr", &free]);
    let line = format!("FAIL  --http-addr: {free} is in the way of --grpc-addr");
    assert_says(&output, 64, &[&line, "      give another --http-addr"]);
}

#[test]
fn keys_that_let_nobody_in_are_told() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys.json");
    let path = file.to_str().unwrap();
    let check = || doctor(MEMORY, &[&FLAGS[..], &["--jwks-file", path]].concat());
    let missing =
        format!("FAIL  keys: --jwks-file {path}: cannot read {path}: No such file or directory (os error 2)");
    assert_says(&check(), 64, &[&missing, "      give a JSON Web Key Set that the service may read; …"]);
    fs::write(&file, "<html>").unwrap();
    let nonsense = format!("FAIL  keys: --jwks-file {path}: not a JSON Web Key Set …");
    assert_says(&check(), 64, &[&nonsense]);
    fs::write(&file, r#"{"keys":[]}"#).unwrap();
    let none = format!("FAIL  keys: --jwks-file {path} holds no key that can be used: nobody is let in");
    assert_says(&check(), 70, &[&none, "      give keys of the kinds in docs/authentication.md"]);
}

#[test]
fn keys_at_a_url_are_fetched() {
    let nobody = nobody();
    let check = |address: &str| {
        doctor(MEMORY, &[&FLAGS[..], &["--jwks-url", &format!("http://{address}/keys?secret")]].concat())
    };
    let line = format!("FAIL  keys: --jwks-url http://{nobody}/keys?…: cannot fetch the key set: …");
    assert_says(&check(&nobody), 70, &[&line]);

    let issuer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = issuer.local_addr().unwrap().to_string();
    let keys = key_set(&[&Signer::new(Algorithm::ES256, "a"), &Signer::new(Algorithm::EdDSA, "b")]);
    let answered = thread::spawn(move || {
        let (mut stream, _) = issuer.accept().unwrap();
        assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len()).unwrap();
    });
    let line = format!("ok    keys: --jwks-url http://{address}/keys?… holds 2 keys");
    assert_says(&check(&address), 0, &[&line]);
    answered.join().unwrap();
}

#[test]
fn too_few_files_are_warned_of() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 1000 && exec \"$@\"", "sh"]).arg(binary());
    let output =
        without_settings(limited).args(&FIXED[..7]).args(["--database-url", MEMORY]).output().unwrap();
    assert_says(
        &output,
        0,
        &[
            "warn  files: 1000 open files are room for 244 connections to each API, not for 10000",
            "      raise the limit (ulimit -n, LimitNOFILE=) to 20512, or give fewer --connections-max",
            "warn  database: SQLite in memory: all that is kept ends with the service",
        ],
    );
}

#[test]
fn apis_that_are_open_to_strangers_are_warned_of() {
    let open = ["doctor", "--database-url", MEMORY, "--http-addr", "0.0.0.0:0", "--grpc-addr", "127.0.0.1:0"];
    assert_says(
        &run(&[&open[..], &["--admin-addr", "127.0.0.1:0", "--allow-insecure"]].concat()),
        0,
        &[
            "warn  callers: nobody is authenticated: whoever can connect can read and change every presence",
            "warn  tls: calls and tokens travel unencrypted",
        ],
    );
    assert_says(
        &run(&open),
        64,
        &["FAIL  settings: --http-addr 0.0.0.0:0 can be reached from other machines, …"],
    );
}
