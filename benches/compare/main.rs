//! What the service does in a second, beside what it stands on: `scripts/bench`
//! builds both and runs this.
//!
//! All that is compared runs in one process after the other, in turn, several
//! times over: the machine may be shared, so the ratios of one round are what
//! counts, and the median of them.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool may fail, and prints what it found"
)]

mod growth;
mod postgres;
mod reference;
#[path = "../../examples/support/service.rs"]
mod service;
mod subject;
mod table;
mod watch;

use std::{env, process::ExitCode};

/// The binary that is measured.
const PRESENCED: &str = env!("CARGO_BIN_EXE_presenced");

fn main() -> ExitCode {
    // cargo adds one of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => table::run(&table::FULL),
        ["--quick"] => table::run(&table::QUICK),
        ["growth"] => growth::rows(),
        ["refreshes"] => growth::refreshes(),
        ["soak"] => growth::soak(),
        ["watch", ref rest @ ..] if watch::run(rest) => {}
        ["bare-tonic"] => reference::bare_tonic(),
        _ => {
            println!("usage: scripts/bench [--quick | growth | refreshes | soak | watch [--quick | PART]]");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}
