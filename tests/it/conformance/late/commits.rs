//! A commit that stalls: no timeout of the database ends it, because the network holds the Sync
//! message back, or a synchronous standby is missing. The row stays locked.

use std::sync::Arc;

use presenced::{
    presence::Pair,
    store::{ClearOutcome, Database, SessionKey, Store, StoreError},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;

use super::{HOUR, MINUTE, Subject, Write, assert_unavailable, clears, hold, key, message, set, start};
use crate::support::{
    database::{Cluster, Engine},
    proxy::{Network, Proxy},
    wait::eventually,
};

/// What keeps a write from its commit.
enum Cause {
    /// The network holds the Sync message back.
    Network(Proxy, #[expect(dead_code, reason = "its database is deleted when dropped")] Box<Subject>),
    /// A synchronous standby is missing.
    Standby(#[expect(dead_code, reason = "deleted when dropped")] Cluster),
}

/// A database, a store whose commits can be made to stall, and one that works.
struct Stalling {
    cause: Cause,
    stalls: Arc<dyn Store>,
    works: Arc<dyn Store>,
    admin: PgConnection,
}

impl Stalling {
    async fn by_the_network() -> Self {
        let subject = Subject::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(subject.url()).await;
        let stalls = Database::connect(&url).await.unwrap().open(1);
        let admin = PgConnection::connect(subject.url()).await.unwrap();
        let works = Arc::clone(&subject.store);
        Self { cause: Cause::Network(proxy, Box::new(subject)), stalls, works, admin }.ready().await
    }

    /// Only the connections of one store wait for the standby.
    async fn by_a_standby() -> Self {
        let cluster =
            Cluster::start(&["fsync=off", "synchronous_commit=local", "synchronous_standby_names=missing"]);
        let database = Database::connect(&cluster.url).await.unwrap();
        database.migrate().await.unwrap();
        let url = format!("{}?options[synchronous_commit]=on", cluster.url);
        let stalls = Database::connect(&url).await.unwrap().open(1);
        let admin = PgConnection::connect(&cluster.url).await.unwrap();
        Self { cause: Cause::Standby(cluster), stalls, works: database.open(4), admin }.ready().await
    }

    /// Opens the connection and prepares the statements.
    async fn ready(mut self) -> Self {
        for write in Write::ALL {
            let store = Arc::clone(&self.stalls);
            let run = tokio::spawn(async move { write.run(store.as_ref(), start(), "other").await });
            eventually("the write commits", async || {
                self.commit().await;
                run.is_finished()
            })
            .await;
            run.await.unwrap().unwrap();
        }
        self
    }

    /// Begins `write` of a user, and waits until it has run without its commit.
    async fn begin(&mut self, write: Write, user: &'static str) -> JoinHandle<Result<(), StoreError>> {
        if let Cause::Network(proxy, _) = &self.cause {
            proxy.set(Network::HoldingSync);
        }
        let store = Arc::clone(&self.stalls);
        let begun = tokio::spawn(async move { write.run(store.as_ref(), start() + MINUTE, user).await });
        let waits_for = match &self.cause {
            Cause::Network(..) => "ClientRead",
            Cause::Standby(_) => "SyncRep",
        };
        self.counts(&format!("backend_xid is not null and wait_event = '{waits_for}'"), 1).await;
        begun
    }

    /// Lets the commit happen. PostgreSQL gives up the standby when it is asked to cancel the wait,
    /// and the commit stands.
    async fn commit(&mut self) {
        match &self.cause {
            Cause::Network(proxy, _) => proxy.set(Network::Up),
            Cause::Standby(_) => {
                let sql = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
                self.admin.execute(sql).await.unwrap();
            }
        }
    }

    /// Waits until this many statements wait for the lock of a row, or for that of the notifications,
    /// which a commit takes.
    async fn wait_for_a_lock(&mut self, statements: i64) {
        self.counts("wait_event_type = 'Lock'", statements).await;
    }

    /// Waits until at least this many server processes of the database meet the condition.
    async fn counts(&mut self, condition: &str, processes: i64) {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = current_database() and {condition}"
        );
        eventually(&sql, async || {
            let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.clone()));
            count.fetch_one(&mut self.admin).await.unwrap() >= processes
        })
        .await;
    }

    /// Begins a clear of the sessions `a` and `b` of the user `u`.
    fn clear(&self) -> JoinHandle<Result<Vec<bool>, StoreError>> {
        let works = Arc::clone(&self.works);
        tokio::spawn(async move {
            let outcomes = works.clear_sessions(start() + 2 * MINUTE, &clears(&keys())).await?;
            Ok(outcomes.into_iter().map(|outcome| outcome == ClearOutcome::Cleared).collect())
        })
    }

    async fn live_sessions(&self) -> usize {
        let user = self.works.load(start() + 2 * MINUTE, &[key("u", "a").user]).await.unwrap().remove(0);
        user.sessions.len()
    }
}

