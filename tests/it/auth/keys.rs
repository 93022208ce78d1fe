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
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, Header};
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
    // A key without an id signs tokens that name none.
    let kid = signer.jwk["kid"].as_str().map(str::to_owned);
    let header = Header { kid, ..Header::new(signer.algorithm) };
    let token = format!("Bearer {}", signer.sign_with(&header, &application(&["Presence.Read.All"])));
    caller.call(&get, Some(&token)).await.code
}

/// Calls until the code is `code`.
async fn call_until(caller: &Caller, signer: &Signer, code: u16) {
    let what = format!("a call with the key {:?} returns {code}", signer.id);
    eventually(&what, async || call_with(caller, signer).await == code).await;
}

/// The shortest interval between reads that tokens cause.
const TOKEN_INTERVAL: Duration = Duration::from_secs(10);

/// Two keys, of which the second replaces the first in one of the ways that issuers use.
fn rotations() -> [(&'static str, [Signer; 2]); 3] {
    let without_id = || {
        let mut signer = signer("");
        signer.jwk.as_object_mut().unwrap().remove("kid");
        signer
    };
    [
        ("another key id", ["old", "new"].map(signer)),
        ("the same key id", ["key", "key"].map(signer)),
        ("no key id", [without_id(), without_id()]),
    ]
}

#[tokio::test]
async fn a_rotation_is_seen_at_the_first_token_of_the_new_key() {
    for (rotation, [old, new]) in rotations() {
        let issuer = Issuer::default();
        issuer.publish(&[&old]);
        let (fetching, caller) = issuer.service().await;
        assert_eq!(call_with(&caller, &old).await, 0);
        issuer.publish(&[&new]);
        let first = call_with(&caller, &new).await;
        assert_eq!(first, 0, "{rotation}: the first token after {} fetches", issuer.fetches());
        assert_eq!(call_with(&caller, &old).await, 16, "{rotation}: a removed key verifies no token");
        fetching.stop().await;

        let (reading, folder) = start(Engine::Sqlite, &[&old], &[]).await;
        let caller = Caller::new(reading.addresses);
        assert_eq!(call_with(&caller, &old).await, 0);
        std::fs::write(folder.path().join("keys.json"), key_set(&[&new])).unwrap();
        assert_eq!(call_with(&caller, &new).await, 0, "{rotation}: the first token, with a file");
        assert_eq!(call_with(&caller, &old).await, 16, "{rotation}: a removed key verifies no token");
        reading.stop().await;
    }
}

#[tokio::test]
async fn tokens_that_no_key_verifies_cause_one_fetch_in_each_interval() {
    let issuer = Issuer::default();
    let [known, unknown, forged] = ["known", "unknown", "known"].map(signer);
    issuer.publish(&[&known]);
    let (server, caller) = issuer.service().await;
    assert_eq!(issuer.fetches(), 1, "at the start");
    let stopwatch = Stopwatch::start();
    let mut refused = 0;
    while issuer.fetches() < 3 {
        // They arrive together, so that all share one fetch.
        let calls = [&unknown, &forged, &unknown, &forged].map(|signer| call_with(&caller, signer));
        refused += join_all(calls).await.into_iter().filter(|code| *code == 16).count();
        assert!(stopwatch.elapsed() < 3 * TOKEN_INTERVAL, "a token causes no fetch");
        if stopwatch.elapsed() < TOKEN_INTERVAL {
            assert_eq!(issuer.fetches(), 2, "after {:?}", stopwatch.elapsed());
        }
    }
    assert!(refused > 100, "{refused} invalid tokens");
    assert_eq!(call_with(&caller, &known).await, 0);
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
