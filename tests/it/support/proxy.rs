//! A proxy between the service and its database that can cut and hang it.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What the network between the two does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It works.
    Up,
    /// Connections break, and new ones are refused.
    Cut,
    /// Connections stay open, and nothing passes.
    Hung,
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
        let (mut client, _) = listener.accept().await.unwrap();
        let mut network = network.subscribe();
        let target = target.clone();
        connections.spawn(async move {
            loop {
                match *network.borrow_and_update() {
                    Network::Cut => return,
                    Network::Hung => {}
                    Network::Up => break,
                }
                network.changed().await.unwrap();
            }
            let Ok(mut server) = TcpStream::connect(&target).await else { return };
            let mut pass = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
            loop {
                let up = *network.borrow_and_update();
                match up {
                    Network::Cut => return,
                    Network::Hung => network.changed().await.unwrap(),
                    Network::Up => tokio::select! {
                        _ = pass.as_mut() => return,
                        changed = network.changed() => changed.unwrap(),
                    },
                }
            }
        });
    }
}
