//! Structured logs on standard error.

use std::{
    any::Any,
    io::{self, IsTerminal, Write as _},
    panic, thread,
};

use tracing::{error, subscriber::with_default};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging, also of panics. `filter` is a level for the service's own lines, or directives such as
/// `info,h2=debug`. An invalid filter is an error.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(directives(filter)?).map_err(|error| error.to_string())?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Human => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())?;
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(tracing::field::display);
        let (thread, text) = (thread::current(), panic_text(info.payload()));
        error!(location, thread = thread.name(), panic = text, "a defect: the code panicked");
    }));
    Ok(())
}

/// Writes an error with which a command ends, at every log level: each line of `error` as a line, or
/// as an object in the form of the log.
pub fn log_fatal(format: LogFormat, exit_code: u8, error: &str) {
    for line in error.lines() {
        match format {
            // A closed standard error leaves no place to report to.
            LogFormat::Human => drop(writeln!(io::stderr(), "presenced: {line}")),
            LogFormat::Json => {
                let unfiltered = tracing_subscriber::fmt().with_max_level(LevelFilter::ERROR);
                let unfiltered = unfiltered.with_writer(io::stderr).json().flatten_event(true).finish();
                with_default(unfiltered, || error!(target: "presenced", exit_code, "{line}"));
            }
        }
    }
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a value without a text")
}

/// The directives of a filter. A level alone applies to the service's own lines, because
/// the libraries log too much at debug.
fn directives(filter: &str) -> Result<String, String> {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok() && !text.is_empty();
    if is_level(filter) {
        return Ok(if filter == "off" { filter.to_owned() } else { format!("warn,presenced={filter}") });
    }
    // EnvFilter takes a word for the name of a module and silences all others.
    match filter.split(',').find(|part| !part.contains('=') && !is_level(part)) {
        Some(part) => Err(format!("{part:?} is not a level: use off, error, warn, info, debug or trace")),
        None => Ok(filter.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_level_applies_to_the_services_own_lines_and_an_unknown_word_is_an_error() {
        assert_eq!(directives("debug").unwrap(), "warn,presenced=debug");
        assert_eq!(directives("off").unwrap(), "off");
        assert_eq!(directives("info,h2=debug").unwrap(), "info,h2=debug");
        for filter in ["verbose", "", "info,loud", "info,"] {
            assert!(directives(filter).is_err(), "{filter:?}");
        }
    }
}
