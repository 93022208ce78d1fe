//! Erasing and exporting users.

use std::{collections::BTreeMap, time::Duration};

use presenced::{
    presence::{Pair, Timestamp},
    store::{ClearSession, CreateSubscription, Invalidation, SetSession, UpdateUser},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    HOUR, IN_A_CALL, MINUTE, Subject, clear_of, extension, history::author, key, key_of, message, set, start,
    subscriptions::subscribe, update,
};
use crate::support::{database::Engine, on_every_engine, wait::eventually};

on_every_engine![
    the_rows_of_the_user_are_removed_and_no_others,
    watchers_are_notified_of_an_erased_user,
    an_extension_of_an_erased_session_fails_and_leaves_no_row,
    the_name_of_the_user_as_author_is_removed_and_nothing_else,
    every_row_of_a_user_is_exported,
    the_subscriptions_that_a_user_made_are_erased_and_exported_without_secrets,
];

impl Subject {
    /// Sets and changes sessions and a message of a user: two sessions, a row, and two spans.
    async fn fill(&self, tenant: Uuid, user: &str) {
        for (minutes, pair) in [(0, IN_A_CALL), (1, Pair::AWAY)] {
            let session = |id| SetSession { key: key_of(tenant, user, id), ..set(user, id, pair, HOUR) };
            self.set(start() + minutes * MINUTE, &[session("a"), session("b")]).await;
        }
        let update = UpdateUser { user: key_of(tenant, user, "x").user, ..update(user, message("hi")) };
        self.store.update_user(start(), &update).await.unwrap();
    }

