//! Tests of each sentence in the contract of `Store`, on every engine.

mod claim_locks;
mod claims;
mod cleanup;
mod clear_sessions;
mod deadlocks;
mod erase;
mod extend_sessions;
mod history;
mod history_stats;
mod invalidations;
mod late;
mod list_users;
mod load;
mod observed;
mod room;
mod set_sessions;
mod signing_keys;
mod subscriptions;
mod texts;
mod update_user;

pub use history::check_chain;

use std::{sync::Arc, time::Duration};

use presenced::{
    presence::{Activity, Author, Availability, Pair, Session, SessionId, Timestamp, User, UserId},
    store::{
        ClearOutcome, ClearSession, Database, ExtendSession, Observed, SessionKey, SetSession, Store,
        UpdateUser, UserChange, UserKey,
    },
};
use uuid::Uuid;

use crate::support::{
    database::{Engine, TestDatabase},
    server::START,
};

pub const IN_A_CALL: Pair = Pair::new(Availability::Busy, Activity::InACall);
pub const MINUTE: Duration = Duration::from_mins(1);
pub const HOUR: Duration = Duration::from_hours(1);

/// A store on a new database.
pub struct Subject {
    pub store: Arc<dyn Store>,
    pub database: Database,
    test_database: TestDatabase,
}

impl Subject {
    pub async fn new(engine: Engine) -> Self {
        let test_database = TestDatabase::new(engine).await;
        let database = Database::connect(&test_database.url).await.unwrap();
        database.migrate().await.unwrap();
        Self { store: database.open(4), database, test_database }
    }

    /// Returns the URL of the database.
    pub fn url(&self) -> &str {
        &self.test_database.url
    }

    pub async fn set(&self, now: Timestamp, sets: &[SetSession]) {
        self.store.set_sessions(now, sets).await.unwrap();
    }

    /// Clears sessions. Returns for each whether it was live.
    pub async fn clear(&self, now: Timestamp, keys: &[SessionKey]) -> Vec<bool> {
        let outcomes = self.store.clear_sessions(now, &clears(keys)).await.unwrap();
        outcomes.into_iter().map(|outcome| outcome == ClearOutcome::Cleared).collect()
    }

    /// Loads the user `user`.
    pub async fn user(&self, now: Timestamp, user: &str) -> User {
        let mut users = self.store.load(now, &[key(user, "x").user]).await.unwrap();
        assert_eq!(users.len(), 1);
        users.remove(0)
    }

    /// Loads the live sessions of the user `user`, in the order of their ids.
    pub async fn load(&self, now: Timestamp, user: &str) -> Vec<Session> {
        let mut sessions = self.user(now, user).await.sessions;
        sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
        sessions
    }

    /// Loads the only live session of the user `u`.
    pub async fn only(&self, now: Timestamp) -> Session {
        let sessions = self.load(now, "u").await;
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions.into_iter().next().unwrap()
    }
}

pub fn key(user: &str, session: &str) -> SessionKey {
    key_of(Uuid::nil(), user, session)
}

pub fn key_of(tenant_id: Uuid, user: &str, session: &str) -> SessionKey {
    let user = UserKey { tenant_id, user_id: UserId::parse(user).unwrap() };
    SessionKey { user, session_id: SessionId::parse(session).unwrap() }
}

/// Clears of these sessions, without an author.
pub fn clears(keys: &[SessionKey]) -> Vec<ClearSession> {
    keys.iter().map(clear_of).collect()
}

/// A clear of this session, without an author and a time.
pub fn clear_of(key: &SessionKey) -> ClearSession {
    let cleared_by = Author::default();
    ClearSession { key: key.clone(), cleared_by, observed: Observed::Now, holder: None }
}

/// A change to a user's row, without an author.
pub fn update(user: &str, change: UserChange) -> UpdateUser {
    UpdateUser { user: key(user, "x").user, change, set_by: Author::default() }
}

/// A status message that does not expire.
pub fn message(content: &str) -> UserChange {
    UserChange::StatusMessage(Some((content.to_owned(), None)))
}

pub fn set(user: &str, session: &str, pair: Pair, expires_after: Duration) -> SetSession {
    let set_by = Author::default();
    let (key, observed) = (key(user, session), Observed::Now);
    SetSession { key, pair, message: None, expires_after, set_by, observed, holder: None }
}

/// A set of a session with a text.
pub fn set_text(user: &str, session: &str, text: &str, expires_after: Duration) -> SetSession {
    SetSession { message: Some(text.to_owned()), ..set(user, session, IN_A_CALL, expires_after) }
}

/// The token of the stream that holds sessions.
pub const HOLDER: Uuid = Uuid::from_u128(1);

/// A set that gives the session to the stream [`HOLDER`].
pub fn hold(user: &str, session: &str, pair: Pair, expires_after: Duration) -> SetSession {
    SetSession { holder: Some(HOLDER), ..set(user, session, pair, expires_after) }
}

/// An extension by the stream [`HOLDER`].
pub fn extension(user: &str, session: &str, expires_after: Duration) -> ExtendSession {
    ExtendSession { key: key(user, session), holder: HOLDER, expires_after, change: None }
}

pub const fn start() -> Timestamp {
    START
}
