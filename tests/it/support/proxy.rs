//! A proxy between the service and its database that can break the network
//! between them in several ways.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// From one byte to the next of a network that trickles.
const TRICKLE: Duration = Duration::from_millis(2);

/// What the network between the two does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It works.
    Up,
    /// Connections break, and new ones are refused.
    Cut,
    /// The same, with a reset instead of an orderly end.
    Reset,
    /// Connections stay open, and nothing passes.
    Hung,
    /// All that passes is late by so much.
    Slow(Duration),
    /// Everything passes byte by byte.
    Trickle,
}

pub struct Proxy {
    network: Arc<watch::Sender<Network>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy to the database in `url`, and the URL that leads through it.
    pub async fn to(url: &str) -> (Self, String) {
        let (before, rest) = url.split_once('@').unwrap();
        let (target, after) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(watch::Sender::new(Network::Up));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(listener, target.to_owned(), Arc::clone(&network)));
        (Self { network, _tasks: tasks }, format!("{before}@{address}/{after}"))
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn run(listener: TcpListener, target: String, network: Arc<watch::Sender<Network>>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let network = network.subscribe();
        let target = target.clone();
        connections.spawn(async move {
            // Whoever closes it first has ended it.
            let _ = connection(client, &target, network).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    mut client: TcpStream,
    target: &str,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut now = *network.wait_for(|network| *network != Network::Hung).await.unwrap();
    if !is_broken(&now) {
        let mut server = TcpStream::connect(target).await?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        now = tokio::select! {
            ended = pass(&mut from_client, &mut to_server, network.clone()) => return ended,
            ended = pass(&mut from_server, &mut to_client, network.clone()) => return ended,
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

/// Hands on what comes in, as the network lets it, to the end.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let mut left = &bytes[..read];
        while !left.is_empty() {
            let now = *network.wait_for(|network| *network != Network::Hung).await.unwrap();
            let (late, at_once) = match now {
                Network::Slow(late) => (late, left.len()),
                Network::Trickle => (TRICKLE, 1),
                _ => (Duration::ZERO, left.len()),
            };
            if !late.is_zero() {
                sleep(late).await;
            }
            to.write_all(&left[..at_once]).await?;
            left = &left[at_once..];
        }
    }
}
