//! References besides `pgbench`.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use presenced_tools::process::Running;
use sqlx::{
    ConnectOptions, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{net::TcpListener, runtime};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::server::health_reporter;

/// Serves gRPC's health service and nothing else, in the usual way: tonic's own server on a
/// runtime with one thread per core.
pub(crate) fn bare_tonic() {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let (_, health) = health_reporter();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder().add_service(health).serve_with_incoming(incoming).await.unwrap();
    });
}

/// Starts [`bare_tonic`] as a process. Returns it with its address.
pub(crate) fn start_bare_tonic() -> (Running, SocketAddr) {
    let this_program = env::current_exe().unwrap();
    let mut child = Command::new(this_program).arg("bare-tonic").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line.trim().parse().unwrap())
}

/// Measures SQLite alone. Returns commits per second, each of one row and durable.
pub(crate) fn sqlite_commits(users: u32, length: Duration) -> f64 {
    const TABLE: &str = "
        create table sessions (user_id text not null, session_id text not null, set_at integer not null,
                               expires_at integer not null, primary key (user_id, session_id)) strict, without rowid";
    const UPSERT: &str = "
        insert into sessions values (?1, 'bench', ?2, ?2 + 3600000)
        on conflict (user_id, session_id) do update
        set set_at = excluded.set_at, expires_at = excluded.expires_at";

    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("reference.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection: SqliteConnection = options.connect().await.unwrap();
        sqlx::query(TABLE).execute(&mut connection).await.unwrap();
        let start = Instant::now();
        let mut commits = 0_u32;
        while start.elapsed() < length {
            let user = format!("bench-{}", fastrand::u32(0..users));
            sqlx::query(UPSERT).bind(user).bind(i64::from(commits)).execute(&mut connection).await.unwrap();
            commits += 1;
        }
        f64::from(commits) / start.elapsed().as_secs_f64()
    })
}