fn keys() -> [SessionKey; 2] {
    ["a", "b"].map(|session| key("u", session))
}

/// Prepares the sessions of the user `u`: missing, live, ended, and marks.
async fn prepare(stalling: &Stalling, state: &str) {
    let store = stalling.works.as_ref();
    if state == "live" || state == "ended" {
        Write::Set.run(store, start(), "u").await.unwrap();
    }
    if state == "ended" || state == "marked" {
        Write::Clear.run(store, start(), "u").await.unwrap();
    }
}

const STATES: [&str; 4] = ["missing", "live", "ended", "marked"];

/// A clear waits for a set that is not committed, and ends its sessions.
async fn a_clear_waits_and_ends_the_session(mut stalling: Stalling) {
    for state in STATES {
        prepare(&stalling, state).await;
        let set = stalling.begin(Write::Set, "u").await;
        let clear = stalling.clear();
        stalling.wait_for_a_lock(1).await;
        stalling.commit().await;
        set.await.unwrap().unwrap();
        assert_eq!(clear.await.unwrap().unwrap(), [true, true], "{state}");
        assert_eq!(stalling.live_sessions().await, 0, "{state}");
        remove(&mut stalling).await;
    }
}

/// A clear that cannot wait so long fails. It does not say that no session was there.
async fn a_clear_that_cannot_wait_fails(mut stalling: Stalling) {
    let set = stalling.begin(Write::Set, "u").await;
    assert_unavailable(&stalling.clear().await.unwrap(), "statement timeout");
    assert_unavailable(&set.await.unwrap(), "set_sessions took longer than 2s");
    stalling.commit().await;
    // The set was in time, and applies. No caller was told otherwise.
    eventually("the set commits", async || stalling.live_sessions().await == 2).await;
    assert_eq!(stalling.clear().await.unwrap().unwrap(), [true, true]);
    assert_eq!(stalling.live_sessions().await, 0);
}

/// The newer of two writes applies, although the commit of the older one stalls.
async fn no_newer_write_is_undone(mut stalling: Stalling) {
    for write in Write::ALL {
        for session in ["a", "b"] {
            stalling.works.set_sessions(start(), &[hold("u", session, Pair::AWAY, HOUR)]).await.unwrap();
        }
        let older = stalling.begin(write, "u").await;
        let works = Arc::clone(&stalling.works);
        let newer = tokio::spawn(async move {
            let now = start() + 2 * MINUTE;
            let set = [set("u", "a", Pair::AVAILABLE, HOUR)];
            let (clear, update) = (clears(&[key("u", "b")]), message("u", Some("newer")));
            tokio::try_join!(
                works.set_sessions(now, &set),
                works.clear_sessions(now, &clear),
                works.update_user(now, &update),
            )
        });
        stalling.wait_for_a_lock(if write == Write::Update { 1 } else { 2 }).await;
        stalling.commit().await;
        older.await.unwrap().unwrap();
        newer.await.unwrap().unwrap();
        let user = stalling.works.load(start() + 2 * MINUTE, &[key("u", "a").user]).await.unwrap().remove(0);
        let shown: Vec<_> = user.sessions.iter().map(|session| session.pair).collect();
        assert_eq!(shown, [Pair::AVAILABLE], "{write:?}");
        assert_eq!(user.status_message.unwrap().content, "newer", "{write:?}");
    }
}

async fn remove(stalling: &mut Stalling) {
    stalling.admin.execute("delete from presence_sessions").await.unwrap();
}

#[tokio::test]
async fn a_clear_waits_for_a_set_whose_sync_is_held_back_and_ends_its_session() {
    a_clear_waits_and_ends_the_session(Stalling::by_the_network().await).await;
}

#[tokio::test]
async fn a_clear_waits_for_a_set_whose_standby_is_missing_and_ends_its_session() {
    a_clear_waits_and_ends_the_session(Stalling::by_a_standby().await).await;
}

#[tokio::test]
async fn a_clear_fails_if_the_sync_of_a_set_is_held_back_for_too_long() {
    a_clear_that_cannot_wait_fails(Stalling::by_the_network().await).await;
}

#[tokio::test]
async fn a_clear_fails_if_the_standby_of_a_set_is_missing_for_too_long() {
    a_clear_that_cannot_wait_fails(Stalling::by_a_standby().await).await;
}

#[tokio::test]
async fn a_write_whose_sync_is_held_back_undoes_no_newer_write() {
    no_newer_write_is_undone(Stalling::by_the_network().await).await;
}

#[tokio::test]
async fn a_write_whose_standby_is_missing_undoes_no_newer_write() {
    no_newer_write_is_undone(Stalling::by_a_standby().await).await;
}
