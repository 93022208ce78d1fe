//! Checking that the database can run every statement: the tables have all columns, the user has
//! the privileges, and the server accepts writes.
//!
//! Each statement runs for a user that does not exist, in a transaction that is rolled back.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::{
    Shards, cleanup, clear, erase, extend, history, load, room, set, signing_keys, statement::Statements,
    subscriptions, users,
};
use crate::{
    presence::{Author, Pair, SessionId, Timestamp},
    store::{
        Change, ClearSession, CreateSubscription, ExtendSession, Hold, Lease, ListSubscriptions, ListUsers,
        LoadHistory, NotificationFormat, Observed, ReleaseSubscriptions, SessionKey, SessionRow, SetSession,
        SigningKeyRow, StoreError, SubscriptionKey, SubscriptionRequest, UpdateSubscription, UpdateUser,
        UserChange, UserKey, UserRow, connection::PoolOptions, keys,
    },
};

/// The SQLSTATE of a missing privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A statement that the database can't run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it can't run the statement {name}: {error}")]
pub struct FailedStatement {
    /// The name of the statement.
    pub name: &'static str,
    /// The database's words.
    pub error: StoreError,
}

impl FailedStatement {
    /// Returns what to grant to the database user, if a privilege is missing.
    #[must_use]
    pub fn grant(&self, user: &str) -> Option<String> {
        self.error.to_string().contains(INSUFFICIENT_PRIVILEGE).then(|| {
            format!(
                "grant select, insert, update, delete on presence_sessions, presence_users, presence_history, presence_leases, presence_subscriptions, presence_signing_keys to {user}"
            )
        })
    }
}

/// Returns the first statement that fails.
pub(in crate::store) async fn check_statements(
    options: &PgConnectOptions,
    shards: Option<Arc<Shards>>,
) -> Result<(), FailedStatement> {
    let statements = Statements::rolled_back(options, PoolOptions::ONE, shards);
    let checked = async {
        reads(&statements).await?;
        writes(&statements).await?;
        subscriptions(&statements).await?;
        signing_keys(&statements).await
    };
    let checked = checked.await;
    statements.close().await;
    checked
}

/// Adds the statement's name to its error.
fn named<T>(name: &'static str, outcome: Result<T, StoreError>) -> Result<(), FailedStatement> {
    outcome.map(drop).map_err(|error| FailedStatement { name, error })
}

const NOW: Timestamp = Timestamp::from_millis(0);

async fn reads(statements: &Statements) -> Result<(), FailedStatement> {
    let user = UserKey::placeholder();
    let tenant_id = user.tenant_id;
    named(load::LOAD.name, load::load(statements, NOW, std::slice::from_ref(&user)).await)?;
    let hold = Hold { user: user.clone(), holder: tenant_id };
    named(extend::CURRENT_HOLDS.name, extend::current_holds(statements, &[hold]).await)?;
    let load = LoadHistory { users: vec![user], before: NOW, spans_max: 1 };
    named(history::LOAD_HISTORY.name, history::load_history(statements, NOW, &load).await)?;
    for (sql, include_ended) in [(users::LIST_USERS, false), (users::LIST_ALL_USERS, true)] {
        let list = ListUsers { tenant_id, after: None, include_ended, limit: 1 };
        named(sql.name, users::list_users(statements, NOW, &list).await)?;
    }
    named(users::COUNT_USERS.name, users::count_users(statements, NOW, tenant_id).await)
}

