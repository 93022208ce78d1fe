//! Environment variables that look like settings and are not.

use std::ffi::OsString;

use super::command;

const PREFIX: &str = "PRESENCE_";

/// Variables for tests and tools.
const TEST_PREFIX: &str = "PRESENCE_TEST_";

/// A variable that is probably a misspelt setting. The service refuses to start: it would
/// run without the setting, for example without authentication.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no environment variable {given}. Did you mean {setting}? Rename or remove it")]
pub struct MisspeltVariable {
    given: String,
    setting: String,
}

/// The names of the given variables that begin with `PRESENCE_` and belong to no setting.
/// An empty variable counts as not given.
pub fn unknown_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<String>, MisspeltVariable> {
    let command = command();
    let settings: Vec<&str> =
        command.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let mut unknown = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if value.is_empty()
            || !name.starts_with(PREFIX)
            || name.starts_with(TEST_PREFIX)
            || settings.contains(&name.as_str())
            || is_of_kubernetes(&name)
        {
            continue;
        }
        let distance = |setting: &&&str| strsim::damerau_levenshtein(&name.to_ascii_uppercase(), setting);
        match settings.iter().min_by_key(distance) {
            Some(setting) if distance(&setting) <= distance_max(&name) => {
                return Err(MisspeltVariable { given: name, setting: (*setting).to_owned() });
            }
            _ => unknown.push(name),
        }
    }
    Ok(unknown)
}

/// The characters in which a misspelt name may differ: a quarter of the part behind the
/// prefix, but no more than 3.
fn distance_max(name: &str) -> usize {
    (name.len().saturating_sub(PREFIX.len()) / 4).clamp(1, 3)
}

/// Whether Kubernetes sets this variable in each pod for a Service that is called
/// `presence`.
fn is_of_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| {
        let rest = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.starts_with(protocol))
    };
    matches!(name, "PRESENCE_SERVICE_HOST" | "PRESENCE_SERVICE_PORT" | "PRESENCE_PORT")
        || name.starts_with("PRESENCE_SERVICE_PORT_")
        || name.strip_prefix("PRESENCE_PORT_").is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(names: &[&str]) -> Result<Vec<String>, String> {
        let variables = names.iter().map(|name| (OsString::from(name), OsString::from("value")));
        unknown_variables(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_that_is_close_to_a_setting_is_an_error_that_names_both() {
        for (given, setting) in [
            ("PRESENCE_AUTHH", "PRESENCE_AUTH"),
            ("PRESENCE_ATUH", "PRESENCE_AUTH"),
            ("PRESENCE_Auth", "PRESENCE_AUTH"),
            ("PRESENCE_LOGS", "PRESENCE_LOG"),
            ("PRESENCE_DATABASE_URI", "PRESENCE_DATABASE_URL"),
            ("PRESENCE_TLSCERT", "PRESENCE_TLS_CERT"),
            ("PRESENCE_JWT_AUDIENCES", "PRESENCE_JWT_AUDIENCE"),
        ] {
            let error = unknown(&["PRESENCE_WORKERS", given]).unwrap_err();
            let both = [format!("variable {given}."), format!("mean {setting}?")];
            assert!(both.iter().all(|name| error.contains(name)), "{error}");
        }
    }

    #[test]
    fn any_other_unknown_variable_is_reported() {
        let names = ["PRESENCE_URL", "PRESENCE_GRPC_PORT", "PRESENCE_REPLICAS", "PRESENCE_PORT_NAME"];
        assert_eq!(unknown(&names).unwrap(), names);
    }

    #[test]
    fn variables_of_settings_of_tests_of_kubernetes_and_of_others_are_accepted() {
        let names = [
            "PRESENCE_AUTH",
            "PRESENCE_TEST_BATCH_MAX",
            "PRESENCE_SERVICE_HOST",
            "PRESENCE_SERVICE_PORT",
            "PRESENCE_SERVICE_PORT_GRPC",
            "PRESENCE_PORT",
            "PRESENCE_PORT_8080_TCP",
            "PRESENCE_PORT_8080_TCP_ADDR",
            "PRESENCED_SERVICE_HOST",
            "PATH",
        ];
        assert_eq!(unknown(&names), Ok(Vec::new()));
    }

    #[test]
    fn an_empty_variable_counts_as_not_given() {
        let empty = [(OsString::from("PRESENCE_AUTHH"), OsString::new())];
        assert_eq!(unknown_variables(empty), Ok(Vec::new()));
    }
}
