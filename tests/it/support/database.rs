//! A fresh database for each test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A database for one test. It is deleted when dropped.
pub struct TestDatabase {
    pub url: String,
    _place: Place,
}

enum Place {
    Folder(#[expect(dead_code, reason = "deleted when dropped")] TempDir),
    Cluster(#[expect(dead_code, reason = "deleted when dropped")] OnCluster),
    /// The database on Citus, which tests use one after the other (`scripts/test-citus`).
    Shared,
}

impl TestDatabase {
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("presence.db").display());
                Self { url, _place: Place::Folder(folder) }
            }
            Engine::Postgres if let Ok(url) = std::env::var("PRESENCE_TEST_CITUS_URL") => {
                let mut connection = PgConnection::connect(&url).await.expect("the coordinator of Citus");
                let truncate = "truncate presence_sessions, presence_users, presence_history, presence_leases, \
                     presence_subscriptions, presence_signing_keys";
                connection.execute(truncate).await.expect("the tables on Citus");
                Self { url, _place: Place::Shared }
            }
            Engine::Postgres => {
                let name = format!("presence_{}", Uuid::new_v4().simple());
                on_cluster(format!("create database {name}")).await;
                let (server, _) =
                    cluster_url().rsplit_once('/').expect("a URL that ends in a database's name");
                Self { url: format!("{server}/{name}"), _place: Place::Cluster(OnCluster(name)) }
            }
        }
    }
}

/// A database on the PostgreSQL for tests.
struct OnCluster(String);

impl Drop for OnCluster {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.0);
        let drop_it = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_cluster(sql));
        };
        // A failure has been printed. It must not hide the failure of the test.
        let _ = std::thread::spawn(drop_it).join();
    }
}

async fn on_cluster(sql: String) {
    let mut connection = PgConnection::connect(cluster_url()).await.expect("the PostgreSQL for tests");
    connection.execute(AssertSqlSafe(sql)).await.expect("the user for tests may create databases");
}

/// The URL of the PostgreSQL for tests: `PRESENCE_TEST_DATABASE_URL`, or a private
/// PostgreSQL that runs until this process ends.
pub fn cluster_url() -> &'static str {
    static URL: OnceLock<(String, Option<Cluster>)> = OnceLock::new();
    let (url, _) = URL.get_or_init(|| {
        if let Ok(url) = std::env::var("PRESENCE_TEST_DATABASE_URL") {
            return (url, None);
        }
        let cluster = Cluster::start(&[]);
        (cluster.url.clone(), Some(cluster))
    });
    url
}

/// A private PostgreSQL. It is deleted when dropped.
pub struct Cluster {
    pub url: String,
    script: Child,
}

impl Cluster {
    /// Starts a PostgreSQL with these settings, each as `NAME=VALUE`.
    pub fn start(settings: &[&str]) -> Self {
        Self::run(settings.iter().flat_map(|setting| ["-c", setting]))
    }

    /// Starts a hot standby of the PostgreSQL for tests.
    pub fn standby() -> Self {
        Self::run(["--standby-of", cluster_url()])
    }

    /// Starts the script. It stops PostgreSQL when `cat` reads the end of its input, so also
    /// when this process is killed.
    fn run<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/with-postgres"))
            .args(options)
            .args(["sh", "-c", "echo \"$PRESENCE_TEST_DATABASE_URL\"; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/with-postgres");
        let mut url = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(
            url.starts_with("postgres://"),
            "no PostgreSQL for the tests: install it (Debian: apt-get install postgresql), or set \
             PRESENCE_TEST_DATABASE_URL to one whose user may create databases"
        );
        Self { url: url.trim().to_owned(), script }
    }

    /// The URL of the same database in this cluster.
    pub fn url_of(&self, database: &TestDatabase) -> String {
        let (server, _) = self.url.rsplit_once('/').unwrap();
        let (_, name) = database.url.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input ends `cat`, and so the script.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
