//! The keys that verify tokens: they rotate, become unavailable and return.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use jsonwebtoken::Algorithm;
use presenced::clock::Stopwatch;
use tokio::net::TcpListener;

use super::{
    call::{Call, Caller, all},
    start, start_tuned,
};
use crate::support::{
    database::Engine,
    metrics,
    server::Server,
    tokens::{APP, FLAGS, Signer, USER, application, key_set},
    wait::{eventually, pass_time},
};

/// The interval at which the service reads the key file.
const FILE_INTERVAL: Duration = Duration::from_secs(2);

/// An issuer that serves a key set; `None` while it is unavailable.
#[derive(Clone, Default)]
struct Issuer {
    set: Arc<Mutex<Option<String>>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    fn publish(&self, signers: &[&Signer]) {
        *self.set.lock().unwrap() = Some(key_set(signers));
    }

    fn fail(&self) {
        *self.set.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn serve(&self) -> SocketAddr {
        let issuer = self.clone();
        let keys = async move || {
            issuer.fetches.fetch_add(1, Ordering::SeqCst);
            issuer.set.lock().unwrap().clone().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(keys))).await });
        address
    }

    /// Starts a service that fetches the keys of this issuer.
    async fn service(&self) -> (Server, Caller) {
        let url = format!("http://{}/keys", self.serve().await);
        let server = Server::start_with(Engine::Sqlite, &[&FLAGS[..], &["--jwks-url", &url]].concat()).await;
        let caller = Caller::new(server.addresses);
        (server, caller)
    }
}

fn signer(id: &str) -> Signer {
    Signer::new(Algorithm::EdDSA, id)
}

/// The code of a call with a token that this key signed.
async fn call_with(caller: &Caller, signer: &Signer) -> u16 {
    let get: Call = all(USER, APP).into_iter().find(|call| call.name == "GetPresence").unwrap();
    let token = format!("Bearer {}", signer.sign(&application(&["Presence.Read.All"])));
    caller.call(&get, Some(&token)).await.code
}

/// Calls until the code is `code`.
async fn call_until(caller: &Caller, signer: &Signer, code: u16) {
    let what = format!("a call with the key {:?} returns {code}", signer.id);
    eventually(&what, async || call_with(caller, signer).await == code).await;
}

/// The shortest interval between fetches that unknown keys cause.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_unknown_key_causes_one_fetch_in_each_interval() {
    let issuer = Issuer::default();
    let [old, new, unknown] = ["old", "new", "unknown"].map(signer);
    issuer.publish(&[&old]);
    let stopwatch = Stopwatch::start();
    let (server, caller) = issuer.service().await;
    assert_eq!(call_with(&caller, &old).await, 0);
    assert_eq!(issuer.fetches(), 1, "at the start");

    issuer.publish(&[&new]);
    let mut refused = 0;
    while call_with(&caller, &new).await == 16 {
        refused += 1;
        assert!(stopwatch.elapsed() < 3 * UNKNOWN_KEY_INTERVAL, "the service does not fetch the new key");
    }
    assert!(refused > 10, "{refused} requests with an unknown key");
    assert!(stopwatch.elapsed() >= UNKNOWN_KEY_INTERVAL, "{:?}", stopwatch.elapsed());
    assert_eq!(issuer.fetches(), 2, "one fetch for all requests with an unknown key");
    assert_eq!(call_with(&caller, &new).await, 0);
    assert_eq!(call_with(&caller, &old).await, 16, "a removed key verifies no token");

    let stopwatch = Stopwatch::start();
    while issuer.fetches() == 2 {
        assert_eq!(call_with(&caller, &unknown).await, 16);
        assert!(stopwatch.elapsed() < 3 * UNKNOWN_KEY_INTERVAL, "an invented key causes no fetch");
    }
    assert!(stopwatch.elapsed() > UNKNOWN_KEY_INTERVAL / 2, "{:?}", stopwatch.elapsed());
    assert_eq!(issuer.fetches(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_verified_token_is_refused_after_it_expires() {
    let known = signer("known");
    let (server, _folder) = start_tuned(Engine::Sqlite, &[&known], &[], |settings| {
        settings.auth.jwt_leeway = Duration::ZERO;
    })
    .await;
    let caller = Caller::new(server.addresses);
    // The tokens are equal, so the second one comes from the cache.
    assert_eq!([call_with(&caller, &known).await, call_with(&caller, &known).await], [0, 0]);
    server.clock.advance(Duration::from_secs(3_599));
    assert_eq!(call_with(&caller, &known).await, 0);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(call_with(&caller, &known).await, 16);
    server.stop().await;
}

#[tokio::test]
async fn an_unavailable_issuer_leaves_the_last_keys_in_use() {
    let issuer = Issuer::default();
    let [known, unknown] = ["known", "unknown"].map(signer);
    let (server, caller) = issuer.service().await;
    assert_eq!(call_with(&caller, &known).await, 16, "without keys all calls are unauthenticated");
    issuer.publish(&[&known]);
    call_until(&caller, &known, 0).await;

    issuer.fail();
    let before = issuer.fetches();
    let fetched = async || {
        assert_eq!(call_with(&caller, &unknown).await, 16);
        issuer.fetches() > before
    };
    eventually("an unknown key makes the service fetch the keys", fetched).await;
    assert_eq!(call_with(&caller, &known).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_key_file_is_read_again_when_it_changes() {
    let [old, new] = ["old", "new"].map(signer);
    let (server, folder) = start(Engine::Sqlite, &[], &[]).await;
    let caller = Caller::new(server.addresses);
    let file = folder.path().join("keys.json");
    assert_eq!(call_with(&caller, &old).await, 16, "an empty set verifies no token");

    std::fs::write(&file, key_set(&[&old])).unwrap();
    pass_time(FILE_INTERVAL).await;
    call_until(&caller, &old, 0).await;
    std::fs::write(&file, "half a file").unwrap();
    pass_time(FILE_INTERVAL).await;
    let errors = async || metrics::value(server.addresses.admin, "presence_token_key_errors_total").await;
    eventually("the service reads the broken file", async || errors().await > 0.0).await;
    assert_eq!(call_with(&caller, &old).await, 0, "an unreadable file leaves the last keys in use");
    std::fs::write(&file, key_set(&[&new])).unwrap();
    pass_time(FILE_INTERVAL).await;
    call_until(&caller, &new, 0).await;
    assert_eq!(call_with(&caller, &old).await, 16);
    server.stop().await;
}
