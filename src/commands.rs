//! The subcommands of the binary, and their exit codes.

use std::{io::Write as _, process::ExitCode, time::Duration};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::{
    admin,
    app::{self, App, StartError},
    clock::Clock,
    doctor::{self, Fault},
    graph,
    settings::{Cli, Command, Settings, unknown_variables},
    store::OpenError,
    tasks::EndedTask,
    telemetry::{LogFormat, init_logs},
};

/// Exit code: the settings are invalid.
pub const EXIT_SETTINGS: u8 = 64;
/// Exit code: the database is unreachable or incompatible.
pub const EXIT_DATABASE: u8 = 69;
/// Exit code: any other failure.
pub const EXIT_FAILURE: u8 = 70;

/// Runs the subcommand, and returns its exit code.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let settings = &cli.settings;
    if cli.print_config {
        return print(&cli.effective_settings);
    }
    match cli.command.as_ref().unwrap_or(&Command::Serve) {
        Command::Serve => block_on(settings, serve(settings)),
        Command::Migrate { distribute, shards } => {
            block_on(settings, migrate(settings, *distribute, *shards))
        }
        Command::Healthcheck => block_on(settings, healthcheck(settings)),
        Command::Doctor => block_on(settings, examine(settings)),
        Command::Openapi => print_openapi(),
    }
}

/// Checks the environment, starts the log, and runs a subcommand on the main runtime.
fn block_on(settings: &Settings, subcommand: impl Future<Output = ExitCode>) -> ExitCode {
    let unknown = match unknown_variables(std::env::vars_os()) {
        Ok(unknown) => unknown,
        Err(error) => return fail(EXIT_SETTINGS, &error.to_string()),
    };
    if let Err(error) = init_logs(settings.log_format, &settings.log) {
        return fail(EXIT_SETTINGS, &format!("--log {}: {error}", settings.log));
    }
    for variable in unknown {
        warn!(variable, "unknown environment variable, which has no effect");
    }
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot start: {error}")),
    };
    let code = runtime.block_on(subcommand);
    // A DNS lookup that is under way must not delay the exit.
    runtime.shutdown_background();
    code
}

async fn serve(settings: &Settings) -> ExitCode {
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot listen for signals: {error}")),
    };
    let started = tokio::select! {
        started = App::start(settings, Clock::new()) => started,
        signal = signals.next() => {
            info!(signal, "stopped during start");
            return ExitCode::SUCCESS;
        }
    };
    let app = match started {
        Ok(app) => app,
        Err(error) => return fail(start_code(&error), &error.to_string()),
    };
    ExitCode::from(run_until_stopped(app, settings.drain_timeout, async || signals.next().await).await)
}

/// Serves until a signal or the end of a background task, drains, and returns the exit code.
/// `next_signal` waits for a signal and returns its name; a second one ends the service at once.
pub async fn run_until_stopped(
    app: App,
    drain_timeout: Duration,
    mut next_signal: impl AsyncFnMut() -> &'static str,
) -> u8 {
    let failed = tokio::select! {
        signal = next_signal() => {
            info!(signal, ?drain_timeout, "stopping");
            false
        }
        EndedTask { name, panic } = app.task_ended() => {
            error!(task = name, panic, ?drain_timeout, "a background task ended unexpectedly, stopping");
            true
        }
    };
    let second_signal = async {
        // Outside of the macro, which does not evaluate its fields if the level is off.
        let signal = next_signal().await;
        info!(signal, "stopping at once");
    };
    let drained = app.stop(drain_timeout, second_signal).await;
    if drained && !failed { 0 } else { EXIT_FAILURE }
}

async fn migrate(settings: &Settings, distribute: bool, shards: Option<u32>) -> ExitCode {
    if let Err(error) = settings.check_database() {
        return fail(EXIT_SETTINGS, &error);
    }
    let migrated = async {
        let database = app::connect(settings).await?;
        database.migrate().await?;
        if distribute {
            let shards = database.distribute(shards).await?;
            info!(shards, "tables distributed");
        }
        database.check().await?;
        info!(store = database.describe(), "database migrated");
        Ok(())
    };
    match migrated.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(open_code(&error), &error.to_string()),
    }
}

async fn healthcheck(settings: &Settings) -> ExitCode {
    match admin::healthcheck(settings.admin_addr).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILURE, &format!("healthcheck at {}: {error}", settings.admin_addr)),
    }
}

/// Prints the findings of the doctor. The exit code is that of the fault to mend first.
async fn examine(settings: &Settings) -> ExitCode {
    let report = doctor::examine(settings, &Clock::new()).await;
    let text = match settings.log_format {
        LogFormat::Human => report.to_string(),
        LogFormat::Json => report.to_json(),
    };
    match (print(&text), report.fault()) {
        (code, None) => code,
        (_, Some(Fault::Settings)) => ExitCode::from(EXIT_SETTINGS),
        (_, Some(Fault::Database)) => ExitCode::from(EXIT_DATABASE),
        (_, Some(Fault::Other)) => ExitCode::from(EXIT_FAILURE),
    }
}

fn print_openapi() -> ExitCode {
    match graph::document().to_pretty_json() {
        Ok(document) => print(&(document + "\n")),
        Err(error) => fail(EXIT_FAILURE, &error.to_string()),
    }
}

/// Prints the output of a subcommand.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

/// Prints the error to standard error, at every log level, and returns the exit code.
fn fail(code: u8, error: &str) -> ExitCode {
    // A closed standard error leaves no place to report to.
    let _ = writeln!(std::io::stderr(), "presenced: {error}");
    ExitCode::from(code)
}

const fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Settings(_) => EXIT_SETTINGS,
        StartError::Database(error) => open_code(error),
        StartError::System(_) => EXIT_FAILURE,
    }
}

const fn open_code(error: &OpenError) -> u8 {
    match error {
        OpenError::Url(_) => EXIT_SETTINGS,
        OpenError::Unreachable(_) | OpenError::Incompatible(_) => EXIT_DATABASE,
    }
}

/// The signals that stop the service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
