//! A PostgreSQL cluster that can be killed with all its backends, and restarted.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// The time that a start may take, with the recovery after a kill.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A private PostgreSQL cluster, which is removed when this is dropped.
///
/// `fsync` and `synchronous_commit` are on, unless the settings turn them off. The superuser
/// is `presence`. The service connects as `app`, which owns the database `presence`.
pub struct Cluster {
    folder: TempDir,
    settings: Vec<String>,
    port: u16,
    postmaster: Child,
}

impl Cluster {
    /// Starts a cluster with these settings, each `NAME=VALUE`.
    pub async fn start(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("presenced-torture.").tempdir().unwrap();
        own(folder.path());
        let made = command("initdb", folder.path())
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .args(["--username", "presence", "--auth", "trust", "--encoding", "UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb: {made}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
        let postmaster = postmaster(folder.path(), port, &settings);
        let cluster = Self { folder, settings, port, postmaster };
        cluster.wait_until_ready().await;
        cluster.run("create role app login").await;
        cluster.run("create database presence owner app").await;
        cluster
    }

    /// The URL for the service.
    pub fn url(&self) -> String {
        format!("postgres://app@127.0.0.1:{}/presence", self.port)
    }

    /// Runs a statement as the superuser, in the database `postgres`.
    pub async fn run(&self, sql: &str) {
        self.superuser("postgres").await.unwrap().execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// Connects as the superuser.
    pub async fn superuser(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&format!("postgres://presence@127.0.0.1:{}/{database}", self.port)).await
    }

    /// Connects as the service's user.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url()).await
    }

    /// Terminates the service's connections.
    pub async fn terminate(&self) {
        self.run(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'presenced'",
        )
        .await;
    }

    /// Kills the postmaster and all its children at once (SIGKILL).
    pub fn kill(&mut self) {
        let postmaster = self.postmaster.id();
        let mut all = vec![postmaster.to_string()];
        all.extend(children(postmaster));
        // A child may have ended by itself meanwhile.
        let _ = Command::new("kill").arg("-9").args(&all).stderr(Stdio::null()).status().unwrap();
        self.postmaster.wait().unwrap();
    }

    /// Starts the cluster again after a kill, and waits until it accepts connections.
    pub async fn restart(&mut self) {
        self.postmaster = postmaster(self.folder.path(), self.port, &self.settings);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&self) {
        let ready = async {
            while self.superuser("postgres").await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        timeout(START_TIMEOUT, ready).await.unwrap_or_else(|_| panic!("no PostgreSQL: {}", log()));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

fn postmaster(folder: &Path, port: u16, settings: &[String]) -> Child {
    let log = fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
    command("postgres", folder)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .args(["-c", &format!("port={port}")])
        .args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres starts")
}

/// The processes that `parent` started.
fn children(parent: u32) -> Vec<String> {
    let parent = parent.to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent)
    })
    .collect()
}

/// A program of the newest installed PostgreSQL. For root it runs as another user, because
/// PostgreSQL refuses to run as root.
fn command(program: &str, folder: &Path) -> Command {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let newest = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max();
    let path = newest.map_or_else(|| PathBuf::from(program), |(_, path)| path.join("bin").join(program));
    let mut command = Command::new(path);
    command.current_dir(folder);
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Gives a folder to the user that PostgreSQL runs as.
pub fn own(folder: &Path) {
    if let Some((user, group)) = other_user() {
        chown(folder, Some(user), Some(group)).unwrap();
    }
}

/// The user and group that PostgreSQL runs as if this process is root: `postgres`, else
/// `nobody`.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;

    (fs::metadata("/proc/self").unwrap().uid() == 0).then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let ids = |name: &str| {
            let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let mut ids = line.split(':').skip(1);
            Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
        };
        ids("postgres").or_else(|| ids("nobody")).unwrap()
    })
}
