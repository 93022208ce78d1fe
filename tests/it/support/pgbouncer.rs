//! A pgbouncer in transaction mode in front of the PostgreSQL for tests.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::{process::unused_address, wait::eventually};

/// The connections to the database, which all clients share.
pub const SERVERS_MAX: usize = 3;

pub struct Pgbouncer {
    /// The URL that leads to the database through it.
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl Pgbouncer {
    /// Starts a pgbouncer to the server in `url`. It accepts any database name.
    pub async fn to(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = unused_address();
        let (host, port) = address.split_once(':').unwrap();
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings(url, host, port)).unwrap();
        for (path, mode) in [(folder.path(), 0o755), (file.as_path(), 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        // Like PostgreSQL it refuses to run as root.
        if fs::metadata("/proc/self").is_ok_and(|process| is_root(&process)) {
            command.args(["--user", "nobody"]);
        }
        let child = command.spawn();
        let child =
            child.expect("no pgbouncer for the tests: install it (Debian: apt-get install pgbouncer)");
        let name = url.rsplit('/').next().unwrap();
        let bouncer = Self { url: format!("postgres://presence@{address}/{name}"), child, _folder: folder };
        eventually("pgbouncer accepts connections", async || bouncer.console().await.is_ok()).await;
        bouncer
    }

    /// The number of the database's `clients` or `servers`, as its console lists them.
    pub async fn count(&self, list: &str) -> usize {
        let mut console = self.console().await.unwrap();
        let rows =
            console.fetch_all(sqlx::raw_sql(sqlx::AssertSqlSafe(format!("show {list}")))).await.unwrap();
        let name = self.url.rsplit('/').next().unwrap();
        rows.iter().filter(|row| row.get::<String, _>("database") == name).count()
    }

    async fn console(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.options().database("pgbouncer")).await
    }

    /// The options of a connection through it.
    pub fn options(&self) -> PgConnectOptions {
        self.url.parse::<PgConnectOptions>().unwrap().extra_float_digits(None)
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        // An error means that it has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(url: &str, host: &str, port: &str) -> String {
    let server = reqwest::Url::parse(url).unwrap();
    let password = server.password().map(|password| format!(" password={password}")).unwrap_or_default();
    format!(
        "[databases]\n* = host={} port={} user={}{password}\n\
         [pgbouncer]\nlisten_addr = {host}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = {SERVERS_MAX}\nmax_client_conn = 1000\n{}",
        server.host_str().unwrap(),
        server.port().unwrap_or(5432),
        server.username(),
        if has_prepared_statements() { "max_prepared_statements = 0\n" } else { "" },
    )
}

/// Whether this pgbouncer (1.21 or later) can keep the prepared statements of its clients
/// apart. The tests switch that off, because the service must not depend on it.
fn has_prepared_statements() -> bool {
    let Ok(output) = Command::new("pgbouncer").arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = version.split('.').filter_map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

fn is_root(process: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(process) == 0
}