    /// Counts the rows of a user, by table.
    async fn rows(&self, tenant: Uuid, user: &str) -> BTreeMap<String, usize> {
        let mut rows = BTreeMap::new();
        for line in self.store.export_user(&key_of(tenant, user, "x").user).await.unwrap() {
            let row: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (row["tenant_id"].as_str(), &row["user_id"]),
                (Some(&*tenant.to_string()), &user.into())
            );
            *rows.entry(row["table"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        rows
    }
}

fn full() -> BTreeMap<String, usize> {
    [("presence_history", 2), ("presence_sessions", 2), ("presence_users", 1)]
        .map(|(table, rows)| (table.to_owned(), rows))
        .into()
}

async fn the_rows_of_the_user_are_removed_and_no_others(engine: Engine) {
    let subject = Subject::new(engine).await;
    let others = [(Uuid::nil(), "v"), (Uuid::max(), "u")];
    for (tenant, user) in [others[0], others[1], (Uuid::nil(), "u")] {
        subject.fill(tenant, user).await;
    }
    let user = key("u", "x").user;
    assert_eq!(subject.store.erase_user(&user).await.unwrap(), 5);
    assert_eq!(subject.rows(Uuid::nil(), "u").await, BTreeMap::new());
    assert_eq!(subject.user(start(), "u").await, presenced::presence::User::default());
    assert_eq!(subject.history(start(), "u").await.spans, []);
    for (tenant, user) in others {
        assert_eq!(subject.rows(tenant, user).await, full());
    }
    assert_eq!(subject.store.erase_user(&user).await.unwrap(), 0, "it is safe to repeat");
}

async fn watchers_are_notified_of_an_erased_user(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.fill(Uuid::nil(), "u").await;
    let mut invalidations = subject.database.invalidations();
    assert_eq!(invalidations.next().await, Invalidation::AllUsers);
    subject.store.erase_user(&key("u", "x").user).await.unwrap();
    let next = timeout(Duration::from_secs(30), invalidations.next()).await.unwrap();
    assert_eq!(next, Invalidation::Users(vec![key("u", "x").user]));
}

async fn an_extension_of_an_erased_session_fails_and_leaves_no_row(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.fill(Uuid::nil(), "u").await;
    subject.store.erase_user(&key("u", "x").user).await.unwrap();
    let held = [extension("u", "a", HOUR)];
    assert_eq!(subject.store.extend_sessions(start() + MINUTE, &held).await.unwrap(), [None]);
    assert_eq!(subject.rows(Uuid::nil(), "u").await, BTreeMap::new());
}

async fn the_name_of_the_user_as_author_is_removed_and_nothing_else(engine: Engine) {
    let subject = Subject::new(engine).await;
    let boss = author("app", Some("boss"));
    for user in ["u", "v", "w"] {
        for pair in [IN_A_CALL, Pair::AWAY] {
            let session = SetSession { set_by: boss.clone(), ..set(user, "a", pair, HOUR) };
            subject.set(start(), &[session]).await;
        }
        let clear = ClearSession { cleared_by: boss.clone(), ..clear_of(&key(user, "a")) };
        subject.store.clear_sessions(start() + MINUTE, &[clear]).await.unwrap();
        let update = UpdateUser { set_by: boss.clone(), ..update(user, message("hi")) };
        subject.store.update_user(start(), &update).await.unwrap();
    }
    let lines = async |user: &str| subject.store.export_user(&key(user, "x").user).await.unwrap();
    let mut before = Vec::new();
    for user in ["u", "v", "w"] {
        before.push(lines(user).await);
    }
    let (mut after, mut chunks) = (None, 0);
    loop {
        after = subject.store.erase_author(&key("boss", "x").user, after.as_ref(), 1).await.unwrap();
        chunks += 1;
        if after.is_none() {
            break;
        }
    }
    assert!(chunks > 1, "{chunks}");
    for (user, before) in ["u", "v", "w"].into_iter().zip(before) {
        let before: Vec<_> = before.iter().map(|line| line.replace(r#""boss""#, "null")).collect();
        assert_eq!(lines(user).await, before);
    }
}

async fn every_row_of_a_user_is_exported(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(subject.rows(Uuid::nil(), "u").await, BTreeMap::new());
    subject.fill(Uuid::nil(), "u").await;
    assert_eq!(subject.rows(Uuid::nil(), "u").await, full());
    let line = subject.store.export_user(&key("u", "x").user).await.unwrap().remove(0);
    let row: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((row["session_id"].as_str(), row["cleared_at"].as_i64()), (Some("a"), None));
    let set_at = Timestamp::from_millis(row["set_at"].as_i64().unwrap());
    assert_eq!((set_at, row["set_by_user"].is_null()), (start() + MINUTE, true));
}

async fn the_subscriptions_that_a_user_made_are_erased_and_exported_without_secrets(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by = |number, created_by| {
        let mut create = CreateSubscription { created_by, ..subscribe(number) };
        create.request.signing_keys = vec!["whsec_secret".to_owned()];
        create
    };
    let mut foreign = by(4, author("app", Some("u")));
    foreign.key.tenant_id = Uuid::max();
    let others = [by(2, author("app", Some("v"))), by(3, author("u", None)), foreign];
    for create in [by(1, author("app", Some("u"))), by(5, author("other", Some("u")))].iter().chain(&others) {
        subject.create(start(), create).await;
    }
    subject.claim(start(), 9).await;
    let user = key("u", "x").user;
    let lines = subject.store.export_user(&user).await.unwrap();
    let rows: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = rows.iter().map(|row| row["subscription_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [1, 5].map(|number| Uuid::from_u128(number).to_string()));
    for row in &rows {
        assert_eq!((&row["table"], &row["created_by_user"]), (&"presence_subscriptions".into(), &"u".into()));
        let request: serde_json::Value = serde_json::from_str(row["request"].as_str().unwrap()).unwrap();
        assert_eq!(request["url"], "https://receiver.example/hook");
        assert_eq!(
            (row["created_at"].as_i64(), row["generation"].as_i64()),
            (Some(start().as_millis()), Some(1))
        );
    }
    assert!(lines.iter().all(|line| !line.contains("whsec_secret")), "{lines:?}");
    assert_eq!(subject.store.erase_user(&user).await.unwrap(), 2);
    assert_eq!(subject.store.export_user(&user).await.unwrap(), [""; 0]);
    for CreateSubscription { key, .. } in &others {
        assert!(subject.store.subscription(start(), key).await.unwrap().is_some(), "{key:?}");
    }
}

/// SQLite has one writer, so no other write runs meanwhile.
#[tokio::test]
async fn a_span_of_a_write_for_which_the_erase_waits_is_removed() {
    let subject = Subject::new(Engine::Postgres).await;
    subject.fill(Uuid::nil(), "u").await;
    let mut other = PgConnection::connect(subject.url()).await.unwrap();
    let mut writing = other.begin().await.unwrap();
    writing.execute("update presence_sessions set set_at = 1 where session_id = 'a'").await.unwrap();
    let span = "insert into presence_history (tenant_id, user_id, part, session_id, started_at, ended_at, changed_at, \
                set_at, end_reason) select tenant_id, user_id, 'session', session_id, 1, 1, 1, 1, 'changed' from \
                presence_sessions where session_id = 'a'";
    writing.execute(span).await.unwrap();
    let store = subject.database.open(1);
    let erased = tokio::spawn(async move { store.erase_user(&key("u", "x").user).await });
    let mut admin = PgConnection::connect(subject.url()).await.unwrap();
    eventually("the erase waits for the write", async || {
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
                     wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut admin).await.unwrap() == 1
    })
    .await;
    writing.commit().await.unwrap();
    assert_eq!(erased.await.unwrap().unwrap(), 6);
    assert_eq!(subject.rows(Uuid::nil(), "u").await, BTreeMap::new());
}
