//! Structured logs on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging. `filter` is a level of our own lines, or directives such as
/// `info,h2=debug`; a wrong one is refused.
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
    .map_err(|error| error.to_string())
}

/// The directives that the filter stands for. Of a mere level our own lines are
/// meant: the libraries say at debug what nobody asked for.
fn directives(filter: &str) -> Result<String, String> {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok() && !text.is_empty();
    if is_level(filter) {
        return Ok(if filter == "off" { filter.to_owned() } else { format!("warn,presenced={filter}") });
    }
    // A word alone would be taken for the name of a module, and silence all others.
    match filter.split(',').find(|part| !part.contains('=') && !is_level(part)) {
        Some(part) => Err(format!("{part:?} is no level: it must be off, error, warn, info, debug or trace")),
        None => Ok(filter.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_level_is_ours_and_a_word_that_is_none_is_refused() {
        assert_eq!(directives("debug").unwrap(), "warn,presenced=debug");
        assert_eq!(directives("off").unwrap(), "off");
        assert_eq!(directives("info,h2=debug").unwrap(), "info,h2=debug");
        for filter in ["verbose", "", "info,loud", "info,"] {
            assert!(directives(filter).is_err(), "{filter:?}");
        }
    }
}
