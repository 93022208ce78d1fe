//! The command line: flags, environment variables and subcommands.

use std::{any::TypeId, ffi::OsString, fmt::Write as _};

use clap::{
    Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind,
    parser::ValueSource,
};

use super::{Secret, Settings};
use crate::telemetry::LogFormat;

/// The settings that `-h` shows; `--help` shows all.
const SHORT_HELP: [&str; 10] = [
    "database_url",
    "grpc_addr",
    "http_addr",
    "admin_addr",
    "allow_insecure",
    "log",
    "auth",
    "jwks_url",
    "jwt_issuer",
    "jwt_audience",
];

/// The flags of each subcommand that does not take all of them.
const LIMITED: [(&str, &[&str]); 3] = [
    (
        "migrate",
        &[
            "database_url",
            "log",
            "log_format",
            "postgres_pgbouncer",
            "database_direct_url",
            "database_read_url",
            "database_connection_max_age",
            "print_config",
        ],
    ),
    ("healthcheck", &["admin_addr", "log", "log_format"]),
    ("openapi", &[]),
];

/// A self-hosted presence service: durable sessions, one presence per user, a gRPC API and Microsoft
/// Graph's HTTP paths.
///
/// Without a command, presenced serves. Without settings, it keeps its sessions in the SQLite file
/// presence.db in the current directory.
#[derive(Debug, Parser)]
#[command(name = "presenced", version, max_term_width = 100)]
pub struct Cli {
    /// The subcommand; none means [`Command::Serve`].
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
    /// Print the settings in effect, without secrets, and exit.
    #[arg(long, global = true, help_heading = None::<&str>)]
    pub print_config: bool,
    /// The text that `--print-config` prints.
    #[arg(skip)]
    pub effective_settings: String,
}

/// A subcommand; the comments are the text of `--help`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve (the default).
    Serve,
    /// Apply the missing migrations to the database, and exit.
    Migrate {
        /// Distribution of the tables over the worker nodes of Citus, by user. Do it once, before
        /// the service starts.
        #[arg(long)]
        distribute: bool,
        /// Number of shards. Default is the number in Citus's settings.
        #[arg(long, value_name = "NUMBER", requires = "distribute",
              value_parser = clap::value_parser!(u32).range(1..=64_000))]
        shards: Option<u32>,
    },
    /// Ask the service on this machine whether it is ready, and exit with 0 if it is.
    Healthcheck,
    /// Check whether the service would work with these settings. Changes nothing.
    Doctor,
    /// Print the OpenAPI document of the HTTP API.
    Openapi,
}

impl Cli {
    /// Reads the arguments and the environment. An empty variable counts as not given.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let mut command = command();
        let without_empty = command.clone().mut_args(without_empty_variable);
        // A subcommand has hidden arguments of its own.
        let without_empty = without_empty.mut_subcommands(|command| command.mut_args(without_empty_variable));
        let matches = match without_empty.try_get_matches_from(&arguments) {
            Ok(matches) => matches,
            // The help shows every variable, empty or not.
            Err(error) if !error.use_stderr() => {
                return Err(command.try_get_matches_from(arguments).err().unwrap_or(error));
            }
            Err(error) => return Err(error),
        };
        let subcommand = matches.subcommand_name();
        let given = |argument: &&Arg| {
            matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        let untaken = command.get_arguments().filter(given).find(|argument| !takes(subcommand, argument));
        if let (Some(subcommand), Some(flag)) = (subcommand, untaken.and_then(Arg::get_long)) {
            let message = format!("`presenced {subcommand}` does not take --{flag}");
            return Err(command.error(ErrorKind::UnknownArgument, message));
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.effective_settings = effective_settings(&command, &matches);
        Ok(cli)
    }
}

/// The command, as the help describes it. Every flag is accepted before and after a
/// subcommand; the help of a subcommand shows the flags that it takes.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = Cli::command().mut_args(|argument| {
        let is_setting = argument.get_env().is_some();
        let is_rare = is_setting && !SHORT_HELP.contains(&argument.get_id().as_str());
        argument.hide_env_values(true).hide_short_help(is_rare)
    });
    let arguments: Vec<Arg> = command.get_arguments().cloned().collect();
    for (name, _) in LIMITED {
        let untaken = arguments.iter().filter(|argument| !takes(Some(name), argument));
        // A flag of the subcommand's own takes the place of the global flag.
        let hidden: Vec<Arg> = untaken.map(|argument| argument.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |subcommand| subcommand.args(hidden));
    }
    command
}

fn takes(subcommand: Option<&str>, argument: &Arg) -> bool {
    let limited = LIMITED.iter().find(|(name, _)| Some(*name) == subcommand);
    limited.is_none_or(|(_, taken)| taken.contains(&argument.get_id().as_str()))
}

fn without_empty_variable(argument: Arg) -> Arg {
    let is_empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { argument.env(None::<&str>) } else { argument }
}

