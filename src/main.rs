//! The `presenced` binary: reads the command line, runs a subcommand, and exits with its
//! code.

use std::process::ExitCode;

use presenced::{commands, settings::Cli};

/// A request makes dozens of allocations. The system's allocator would take a tenth of
/// its time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match Cli::read(arguments.iter().cloned()) {
        Ok(cli) => commands::run(&cli),
        Err(error) => commands::refuse_arguments(&arguments, &error),
    }
}
