//! The engine that the URL of a database names.

use super::OpenError;

/// The engine that a URL names.
pub(super) enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    pub(super) fn of(url: &str) -> Result<Self, OpenError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err(OpenError::Url("it must begin with postgres:// or sqlite:".to_owned())),
        }
    }
}
