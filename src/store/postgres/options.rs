//! The connection settings in a URL.

use std::str::FromStr;

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::store::OpenError;

/// The parameters that a URL may have. sqlx would log any other parameter with its value and
/// continue, so a misspelt password would be in the log.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "ssl-mode",
    "statement-cache-capacity",
    "user",
];

/// Parses the URL.
pub(in crate::store) fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').filter_map(|parameter| parameter.split('=').next());
    for name in names.filter(|name| !name.is_empty()) {
        if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
            let allowed = PARAMETERS.join(", ");
            // A name of other characters may be the rest of a password that contains a `?`.
            let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
            let which = if is_name { format!("parameter {name:?}") } else { "a parameter".to_owned() };
            return Err(OpenError::Url(format!(
                "{which} is unknown, allowed are {allowed}; in a password, write ? as %3F"
            )));
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
    Ok(options.application_name("presenced").disable_statement_logging())
}

/// Describes the server's address and that of its pgbouncer, without secrets.
pub(in crate::store) fn describe(direct: &PgConnectOptions, pgbouncer: Option<&PgConnectOptions>) -> String {
    let address = |route: &PgConnectOptions| format!("{}:{}", route.get_host(), route.get_port());
    let database = direct.get_database().unwrap_or("(the user's)");
    let pgbouncer = pgbouncer.map(|route| format!(", through pgbouncer at {}", address(route)));
    format!("PostgreSQL at {}, database {database}{}", address(direct), pgbouncer.unwrap_or_default())
}

/// Returns the settings for a connection to a pgbouncer. pgbouncer refuses connection settings
/// that it does not know. It would also pass a named statement on to the next client.
pub(in crate::store) fn for_pgbouncer(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None).statement_cache_capacity(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_that_may_be_a_password_is_not_shown() {
        let text = |url| parse(url).unwrap_err().to_string();
        let named = text("postgres://me@db/presence?sslmod=require");
        assert!(named.contains("parameter \"sslmod\" is unknown, "), "{named}");
        let text = text("postgres://me:pass?word@db/presence");
        assert!(!text.contains("word@") && text.contains("in a password, write ? as %3F"), "{text}");
    }
}
