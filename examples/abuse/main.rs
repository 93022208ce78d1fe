//! Attacks a release build with a healthy client beside it, and tells what that
//! client feels: `scripts/abuse` builds both and runs this.
//!
//! Each attack runs twice in turn, against the service and against a sink that
//! reads and throws away: attacker, service and client share the same cores, so
//! the sink tells what the attacker's own work costs the client. The attacks are
//! paced: they do the same work whatever the other side makes of it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool may fail, and prints what it found"
)]

mod attack;
mod client;
mod report;
#[path = "../support/service.rs"]
mod service;

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

/// For how long each attack goes on, unless `ABUSE_SECONDS` says otherwise.
const SECONDS: u64 = 8;
/// How often each is repeated, unless `ABUSE_ROUNDS` says otherwise. Which ones,
/// if not all, says `ABUSE_ATTACKS`.
const ROUNDS: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["attack", kind, address, seconds] => {
            let address: SocketAddr = address.parse().unwrap();
            attack::run(kind, address, Duration::from_secs(seconds.parse().unwrap()));
        }
        ["sink"] => attack::sink(),
        ["run", binary] => {
            report::run(binary, number("ABUSE_SECONDS", SECONDS), number("ABUSE_ROUNDS", ROUNDS));
        }
        _ => {
            println!("usage: abuse run PRESENCED");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}
