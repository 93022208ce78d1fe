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

/// A database that nobody else uses; gone when dropped.
pub struct TestDatabase {
    pub url: String,
    _place: Place,
}

enum Place {
    Folder(#[expect(dead_code, reason = "held until the end")] TempDir),
    Cluster(#[expect(dead_code, reason = "held until the end")] OnCluster),
}

impl TestDatabase {
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("presence.db").display());
                Self { url, _place: Place::Folder(folder) }
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

/// A database on the cluster.
struct OnCluster(String);

impl Drop for OnCluster {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.0);
        let drop_it = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_cluster(sql));
        };
        // A failure has been printed; it must not hide the test's own.
        let _ = std::thread::spawn(drop_it).join();
    }
}

async fn on_cluster(sql: String) {
    let mut connection = PgConnection::connect(cluster_url()).await.expect("the PostgreSQL for tests");
    connection.execute(AssertSqlSafe(sql)).await.expect("the user for tests may create databases");
}

/// The PostgreSQL for tests: `PRESENCE_TEST_DATABASE_URL`, or a private one for
/// as long as this process lives.
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

/// A private PostgreSQL; gone when dropped.
pub struct Cluster {
    pub url: String,
    script: Child,
}

impl Cluster {
    /// Starts one with these settings, as `NAME=VALUE`.
    pub fn start(settings: &[&str]) -> Self {
        Self::run(settings.iter().flat_map(|setting| ["-c", setting]))
    }

    /// A hot standby that follows the PostgreSQL for tests, with all that it holds now.
    pub fn standby() -> Self {
        Self::run(["--standby-of", cluster_url()])
    }

    /// The script stops it when `cat` sees the end of its input, which is when this
    /// process ends, however it does.
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

    /// The same database there.
    pub fn url_of(&self, database: &TestDatabase) -> String {
        let (server, _) = self.url.rsplit_once('/').unwrap();
        let (_, name) = database.url.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input is the end of the command, and so of the script.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
