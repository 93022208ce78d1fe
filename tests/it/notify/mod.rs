//! The client of change notifications.

mod forgery;
mod receiver;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use presenced::notify::{Lookup, Outcome, ReceiverSettings, Receivers};
use tempfile::TempDir;

use crate::support::authority::Authority;

/// The name of the receivers.
const NAME: &str = "receiver.test";

/// Names that resolve as the test says: each lookup of a name takes the next of its answers, and the
/// last one stays.
#[derive(Debug, Default)]
struct Names(Mutex<BTreeMap<&'static str, VecDeque<Vec<IpAddr>>>>);

impl Names {
    fn set(&self, name: &'static str, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name, answers.iter().map(parse).collect());
    }
}

#[tonic::async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() })
    }
}

/// A client that trusts an authority of its own and resolves names as the test says.
struct Fixture {
    receivers: Receivers,
    authority: Authority,
    names: Arc<Names>,
    _folder: TempDir,
}

impl Fixture {
    fn new(allowed: &[&str], timeout: Duration) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, authority.pem()).unwrap();
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        let settings = ReceiverSettings { allowed, extra_roots: Some(ca), timeout };
        let names = Arc::<Names>::default();
        let lookup: Arc<dyn Lookup> = Arc::<Names>::clone(&names);
        let receivers = Receivers::with_lookup(&settings, lookup).unwrap();
        Self { receivers, authority, names, _folder: folder }
    }

    async fn post(&self, url: &str) -> Outcome {
        let url = self.receivers.check_url(url).unwrap();
        self.receivers.post(&url, HeaderMap::new(), Bytes::from_static(b"{}")).await
    }
}
