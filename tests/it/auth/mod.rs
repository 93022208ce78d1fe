//! Authentication and permissions, at both APIs.

mod applications;
pub mod call;
mod keys;
mod me;
mod presence_light;
mod quiet;
mod table;
mod tenants;

use jsonwebtoken::Algorithm;
use presenced::settings::Settings;
use tempfile::TempDir;

use crate::support::{
    database::Engine,
    server::Server,
    tokens::{self, Signer},
};

/// A service with authentication, and a key that signs tokens for it.
pub struct Guarded {
    pub server: Server,
    pub signer: Signer,
    _keys: TempDir,
}

impl Guarded {
    /// Starts a service with one Ed25519 key.
    pub async fn start(engine: Engine, flags: &[&str]) -> Self {
        let signer = Signer::new(Algorithm::EdDSA, "key");
        let (server, keys) = start(engine, &[&signer], flags).await;
        Self { server, signer, _keys: keys }
    }
}

/// Starts a service that verifies tokens with these keys. They are in `keys.json` in the
/// returned folder.
pub async fn start(engine: Engine, signers: &[&Signer], flags: &[&str]) -> (Server, TempDir) {
    start_tuned(engine, signers, flags, |_| ()).await
}

/// Writes the public keys to `keys.json` in the returned folder, and returns its path.
pub fn keys_file(signers: &[&Signer]) -> (String, TempDir) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, tokens::key_set(signers)).unwrap();
    (file.to_str().unwrap().to_owned(), folder)
}

/// The same after `tune` has changed the settings.
pub async fn start_tuned(
    engine: Engine,
    signers: &[&Signer],
    flags: &[&str],
    tune: impl FnOnce(&mut Settings),
) -> (Server, TempDir) {
    let (file, folder) = keys_file(signers);
    let flags = [&tokens::FLAGS[..], &["--jwks-file", &file], flags].concat();
    (Server::start_tuned(engine, &flags, tune).await, folder)
}