async fn writes(statements: &Statements) -> Result<(), FailedStatement> {
    let user = UserKey::placeholder();
    let key = SessionKey { user: user.clone(), session_id: SessionId::placeholder() };
    let set_by = Author::default();
    let (expires_after, observed, holder) = (Duration::ZERO, Observed::Now, None);
    let (key_of_set, pair, message) = (key.clone(), Pair::AWAY, None);
    let set = [SetSession { key: key_of_set, pair, message, expires_after, set_by, observed, holder }];
    named(set::SET_SESSIONS.name, set::write(statements, NOW, &keys::newest_of_each(NOW, &set)).await)?;
    let clear = [ClearSession { key: key.clone(), cleared_by: Author::default(), observed, holder }];
    let clear = keys::newest_of_each(NOW, &clear);
    named(clear::CLEAR_SESSIONS.name, clear::write(statements, NOW, &clear).await)?;
    let held = ExtendSession { key: key.clone(), holder: user.tenant_id, expires_after, change: None };
    named(extend::EXTEND_SESSIONS.name, extend::write(statements, NOW, &vec![(&held, 0)]).await)?;
    let locations = UserChange::Locations { manual: Change::Clear, automatic: Change::Clear };
    for (sql, change) in [
        (users::UPDATE_PREFERRED, UserChange::Preferred(None)),
        (users::UPDATE_STATUS_MESSAGE, UserChange::StatusMessage(None)),
        (users::UPDATE_LOCATIONS, locations),
    ] {
        let update = UpdateUser { user: user.clone(), change, set_by: Author::default() };
        named(sql.name, users::write(statements, NOW, &update).await)?;
    }
    let user_ids = [user.user_id.as_str()];
    let crowded = room::crowded(statements, NOW, user.tenant_id, &user_ids, &HashSet::new()).await;
    named(room::CROWDED_SESSIONS.name, crowded)?;
    named(cleanup::SCAN_SESSIONS.name, cleanup::scan_sessions(statements, NOW, Some(&key), 1).await)?;
    let row = SessionRow { key, set_at: NOW, unused_from: None };
    named(room::EVICT_SESSION.name, room::evict(statements, NOW, &row).await)?;
    named(cleanup::REMOVE_SESSIONS.name, cleanup::remove_sessions(statements, NOW, &[row]).await)?;
    named(cleanup::SCAN_USERS.name, cleanup::scan_users(statements, NOW, Some(&user), 1).await)?;
    let row = UserRow { key: user.clone(), set_at: NOW, unused_from: None };
    named(cleanup::REMOVE_USERS.name, cleanup::remove_users(statements, &[row]).await)?;
    let lease = Lease { name: "check", owner: user.tenant_id, duration: Duration::ZERO };
    named(cleanup::TAKE_LEASE.name, cleanup::take_lease(statements, NOW, &lease).await)?;
    named(history::REMOVE_SPANS.name, history::remove_spans(statements, NOW, NOW, 1).await)?;
    named(erase::END_OF_CHUNK.name, erase::erase_author(statements, &user, None, 1).await)?;
    named(erase::ERASE_USER.name, erase::erase_user(statements, &user).await)?;
    named("export_user", erase::export_user(statements, &user).await)
}

async fn subscriptions(statements: &Statements) -> Result<(), FailedStatement> {
    let (tenant_id, owner) = (Uuid::max(), Uuid::max());
    let key = SubscriptionKey { tenant_id, subscription_id: Uuid::max() };
    let request = SubscriptionRequest {
        format: NotificationFormat::Graph,
        user_ids: None,
        resource: String::new(),
        url: String::new(),
        lifecycle_url: None,
        client_state: None,
        certificate: None,
        settle_time: Duration::ZERO,
        signing_keys: Vec::new(),
    };
    let (expires_at, authorized_until, created_by) = (NOW + Duration::from_hours(1), None, Author::default());
    let (application_max, tenant_max) = (1, 1);
    let update = UpdateSubscription {
        key,
        expires_at: Some(expires_at),
        authorized_until,
        request: Some(request.clone()),
    };
    let create = CreateSubscription {
        key,
        created_by,
        request,
        expires_at,
        authorized_until,
        application_max,
        tenant_max,
    };
    let created = subscriptions::create_subscription(statements, NOW, &create).await;
    named(subscriptions::CREATE_SUBSCRIPTION.name, created)?;
    let read = subscriptions::subscription(statements, NOW, &key).await;
    named(subscriptions::SUBSCRIPTION.name, read)?;
    let list = ListSubscriptions { tenant_id, application: None, after: None, limit: 1 };
    let listed = subscriptions::subscriptions(statements, NOW, &list).await;
    named(subscriptions::SUBSCRIPTIONS.name, listed)?;
    let updated = subscriptions::update_subscription(statements, NOW, &update).await;
    named(subscriptions::UPDATE_SUBSCRIPTION.name, updated)?;
    let deleted = subscriptions::delete_subscription(statements, &key).await;
    named(subscriptions::DELETE_SUBSCRIPTION.name, deleted)?;
    let release = ReleaseSubscriptions { owner, reports: Vec::new() };
    let released = subscriptions::release_subscriptions(statements, NOW, &release).await;
    named(subscriptions::CLAIM_SUBSCRIPTIONS.name, released)?;
    let removed = subscriptions::remove_expired_subscriptions(statements, NOW).await;
    named(subscriptions::REMOVE_EXPIRED_SUBSCRIPTIONS.name, removed)
}

async fn signing_keys(statements: &Statements) -> Result<(), FailedStatement> {
    named(signing_keys::SIGNING_KEYS.name, signing_keys::signing_keys(statements).await)?;
    let key = SigningKeyRow { key_id: "check".to_owned(), private_key: String::new(), created_at: NOW };
    let added = signing_keys::add_signing_key(statements, &key, NOW).await;
    named(signing_keys::ADD_SIGNING_KEY.name, added)?;
    let removed = signing_keys::remove_signing_keys(statements, NOW).await;
    named(signing_keys::REMOVE_SIGNING_KEYS.name, removed)
}
