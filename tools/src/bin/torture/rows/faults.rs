//! A database that is slow, silent, unreachable, full, or read-only.
//!
//! Each fault lasts for some seconds, with more callers than the queues hold. All of them
//! must get a response in time with the right code, memory must stay bounded, and the
//! service must recover by itself.

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

/// The limit of connections of a cluster that has to reach it.
const CONNECTIONS_MAX: usize = 40;
/// The size of the disk that has to fill up.
const DISK: &str = "size=64m";
/// The time within which all connections must be taken.
const PATIENCE: Duration = Duration::from_mins(1);

/// The network between the service and its database.
pub async fn network(load: Load) -> Vec<Row> {
    let cluster = Cluster::start(&[]).await;
    let faults = [
        ("is 2 s slow", Network::Slow(Duration::from_secs(2)), Fails::EverythingLate),
        ("hangs: accepts, and never responds", Network::Hung, Fails::EverythingLate),
        ("is cut off", Network::Cut, Fails::Everything),
        ("resets connections", Network::Reset, Fails::Everything),
        ("sends byte by byte", Network::Trickle, Fails::Something),
    ];
    let mut rows = Vec::new();
    for (name, network, fails) in faults {
        let (proxy, url) = Proxy::to(&cluster.url()).await;
        let bench = Bench::start(name, &url, load).await;
        proxy.set(network);
        let responses = bench.call_during_fault().await;
        proxy.set(Network::Up);
        rows.push(bench.recover(&responses, fails).await);
    }
    rows
}

/// Other clients hold all connections.
pub async fn out_of_connections(load: Load) -> Row {
    let cluster = Cluster::start(&[&format!("max_connections={CONNECTIONS_MAX}")]).await;
    let bench = Bench::start("is out of connections", &cluster.url(), load).await;
    let mut others = Vec::new();
    let taken = async {
        // All but the connections reserved for superusers.
        while others.len() < CONNECTIONS_MAX - 3 {
            match cluster.connect().await {
                Ok(connection) => others.push(connection),
                Err(_) => cluster.terminate().await,
            }
        }
    };
    timeout(PATIENCE, taken).await.expect("others take all connections");
    let responses = bench.call_during_fault().await;
    drop::<Vec<PgConnection>>(others);
    bench.recover(&responses, Fails::Everything).await
}

/// Like a failover after which the connections lead to a standby.
pub async fn read_only(load: Load) -> Row {
    let cluster = Cluster::start(&[]).await;
    let bench = Bench::start("is read-only", &cluster.url(), load).await;
    cluster.run("alter system set default_transaction_read_only = on").await;
    cluster.run("select pg_reload_conf()").await;
    let responses = bench.call_during_fault().await;
    cluster.run("alter system reset default_transaction_read_only").await;
    cluster.run("select pg_reload_conf()").await;
    bench.recover(&responses, Fails::Writes).await
}

/// A full disk, small and mounted for this row: under PostgreSQL's tables, and under an SQLite
/// file.
pub async fn disk_full(load: Load) -> Vec<Row> {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(why) => {
            return vec![Row {
                property: "the disk is full".to_owned(),
                tried: "not at all".to_owned(),
                figure: format!("cannot mount a small disk: {why}"),
                held: false,
            }];
        }
    };
    let cluster = Cluster::start(&[]).await;
    own(disk.path());
    cluster.run(&format!("create tablespace small location '{}'", disk.path().display())).await;
    cluster.run("alter database presence set tablespace small").await;
    let bench = Bench::start("has no room on its disk", &cluster.url(), load).await;
    let filler = disk.fill();
    let responses = bench.call_during_fault().await;
    fs::remove_file(filler).unwrap();
    let postgres = bench.recover(&responses, Fails::Writes).await;
    drop(cluster);

    let disk = Disk::mount().unwrap();
    let url = format!("sqlite://{}", disk.path().join("presence.db").display());
    let bench = Bench::start("(SQLite) has no room on its disk", &url, load).await;
    let filler = disk.fill();
    let responses = bench.call_during_fault().await;
    fs::remove_file(filler).unwrap();
    vec![postgres, bench.recover(&responses, Fails::Writes).await]
}

/// A small disk in memory, which is unmounted when this is dropped.
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

    /// Fills the disk with one file. Returns its path.
    fn fill(&self) -> PathBuf {
        let filler = self.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        let full = io::copy(&mut io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazy, because a process that uses the disk may still be ending.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
