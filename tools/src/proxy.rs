//! A proxy between the service and its database that can break the network between them
//! in several ways.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// The delay between two bytes in [`Network::Trickle`].
const TRICKLE: Duration = Duration::from_millis(2);
/// How long a test waits for the proxy to hold bytes back.
const HOLD_TIMEOUT: Duration = Duration::from_secs(30);
/// PostgreSQL's message Sync, which ends a statement and so commits it.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// The state of the network between the service and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It works.
    Up,
    /// Connections end, and new ones are refused.
    Cut,
    /// Like `Cut`, with a reset in place of an orderly end.
    Reset,
    /// Connections stay open, and no byte passes.
    Hung,
    /// It works, but on a connection that carries this text, nothing passes from there on.
    Holding(&'static str),
    /// It works, but a statement of PostgreSQL runs without its commit: the Sync message after it
    /// does not pass.
    HoldingSync,
    /// All bytes are delayed.
    Slow(Duration),
    /// Bytes pass one at a time.
    Trickle,
}

/// A running proxy, which stops when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    link: Link,
    _tasks: JoinSet<()>,
}

/// The state that all connections of a proxy share.
#[derive(Clone, Debug)]
struct Link {
    network: Arc<watch::Sender<Network>>,
    /// How many times bytes were held back in the network's present state.
    held: Arc<watch::Sender<usize>>,
}

impl Proxy {
    /// Starts a proxy to the database in `url`. Also returns the URL that leads through it.
    pub async fn to(url: &str) -> (Self, String) {
        let (before, rest) = url.split_once('@').unwrap();
        let (target, after) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let link = Link { network: Arc::new(watch::Sender::new(Network::Up)), held: Arc::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(run(listener, target.to_owned(), link.clone()));
        (Self { link, _tasks: tasks }, format!("{before}@{address}/{after}"))
    }

    /// Changes what the network does from now on.
    pub fn set(&self, network: Network) {
        self.link.held.send_replace(0);
        self.link.network.send_replace(network);
    }

    /// Waits until the proxy holds bytes back on this many connections.
    pub async fn holds(&self, connections: usize) {
        let mut held = self.link.held.subscribe();
        let enough = timeout(HOLD_TIMEOUT, held.wait_for(|held| *held >= connections)).await;
        enough.expect("the proxy holds a statement back").unwrap();
    }
}

async fn run(listener: TcpListener, target: String, link: Link) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (target, link) = (target.clone(), link.clone());
        connections.spawn(async move {
            // An error means that one of the two sides closed the connection.
            let _ = connection(client, &target, link).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, target: &str, link: Link) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut network = link.network.subscribe();
    let mut now = *network.wait_for(|network| *network != Network::Hung).await.unwrap();
    if !is_broken(&now) {
        let mut server = TcpStream::connect(target).await?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        now = tokio::select! {
            ended = pass(&mut from_client, &mut to_server, &link) => return ended,
            ended = pass(&mut from_server, &mut to_client, &link) => return ended,
            broken = network.wait_for(is_broken) => *broken.unwrap(),
        };
    }
    if now == Network::Reset {
        client.set_zero_linger()?;
    }
    Ok(())
}

fn is_broken(network: &Network) -> bool {
    matches!(network, Network::Cut | Network::Reset)
}

impl Link {
    fn is(&self, network: Network) -> bool {
        *self.network.borrow() == network
    }

    /// Waits until the network lets these bytes pass. Returns its state then.
    async fn lets_pass(&self, bytes: &[u8]) -> Network {
        let passes = |network: &Network| match network {
            Network::Hung => false,
            Network::Holding(text) => !bytes.windows(text.len()).any(|part| part == text.as_bytes()),
            Network::HoldingSync => bytes != SYNC,
            _ => true,
        };
        let mut network = self.network.subscribe();
        let now = *network.borrow_and_update();
        if passes(&now) {
            return now;
        }
        self.held.send_modify(|held| *held += 1);
        *network.wait_for(passes).await.unwrap()
    }
}

/// Passes bytes on, as the network lets it, until the sender closes the connection.
async fn pass(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, link: &Link) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let mut left = &bytes[..read];
        if link.is(Network::HoldingSync)
            && let Some(statement) = left.strip_suffix(SYNC)
        {
            to.write_all(statement).await?;
            left = SYNC;
        }
        while !left.is_empty() {
            let (delay, at_once) = match link.lets_pass(left).await {
                Network::Slow(delay) => (delay, left.len()),
                Network::Trickle => (TRICKLE, 1),
                _ => (Duration::ZERO, left.len()),
            };
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            to.write_all(&left[..at_once]).await?;
            left = &left[at_once..];
        }
    }
}
