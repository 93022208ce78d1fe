//! Parameters and columns that several statements share.

use serde::Serialize;
use sqlx::{
    Row as _, Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use uuid::Uuid;

use crate::{
    presence::Timestamp,
    store::{
        SessionKey, SetSession, StoreError, UserKey, author_columns, keys::Newest, rows::Row,
        rows::parse_stored, rows::stored_session_id, rows::stored_user_id,
    },
};

/// A session as the parameters of a statement.
#[derive(Serialize)]
pub(super) struct SessionColumns<'a>(
    String,
    &'a str,
    &'a str,
    &'static str,
    &'static str,
    i64,
    Option<&'a str>,
    Option<&'a str>,
    Option<i64>,
    Option<String>,
    Option<&'a str>,
);

impl<'a> SessionColumns<'a> {
    /// The key, the pair, `expires_at`, the author, `observed_at`, the holder and the text.
    pub(super) fn new(now: Timestamp, newest: &Newest<'a, SetSession>) -> Self {
        let set = newest.write;
        let (application, user) = author_columns(&set.set_by);
        Self(
            set.key.user.tenant_id.to_string(),
            set.key.user.user_id.as_str(),
            set.key.session_id.as_str(),
            set.pair.availability.into(),
            set.pair.activity.into(),
            (now + set.expires_after).as_millis(),
            application,
            user,
            newest.observed.column(),
            set.holder.map(|holder| holder.to_string()),
            set.message.as_deref(),
        )
    }

    /// Binds the columns as eleven parameters.
    pub(super) fn bind(
        self,
        query: Query<'a, Sqlite, SqliteArguments>,
    ) -> Query<'a, Sqlite, SqliteArguments> {
        let Self(
            tenant_id,
            user_id,
            session_id,
            availability,
            activity,
            expires_at,
            application,
            user,
            observed_at,
            holder,
            message,
        ) = self;
        let query = query.bind(tenant_id).bind(user_id).bind(session_id).bind(availability).bind(activity);
        query.bind(expires_at).bind(application).bind(user).bind(observed_at).bind(holder).bind(message)
    }
}

/// Returns the users of the sessions of which replicas must be notified.
pub(super) fn changed_users<'a>(written: impl Iterator<Item = (&'a SessionKey, bool)>) -> Vec<UserKey> {
    written.filter(|(_, changed)| *changed).map(|(key, _)| key.user.clone()).collect()
}

/// Encodes rows as one parameter for `json_each`.
pub(super) fn json<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Data(error.to_string()))
}

/// Decodes a user's key from the first two columns.
pub(super) fn user_key(row: &SqliteRow) -> Result<UserKey, StoreError> {
    Ok(UserKey { tenant_id: parse_stored(row.try_get(0)?)?, user_id: stored_user_id(row.try_get(1)?)? })
}

/// Decodes a session's key from the first three columns.
pub(super) fn session_key(row: &SqliteRow) -> Result<SessionKey, StoreError> {
    Ok(SessionKey { user: user_key(row)?, session_id: stored_session_id(row.try_get(2)?)? })
}

impl Row for SqliteRow {
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn id(&self, column: usize) -> Result<Option<Uuid>, StoreError> {
        self.text(column)?.map(parse_stored).transpose()
    }
}
