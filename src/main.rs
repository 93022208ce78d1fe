//! The `presenced` binary: reads the command line, runs a subcommand, and exits with its
//! code.

use std::process::ExitCode;

use presenced::{commands, settings::Cli};

/// A request makes dozens of allocations. The system's allocator would take a tenth of
/// its time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(cli) => commands::run(&cli),
        Err(error) => {
            // The help goes to standard output, an error to standard error.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(commands::EXIT_SETTINGS) } else { ExitCode::SUCCESS }
        }
    }
}
