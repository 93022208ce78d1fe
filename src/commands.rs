//! The subcommands of the binary, and their exit codes.

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use clap::{CommandFactory, parser::ValueSource};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info};

use crate::{
    admin,
    app::{self, App, StartError},
    clock::Clock,
    doctor::{self, Fault},
    graph,
    settings::{Cli, Command, Secret, Settings},
    store::OpenError,
    telemetry::{LogFormat, init_logs},
};

/// Bad settings.
pub const EXIT_SETTINGS: u8 = 64;
/// The database can't be reached, or is incompatible.
pub const EXIT_DATABASE: u8 = 69;
/// Anything else.
pub const EXIT_FAILURE: u8 = 70;

/// Does what the command line says.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let settings = &cli.settings;
    if cli.print_config {
        return print_config();
    }
    if let Err(error) = init_logs(settings.log_format, &settings.log) {
        return refuse(EXIT_SETTINGS, &format!("--log {}: {error}", settings.log));
    }
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(EXIT_FAILURE, &format!("cannot start: {error}")),
    };
    let code = runtime.block_on(async {
        match cli.command.as_ref().unwrap_or(&Command::Serve) {
            Command::Serve => serve(settings).await,
            Command::Migrate => migrate(settings).await,
            Command::Healthcheck => healthcheck(settings).await,
            Command::Doctor => examine(settings).await,
            Command::Openapi => print_openapi(),
        }
    });
    // A name that is still looked up must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn serve(settings: &Settings) -> ExitCode {
    info!(version = env!("CARGO_PKG_VERSION"), "presenced starts");
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refuse(EXIT_FAILURE, &format!("cannot listen for signals: {error}")),
    };
    let started = tokio::select! {
        started = App::start(settings, Clock::System) => started,
        signal = signals.next() => {
            info!(signal, "stopped before it had started");
            return ExitCode::SUCCESS;
        }
    };
    let mut app = match started {
        Ok(app) => app,
        Err(error) => return refuse(start_code(&error), &error.to_string()),
    };
    tokio::select! {
        signal = signals.next() => info!(signal, drain_timeout = ?settings.drain_timeout, "stopping"),
        () = app.part_ended() => {
            error!("a part of the service ended by itself");
            return ExitCode::from(EXIT_FAILURE);
        }
    }
    let hurry = async {
        // Not inside the macro, which would not wait with logging turned down.
        let signal = signals.next().await;
        info!(signal, "stopping at once");
    };
    if app.stop(settings.drain_timeout, hurry).await {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILURE)
    }
}

async fn migrate(settings: &Settings) -> ExitCode {
    if let Err(error) = settings.check_database() {
        return refuse(EXIT_SETTINGS, &error);
    }
    let migrated = async {
        let database = app::connect(settings).await?;
        database.migrate().await?;
        database.check().await?;
        info!(store = database.describe(), "migrated");
        Ok(())
    };
    match migrated.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(open_code(&error), &error.to_string()),
    }
}

async fn healthcheck(settings: &Settings) -> ExitCode {
    match admin::healthcheck(settings.admin_addr).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(EXIT_FAILURE, &format!("healthcheck at {}: {error}", settings.admin_addr)),
    }
}

/// Prints what the doctor found; the exit code is of what is to be looked at first.
async fn examine(settings: &Settings) -> ExitCode {
    let report = doctor::examine(settings, &Clock::System).await;
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

/// Prints every setting as it is in effect, one a line, and where it is from.
fn print_config() -> ExitCode {
    let mut command = Cli::command();
    command.build();
    let matches = command.clone().get_matches();
    let mut text = String::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let (Some(name), Some(_)) = (argument.get_long(), argument.get_env()) else { continue };
        let values = matches.get_raw(id).into_iter().flatten();
        let value = values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
        let value = if argument.is_hide_env_values_set() { hide(&value) } else { value };
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name} = {value} ({source})");
    }
    print(&text)
}

fn print_openapi() -> ExitCode {
    match graph::document().to_pretty_json() {
        Ok(document) => print(&(document + "\n")),
        Err(error) => refuse(EXIT_FAILURE, &error.to_string()),
    }
}

/// Prints what was asked for to standard output.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

fn hide(url: &str) -> String {
    url.parse::<Secret>().map(|secret| secret.to_string()).unwrap_or_default()
}

/// Says why on standard error, whatever is logged, and gives the exit code.
fn refuse(code: u8, why: &str) -> ExitCode {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "presenced: {why}");
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

/// The signals that end the service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
