//! The subcommands of the binary, and their exit codes.

use std::{ffi::OsString, io::Write as _, process::ExitCode, time::Duration};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::{
    admin,
    app::{self, App, Drain, StartError},
    clock::Clock,
    doctor::{self, Fault},
    graph,
    settings::{Cli, Command, Settings, log_format, unknown_variables, without_secrets},
    store::OpenError,
    tasks::EndedTask,
    telemetry::{LogFormat, init_logs, log_fatal},
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
        Command::Openapi => print_openapi(settings),
    }
}

/// Checks the environment, starts the log, and runs a subcommand on the main runtime.
fn block_on(settings: &Settings, subcommand: impl Future<Output = ExitCode>) -> ExitCode {
    let unknown = match unknown_variables(std::env::vars_os()) {
        Ok(unknown) => unknown,
        Err(error) => return fail(settings, EXIT_SETTINGS, &error.to_string()),
    };
    if let Err(error) = init_logs(settings.log_format, &settings.log) {
        return fail(settings, EXIT_SETTINGS, &format!("--log {}: {error}", settings.log));
    }
    for variable in unknown {
        warn!(variable, "unknown environment variable, which has no effect");
    }
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(settings, EXIT_FAILURE, &format!("cannot start: {error}")),
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
        Err(error) => return fail(settings, EXIT_FAILURE, &format!("cannot listen for signals: {error}")),
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
        Err(error) => return refuse_start(settings, &error),
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
    match app.stop(drain_timeout, second_signal).await {
        // A client that is too slow is no failure of the service.
        Drain::Complete | Drain::TimedOut if !failed => 0,
        _ => EXIT_FAILURE,
    }
}

async fn migrate(settings: &Settings, distribute: bool, shards: Option<u32>) -> ExitCode {
    if let Err(error) = settings.check_database() {
        return fail(settings, EXIT_SETTINGS, &error);
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
        Err(error) => refuse_start(settings, &StartError::Database(error)),
    }
}

async fn healthcheck(settings: &Settings) -> ExitCode {
    match admin::healthcheck(settings.admin_addr).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(settings, EXIT_FAILURE, &format!("healthcheck at {}: {error}", settings.admin_addr))
        }
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

fn print_openapi(settings: &Settings) -> ExitCode {
    match graph::document().to_pretty_json() {
        Ok(document) => print(&(document + "\n")),
        Err(error) => fail(settings, EXIT_FAILURE, &error.to_string()),
    }
}

/// Prints the output of a subcommand.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

/// Reports an error in the form of the log, at every log level, and returns the exit code.
fn fail(settings: &Settings, code: u8, error: &str) -> ExitCode {
    log_fatal(settings.log_format, code, error);
    ExitCode::from(code)
}

/// Reports invalid arguments in the log format that they name, or prints the help if they ask for it.
#[must_use]
pub fn refuse_arguments(arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // The help goes to standard output.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let safe = without_secrets(&text);
    match log_format(arguments) {
        LogFormat::Json => {
            // The usage follows the error.
            let message = safe.split("\n\n").next().unwrap_or_default();
            let message =
                message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
            log_fatal(LogFormat::Json, EXIT_SETTINGS, &message);
        }
        // clap prints colours.
        LogFormat::Human if safe == text => drop(error.print()),
        LogFormat::Human => drop(std::io::stderr().write_all(safe.as_bytes())),
    }
    ExitCode::from(EXIT_SETTINGS)
}

/// Reports the reason why the service could not start, and what to do about a database.
fn refuse_start(settings: &Settings, error: &StartError) -> ExitCode {
    let code = match error {
        StartError::Settings(_) | StartError::Database(OpenError::Url(_)) => EXIT_SETTINGS,
        StartError::Database(OpenError::Unreachable { .. } | OpenError::Incompatible(_)) => EXIT_DATABASE,
        StartError::System(_) => EXIT_FAILURE,
    };
    match error {
        StartError::Database(cause) => {
            fail(settings, code, &format!("{error}; {}", doctor::advice(settings, cause)))
        }
        _ => fail(settings, code, &error.to_string()),
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
