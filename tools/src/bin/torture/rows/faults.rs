//! A database that is slow, silent, away, full, or takes no writes.
//!
//! Each fault lasts for some seconds under more callers than the queues hold. All of
//! them must be answered in time and with the right code, the memory must not grow
//! with them, and the service must work again by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sqlx::PgConnection;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    Row,
    callers::{Bench, Fails, Load},
    cluster::{Cluster, own},
};
use presenced_tools::proxy::{Network, Proxy};

/// Connections that the cluster takes that runs out of them.
const CONNECTIONS_MAX: usize = 40;
/// The disk that gets full.
const DISK: &str = "size=64m";
/// How long it may take until nobody gets a connection any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// The network between the service and its database.
pub async fn network(load: Load) -> Vec<Row> {
    let cluster = Cluster::start(&[]).await;
    let faults = [
        ("is 2 s slow", Network::Slow(Duration::from_secs(2)), Fails::EverythingLate),
        ("hangs: accepts, and never answers", Network::Hung, Fails::EverythingLate),
        ("is cut off", Network::Cut, Fails::Everything),
        ("resets connections", Network::Reset, Fails::Everything),
        ("speaks byte by byte", Network::Trickle, Fails::Something),
    ];
    let mut rows = Vec::new();
    for (name, network, fails) in faults {
        let (proxy, url) = Proxy::to(&cluster.url()).await;
        let bench = Bench::start(name, &url, load).await;
        proxy.set(network);
        let felt = bench.suffer().await;
        proxy.set(Network::Up);
        rows.push(bench.recover(&felt, fails).await);
    }
    rows
}

/// Others have taken all connections.
pub async fn out_of_connections(load: Load) -> Row {
    let cluster = Cluster::start(&[&format!("max_connections={CONNECTIONS_MAX}")]).await;
    let bench = Bench::start("is out of connections", &cluster.url(), load).await;
    let mut others = Vec::new();
    let taken = async {
        // All but those that are kept for superusers.
        while others.len() < CONNECTIONS_MAX - 3 {
            match cluster.connect().await {
                Ok(connection) => others.push(connection),
                Err(_) => cluster.terminate().await,
            }
        }
    };
    timeout(PATIENCE, taken).await.expect("others take all connections");
    let felt = bench.suffer().await;
    drop::<Vec<PgConnection>>(others);
    bench.recover(&felt, Fails::Everything).await
}

/// As after a failover, once the connections lead to a standby.
pub async fn read_only(load: Load) -> Row {
    let cluster = Cluster::start(&[]).await;
    let bench = Bench::start("is read-only", &cluster.url(), load).await;
    cluster.run("alter system set default_transaction_read_only = on").await;
    cluster.run("select pg_reload_conf()").await;
    let felt = bench.suffer().await;
    cluster.run("alter system reset default_transaction_read_only").await;
    cluster.run("select pg_reload_conf()").await;
    bench.recover(&felt, Fails::Writes).await
}

/// No room for another row, on a small disk of its own: under PostgreSQL's tables, and under
/// an SQLite file.
pub async fn disk_full(load: Load) -> Vec<Row> {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(why) => {
            return vec![Row {
                property: "the disk is full".to_owned(),
                tried: "not at all".to_owned(),
                figure: format!("a small disk can't be had: {why}"),
                held: false,
            }];
        }
    };
    let cluster = Cluster::start(&[]).await;
    own(disk.path());
    cluster.run(&format!("create tablespace small location '{}'", disk.path().display())).await;
    cluster.run("alter database presence set tablespace small").await;
    let bench = Bench::start("has no room on its disk", &cluster.url(), load).await;
    let rest = disk.fill();
    let felt = bench.suffer().await;
    fs::remove_file(rest).unwrap();
    let postgres = bench.recover(&felt, Fails::Writes).await;
    drop(cluster);

    let disk = Disk::mount().unwrap();
    let url = format!("sqlite://{}", disk.path().join("presence.db").display());
    let bench = Bench::start("(SQLite) has no room on its disk", &url, load).await;
    let rest = disk.fill();
    let felt = bench.suffer().await;
    fs::remove_file(rest).unwrap();
    vec![postgres, bench.recover(&felt, Fails::Writes).await]
}

/// A small disk in memory; gone when dropped.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mounted.status.success() {
            Ok(Self(folder))
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let rest = self.path().join("rest");
        let mut file = fs::File::create(&rest).unwrap();
        let full = io::copy(&mut io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        rest
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what stood on it may still be about to end.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