/// The value of each setting that the subcommand takes, and its source, one a line.
fn effective_settings(command: &clap::Command, matches: &ArgMatches) -> String {
    let mut text = String::new();
    for argument in command.get_arguments().filter(|argument| takes(matches.subcommand_name(), argument)) {
        let id = argument.get_id().as_str();
        let (Some(name), Some(_)) = (argument.get_long(), argument.get_env()) else { continue };
        let values = matches.get_raw(id).into_iter().flatten();
        let value = values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
        let is_secret = argument.get_value_parser().type_id() == TypeId::of::<Secret>();
        let value = if is_secret { redacted(&value) } else { value };
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name} = {value} ({source})");
    }
    text
}

/// The log format that the arguments or the environment ask for, although other arguments are invalid.
#[must_use]
pub fn log_format(arguments: &[OsString]) -> LogFormat {
    let text = |argument: &OsString| argument.to_string_lossy().into_owned();
    let mut given = std::env::var("PRESENCE_LOG_FORMAT").unwrap_or_default();
    for (index, argument) in arguments.iter().enumerate() {
        match text(argument).strip_prefix("--log-format") {
            Some("") => given = arguments.get(index + 1).map(text).unwrap_or_default(),
            Some(value) => value.trim_start_matches('=').clone_into(&mut given),
            None => {}
        }
    }
    LogFormat::from_str(&given, false).unwrap_or(LogFormat::Human)
}

/// The text of an error about arguments, without the secrets of URLs in it.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let words = text.split_inclusive(|character: char| character.is_whitespace() || character == '\'');
    let safe = words.map(|word| {
        let url = word.trim_end_matches(|character: char| character.is_whitespace() || character == '\'');
        if url.contains("://") { word.replace(url, &redacted(url)) } else { word.to_owned() }
    });
    safe.collect()
}

fn redacted(url: &str) -> String {
    url.parse::<Secret>().map(|secret| secret.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::read(["presenced"].iter().chain(arguments).map(OsString::from))
    }

    #[test]
    fn a_flag_is_accepted_before_and_after_the_subcommand() {
        for arguments in [
            ["serve", "--drain-timeout", "90s"],
            ["--drain-timeout", "90s", "serve"],
            ["doctor", "--drain-timeout", "90s"],
            ["--drain-timeout", "90s", "doctor"],
        ] {
            assert_eq!(read(&arguments).unwrap().settings.drain_timeout, Duration::from_secs(90));
        }
        for arguments in
            [["healthcheck", "--admin-addr", "[::1]:1"], ["--admin-addr", "[::1]:1", "healthcheck"]]
        {
            assert_eq!(read(&arguments).unwrap().settings.admin_addr.port(), 1);
        }
        for arguments in
            [["migrate", "--database-url", "sqlite:a"], ["--database-url", "sqlite:a", "migrate"]]
        {
            assert_eq!(read(&arguments).unwrap().settings.database_url.expose(), "sqlite:a");
        }
    }

    #[test]
    fn an_error_about_arguments_shows_no_secret_of_a_url() {
        for (text, safe) in [
            ("unexpected 'postgres://me:word@db/p' found", "unexpected 'postgres://me:…@db/p' found"),
            ("no http://a?key=word\nhttps://a", "no http://a?…\nhttps://a"),
            ("see --help", "see --help"),
        ] {
            assert_eq!(without_secrets(text), safe);
        }
    }

    #[test]
    fn the_last_log_format_counts() {
        let format =
            |arguments: &[&str]| log_format(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(format(&["presenced", "--nonsense"]), LogFormat::Human);
        assert_eq!(format(&["presenced", "--nonsense", "--log-format", "json"]), LogFormat::Json);
        assert_eq!(format(&["presenced", "--log-format=json", "--log-format", "human"]), LogFormat::Human);
        assert_eq!(format(&["presenced", "--log-format"]), LogFormat::Human);
    }

    #[test]
    fn a_flag_that_a_subcommand_does_not_take_is_an_error() {
        for arguments in [
            ["healthcheck", "--workers", "1"],
            ["--workers", "1", "healthcheck"],
            ["migrate", "--grpc-addr", "[::1]:1"],
            ["openapi", "--log", "debug"],
        ] {
            let error = read(&arguments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnknownArgument);
            assert!(error.to_string().contains("does not take --"), "{error}");
        }
    }

    #[test]
    fn the_short_help_shows_ten_settings_and_the_help_of_a_subcommand_those_that_it_takes() {
        let flags = |arguments: &[&str]| -> Vec<String> {
            let help = read(arguments).unwrap_err().to_string();
            let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
            let flags = lines.filter_map(|line| line.split_whitespace().next());
            flags.filter(|flag| *flag != "print-config").map(str::to_owned).collect()
        };
        assert_eq!(flags(&["-h"]).len(), 10);
        for serving in [&["serve", "--help"][..], &["doctor", "--help"], &["help", "doctor"]] {
            assert_eq!(flags(serving), flags(&["--help"]));
        }
        assert_eq!(flags(&["healthcheck", "--help"]), ["admin-addr", "log", "log-format"]);
        assert_eq!(flags(&["help", "openapi"]), [""; 0]);
        let migrate = flags(&["migrate", "--help"]);
        let [first, .., last] = &migrate[..] else { panic!("{migrate:?}") };
        assert_eq!([first, last], ["distribute", "database-connection-max-age"]);
        assert_eq!(migrate.len(), 9);
    }
}
