//! Errors with which a command ends: their text, their format, and no part of a password in them.

use serde_json::Value;

use crate::{
    cli::run,
    support::process::{command, unused_address},
};

/// Runs the binary. Returns the exit code, and everything that it wrote.
fn outcome(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Parts of a password, on both sides of a character that a URL must encode.
const LEFT: &str = "tr0ub4";
const RIGHT: &str = "d0r3x";

#[test]
fn a_password_that_is_not_percent_encoded_is_refused_and_no_part_of_it_is_shown() {
    for character in ["@", "/", "#", "?", "@/", "/@", "#?@"] {
        let url = format!("postgres://me:{LEFT}{character}{RIGHT}@127.0.0.1:1/presence");
        let good = "postgres://me:good@127.0.0.1:1/presence";
        let through = ["--postgres-pgbouncer", "--database-url", good];
        for (flag, others) in [
            ("--database-url", &[][..]),
            ("--database-direct-url", &through),
            ("--database-read-url", &["--database-url", good]),
        ] {
            for subcommand in ["serve", "migrate", "doctor"] {
                let (code, text) = outcome(&[&[subcommand, flag, &url], others].concat());
                assert_eq!(code, Some(64), "{subcommand} {flag} {character}: {text}");
                assert!(text.contains(flag) && text.contains("percent-encode"), "{subcommand}: {text}");
                assert!(!text.contains(LEFT) && !text.contains(RIGHT), "{subcommand} {flag}: {text}");
            }
            let (_, text) = outcome(&["--print-config", flag, &url]);
            assert!(!text.contains(LEFT) && !text.contains(RIGHT), "{flag}: {text}");
        }
    }
}

#[test]
fn no_error_shows_a_password_in_another_setting_or_argument() {
    let secret = format!("{LEFT}{RIGHT}");
    let jwt = ["--auth", "jwt", "--jwt-issuer", "i", "--jwt-audience", "a", "--jwks-url"];
    for arguments in [
        vec!["--otlp-endpoint".to_owned(), format!("http://me:{secret}@collector:4317")],
        vec!["--otlp-endpoint".to_owned(), format!("http://collector:4317/?key={secret}")],
        [&jwt.map(str::to_owned)[..], &[format!("http://me:{secret}@issuer/keys")]].concat(),
        [&jwt.map(str::to_owned)[..], &[format!("https://me:{secret}/x@:1")]].concat(),
        [&jwt.map(str::to_owned)[..], &[format!("http://{secret}@issuer/keys?code={secret}")]].concat(),
        vec![format!("postgres://me:{secret}@db/presence")],
        vec!["--database-url".to_owned(), format!("host=db user=me password={secret}")],
        vec!["--database-read-url".to_owned(), format!("host=db user=me password={secret}")],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        for format in ["human", "json"] {
            let (code, text) = outcome(&[&arguments[..], &["--log-format", format]].concat());
            assert_eq!(code, Some(64), "{arguments:?}: {text}");
            assert!(!text.contains(&secret), "{text}");
        }
        let (_, text) = outcome(&[&["--print-config"], &arguments[..]].concat());
        assert!(!text.contains(&secret), "{text}");
    }
}

#[test]
fn fatal_errors_are_json_with_the_json_format() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let unused = unused_address();
    let unreachable = format!("postgres://me@{unused}/presence");
    for (code, arguments) in [
        (64, &["--nonsense"][..]),
        (64, &["nonsense"]),
        (64, &["--grpc-addr", "nonsense"]),
        (64, &["--auth", "jwt"]),
        (64, &["--log", "verbose"]),
        (64, &["--database-url", "mysql://db/presence"]),
        (64, &["migrate", "--database-url", "mysql://db/presence"]),
        (69, &["--database-url", &unreachable]),
        (69, &["migrate", "--database-url", &unreachable]),
        (70, &["healthcheck", "--admin-addr", &unused]),
    ] {
        for level in ["off", "info"] {
            let mut arguments = [arguments, &["--log-format", "json"]].concat();
            if !arguments.contains(&"--log") {
                arguments.extend(["--log", level]);
            }
            is_json(code, &run(&arguments));
        }
    }
    is_json(64, &command().args(["--nonsense", "--log-format=json"]).output().unwrap());
    for (variable, value) in [("PRESENCE_AUTHH", "jwt"), ("PRESENCE_WORKERS", "0")] {
        is_json(64, &command().env("PRESENCE_LOG_FORMAT", "json").env(variable, value).output().unwrap());
    }
    drop(taken);
}

/// Asserts that each line is a JSON object, and that one is the error with this exit code.
#[track_caller]
fn is_json(code: u8, output: &std::process::Output) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code.into()), "{text}");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line:?}"));
    let lines: Vec<Value> = text.lines().map(parse).collect();
    let fatal = lines.iter().find(|line| line["exit_code"] == code).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(fatal["level"], "ERROR");
    assert!(fatal["timestamp"].is_string() && !fatal["message"].as_str().unwrap().is_empty(), "{fatal}");
}

#[test]
fn all_missing_settings_are_named_at_once() {
    for (arguments, named) in [
        (&["--auth", "jwt"][..], &["--jwks-url or --jwks-file", "--jwt-issuer", "--jwt-audience"][..]),
        (&["--jwt-issuer", "a", "--require-application"], &["--jwt-issuer", "--require-application"]),
        (
            &["--tls-key", "k", "--postgres-pgbouncer", "--grpc-addr", "0.0.0.0:1"],
            &["--tls-cert", "--database-direct-url", "--database-url sqlite", "--allow-insecure"],
        ),
    ] {
        let (code, text) = outcome(arguments);
        assert_eq!(code, Some(64), "{text}");
        let missing: Vec<_> = named.iter().filter(|name| !text.contains(**name)).collect();
        assert!(missing.is_empty(), "not named: {missing:?} in {text}");
        let errors = text.lines().filter(|line| line.starts_with("presenced: ")).count();
        assert_eq!(errors, named.len(), "{text}");
        let (_, findings) = outcome(&[&["doctor"], arguments].concat());
        assert!(named.iter().all(|name| findings.contains(*name)), "{findings}");
    }
}

#[test]
fn an_unusable_database_comes_with_the_remedy_of_the_doctor() {
    let refused = format!("postgres://me@{}/presence", unused_address());
    for (url, remedy) in [
        (refused.as_str(), "start the database, or check the host and the port in --database-url"),
        (
            "postgres://me@nowhere.invalid/presence",
            "check the host in --database-url, and this machine's DNS",
        ),
    ] {
        for subcommand in ["serve", "migrate"] {
            let (code, text) = outcome(&[subcommand, "--database-url", url]);
            assert_eq!(code, Some(69), "{text}");
            assert!(text.contains(remedy) && text.contains("`presenced doctor`"), "{text}");
        }
        let (_, findings) = outcome(&["doctor", "--database-url", url]);
        assert!(findings.contains(remedy), "{findings}");
    }
}
