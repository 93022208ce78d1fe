//! The `presenced` binary: settings, logs, one function, an exit code.

use std::process::ExitCode;

use clap::Parser;
use presenced::{commands, settings::Cli};

/// A call allocates some dozens of times; the system's allocator takes a tenth of
/// its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => commands::run(&cli),
        Err(error) => {
            // To standard output for --help, to standard error for the rest.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(commands::EXIT_SETTINGS) } else { ExitCode::SUCCESS }
        }
    }
}
