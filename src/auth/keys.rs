//! Where the keys come from, and when they are read again.
//!
//! Rules:
//!
//! 1. A set that can't be read leaves the one before in force: an issuer that is
//!    away for a while shuts nobody out.
//! 2. A token that names an unknown key has the set read again at once, but not
//!    more often than every [`UNKNOWN_KEY_INTERVAL`], whoever makes up ids.

use std::{path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Client, Url, redirect};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::jwks::KeySet;
use crate::{clock::Stopwatch, settings::AuthSettings, telemetry::Metrics};

/// How often a file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// How often a URL is asked.
const URL_INTERVAL: Duration = Duration::from_mins(5);
/// How often a URL is asked that has not answered.
const URL_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How often unknown keys may have the set read again.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(10);
/// How long a URL may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest set that is read, in bytes.
const SET_MAX_BYTES: usize = 1_024 * 1_024;

/// Where the keys are.
#[derive(Clone)]
pub(super) enum Source {
    /// It may hold a secret.
    Url(Client, Url),
    File(PathBuf),
}

/// The keys in force; clones are one.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    read: watch::Receiver<KeySnapshot>,
    unknown_key: Arc<Notify>,
}

/// What the last attempt to read the set left in force.
#[derive(Clone, Debug)]
struct KeySnapshot {
    keys: Arc<KeySet>,
    at: Stopwatch,
}

impl Source {
    /// The settings' source; the error says what is wrong with them.
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, String> {
        match (&settings.jwks_url, &settings.jwks_file) {
            (Some(url), _) => {
                let client = Client::builder().timeout(FETCH_TIMEOUT).redirect(redirect::Policy::none());
                let client = client.build().map_err(|error| format!("--jwks-url {url}: {error}"))?;
                let parsed =
                    Url::parse(url.expose()).map_err(|error| format!("--jwks-url {url}: {error}"))?;
                Ok(Self::Url(client, parsed))
            }
            (None, Some(file)) => Ok(Self::File(file.clone())),
            (None, None) => Err("--auth jwt takes either --jwks-url or --jwks-file".to_owned()),
        }
    }

    pub(super) async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            // It is small, and on the runtime that serves nobody.
            Self::File(path) => {
                std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
            }
            Self::Url(client, url) => fetch(client, url).await,
        }
    }

    const fn interval(&self, works: bool) -> Duration {
        match self {
            Self::File(_) => FILE_INTERVAL,
            Self::Url(..) if works => URL_INTERVAL,
            Self::Url(..) => URL_RETRY_INTERVAL,
        }
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    // The URL may hold a secret; where it is, is known from the settings.
    let error = |error: reqwest::Error| format!("the key set can't be fetched: {:?}", error.without_url());
    let mut response = client.get(url.clone()).send().await.map_err(error)?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("the key set can't be fetched: the answer is {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(error)? {
        body.extend_from_slice(&chunk);
        if body.len() > SET_MAX_BYTES {
            return Err(format!("the key set is larger than {SET_MAX_BYTES} bytes"));
        }
    }
    Ok(body)
}

impl Keys {
    /// Reads the keys, and reads them again until `stop`. A file must be
    /// readable; an issuer may be away.
    pub(super) async fn open(
        source: Source,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let mut reader = Reader { source, metrics, last: None, failing: false };
        let keys = match reader.read().await {
            Ok(keys) => keys.unwrap_or_default(),
            Err(error) if matches!(reader.source, Source::File(_)) => {
                return Err(format!("--jwks-file: {error}"));
            }
            Err(_) => Arc::default(),
        };
        if keys.is_empty() {
            warn!("there is no key to verify tokens with: nobody is let in");
        }
        let (send, read) = watch::channel(KeySnapshot { keys, at: Stopwatch::start() });
        let unknown_key = Arc::new(Notify::new());
        tokio::spawn({
            let unknown_key = Arc::clone(&unknown_key);
            async move { stop.run_until_cancelled(reader.run(send, unknown_key)).await }
        });
        Ok(Self { read, unknown_key })
    }

    /// The keys in force.
    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.read.borrow().keys)
    }

    /// The keys after another look at where they are, unless that was lately.
    pub(super) async fn reread(&self) -> Arc<KeySet> {
        let mut read = self.read.clone();
        if read.borrow_and_update().at.elapsed() >= UNKNOWN_KEY_INTERVAL {
            self.unknown_key.notify_one();
            // Whether or not there is news in time, what is in force counts.
            let _ = timeout(FETCH_TIMEOUT, read.changed()).await;
        }
        self.current()
    }
}

/// Reads the keys again and again.
struct Reader {
    source: Source,
    metrics: Metrics,
    /// What was read last.
    last: Option<Vec<u8>>,
    /// Whether the last attempt failed: an issuer that is away for long must
    /// not fill the log.
    failing: bool,
}

impl Reader {
    async fn run(mut self, send: watch::Sender<KeySnapshot>, unknown_key: Arc<Notify>) {
        loop {
            let interval = self.source.interval(!self.failing && !send.borrow().keys.is_empty());
            tokio::select! {
                () = sleep(interval) => {}
                () = unknown_key.notified() => {
                    if send.borrow().at.elapsed() < UNKNOWN_KEY_INTERVAL {
                        continue;
                    }
                }
            }
            let new = self.read().await.ok().flatten();
            send.send_modify(|read| {
                read.keys = new.unwrap_or_else(|| Arc::clone(&read.keys));
                read.at = Stopwatch::start();
            });
        }
    }

    /// The keys if they have changed; an error is logged.
    async fn read(&mut self) -> Result<Option<Arc<KeySet>>, String> {
        let outcome = self.source.read().await.and_then(|json| {
            let keys =
                if self.last.as_ref() == Some(&json) { None } else { Some(Arc::new(KeySet::parse(&json)?)) };
            self.last = Some(json);
            Ok(keys)
        });
        match &outcome {
            Ok(Some(keys)) => {
                info!(keys = keys.len(), "read the keys of tokens");
                self.metrics.set_token_keys(keys.len());
            }
            Err(error) if !self.failing => {
                warn!(error, "keeping the keys of tokens; more of the same is not logged");
            }
            Ok(None) | Err(_) => {}
        }
        self.failing = outcome.is_err();
        if self.failing {
            self.metrics.token_keys_failed();
        }
        outcome
    }
}
