//! The keys that sign tokens in notifications: read from the database, made by the first replica that
//! needs one, and replaced when they are old.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use super::tokens::ServiceKey;
use crate::{
    clock::Clock,
    presence::Timestamp,
    store::{SigningKeyRow, Store, StoreError},
};

/// The age at which another key is made.
const ROTATED_AFTER: Duration = Duration::from_hours(30 * 24);
/// The age at which a key signs: until then, receivers and other replicas may not know it. The first key
/// signs at once.
const SIGNS_AFTER: Duration = Duration::from_hours(24);
/// The age at which a key is removed. By then no token that it signed is valid.
const REMOVED_AFTER: Duration = Duration::from_hours(40 * 24);

/// The keys of the service. Clones share them.
#[derive(Clone, Debug)]
pub struct ServiceKeys(watch::Sender<Keys>);

#[derive(Clone, Debug, Default)]
struct Keys {
    rows: Vec<SigningKeyRow>,
    /// The public keys, newest first.
    public: Vec<Value>,
    /// The key that signs.
    signing: Option<Arc<ServiceKey>>,
}

impl Default for ServiceKeys {
    fn default() -> Self {
        Self(watch::Sender::new(Keys::default()))
    }
}

impl ServiceKeys {
    /// The public keys, as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn public(&self) -> Value {
        json!({ "keys": self.0.borrow().public })
    }

    /// The key that signs; `None` before the first one was read.
    #[must_use]
    pub fn signing(&self) -> Option<Arc<ServiceKey>> {
        self.0.borrow().signing.clone()
    }

    /// Reads the keys, makes one if the newest is old or none exists, and removes old ones.
    pub async fn refresh(&self, store: &dyn Store, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.now();
        let mut rows = store.signing_keys().await?;
        let newest = rows.first().map(|row| row.created_at);
        if newest.is_none_or(|newest| newest + ROTATED_AFTER <= now) {
            match spawn_blocking(move || ServiceKey::generate(now)).await {
                Ok(Ok(row)) => {
                    // Another replica may have been first.
                    let oldest = now - ROTATED_AFTER;
                    store.add_signing_key(&row, oldest).await?;
                    info!("made a key that signs tokens in notifications");
                }
                failed => warn!(?failed, "making a key that signs tokens in notifications failed"),
            }
            let oldest = now - REMOVED_AFTER;
            store.remove_signing_keys(oldest).await?;
            rows = store.signing_keys().await?;
        }
        if self.0.borrow().rows != rows {
            self.0.send_replace(keys(rows, now));
        } else if let Some(signing) = signing(&rows, now) {
            let is_other = |keys: &Keys| keys.signing.as_ref().is_none_or(|key| key.id() != signing.key_id);
            if is_other(&self.0.borrow()) {
                self.0.send_replace(keys(rows, now));
            }
        }
        Ok(())
    }
}

/// The row of the key that signs: the newest that is old enough, or else the oldest.
fn signing(rows: &[SigningKeyRow], now: Timestamp) -> Option<&SigningKeyRow> {
    rows.iter().find(|row| row.created_at + SIGNS_AFTER <= now).or(rows.last())
}

fn keys(rows: Vec<SigningKeyRow>, now: Timestamp) -> Keys {
    let signing_id = signing(&rows, now).map(|row| row.key_id.clone());
    let mut keys = Keys::default();
    for row in &rows {
        match ServiceKey::parse(row) {
            Ok(key) => {
                keys.public.push(key.jwk().clone());
                if Some(&row.key_id) == signing_id.as_ref() {
                    keys.signing = Some(Arc::new(key));
                }
            }
            Err(error) => warn!(%error, "a key that signs tokens in notifications is ignored"),
        }
    }
    keys.rows = rows;
    keys
}
