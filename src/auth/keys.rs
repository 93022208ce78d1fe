//! Reads the keys that verify tokens, and keeps them up to date.
//!
//! 1. If the key set cannot be read, the last one stays in use, so that an unavailable
//!    issuer does not lock out its callers.
//! 2. A token that no key verifies causes a new read at once, because the issuer may have replaced
//!    a key, with or without a new key id. All such tokens together cause at most one read every
//!    [`TOKEN_INTERVAL`], so that invalid tokens cannot flood the issuer.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Client, Url, redirect};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::jwks::KeySet;
use crate::{clock::Stopwatch, settings::AuthSettings, telemetry::Metrics};

/// The interval at which a file is read.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// The interval at which a URL is fetched.
const URL_INTERVAL: Duration = Duration::from_mins(5);
/// The interval at which a URL is fetched after a failure, or without a key.
const URL_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The shortest interval between reads that tokens cause.
const TOKEN_INTERVAL: Duration = Duration::from_secs(10);
/// The timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest key set, in bytes.
const SET_MAX_BYTES: usize = 1_024 * 1_024;

/// The source of the keys.
#[derive(Clone)]
pub(super) enum Source {
    /// The URL may contain a secret.
    Url(Client, Url),
    File(PathBuf),
}

/// The current keys. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    read: watch::Receiver<KeySnapshot>,
    /// Notified when a token needs a read.
    needed: Arc<Notify>,
}

/// The keys in use after the last read.
#[derive(Clone, Debug)]
struct KeySnapshot {
    keys: Arc<KeySet>,
    /// The number of reads that tokens caused.
    token_reads: u64,
    /// Runs since the last of them.
    last_token_read: Option<Stopwatch>,
}

impl KeySnapshot {
    /// Whether a token may cause a read.
    fn token_may_read(&self) -> bool {
        self.last_token_read.is_none_or(|last| last.elapsed() >= TOKEN_INTERVAL)
    }
}

impl fmt::Debug for Source {
    /// Writes only the kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(..) => "Url",
            Self::File(_) => "File",
        })
    }
}

impl Source {
    /// The source that the settings name. The error names the invalid setting.
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
            (None, None) => Err("--auth jwt requires either --jwks-url or --jwks-file".to_owned()),
        }
    }

    pub(super) async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            // The file is small, and the main runtime serves no requests.
            Self::File(path) => {
                std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
            }
            Self::Url(client, url) => fetch(client, url).await,
        }
    }

    const fn interval(&self, succeeded: bool) -> Duration {
        match self {
            Self::File(_) => FILE_INTERVAL,
            Self::Url(..) if succeeded => URL_INTERVAL,
            Self::Url(..) => URL_RETRY_INTERVAL,
        }
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    // The URL may contain a secret, and the operator knows it from the settings.
    let error = |error: reqwest::Error| format!("cannot fetch the key set: {:?}", error.without_url());
    let mut response = client.get(url.clone()).send().await.map_err(error)?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("cannot fetch the key set: the response is {}", response.status()));
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
    /// Reads the keys. Also returns what reads them again. A file must be readable at the start; a URL
    /// may be unavailable.
    pub(super) async fn open(source: Source, metrics: Metrics) -> Result<(Self, KeyReader), String> {
        let mut reader = Reader { source, metrics, last: None, failing: false };
        let keys = match reader.read().await {
            Ok(keys) => keys.unwrap_or_default(),
            Err(error) if matches!(reader.source, Source::File(_)) => {
                return Err(format!("--jwks-file: {error}"));
            }
            Err(_) => Arc::default(),
        };
        if keys.is_empty() {
            warn!("no key to verify tokens: all requests are unauthenticated");
        }
        let (send, read) = watch::channel(KeySnapshot { keys, token_reads: 0, last_token_read: None });
        let needed = Arc::new(Notify::new());
        let keys = Self { read, needed: Arc::clone(&needed) };
        Ok((keys, KeyReader { reader, send, needed }))
    }

    /// The current keys.
    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.read.borrow().keys)
    }

    /// The keys after another read, unless a token caused one too recently. Tokens that arrive
    /// during the read share it.
    pub(super) async fn reread(&self) -> Arc<KeySet> {
        let mut read = self.read.clone();
        let (may_read, before) = {
            let snapshot = read.borrow_and_update();
            (snapshot.token_may_read(), snapshot.token_reads)
        };
        if may_read {
            self.needed.notify_one();
            // If the read takes too long, the current keys decide.
            let _ = timeout(FETCH_TIMEOUT, read.wait_for(|now| now.token_reads != before)).await;
        }
        self.current()
    }
}

/// Reads the keys periodically, and when a token needs it.
#[derive(Debug)]
pub struct KeyReader {
    reader: Reader,
    send: watch::Sender<KeySnapshot>,
    needed: Arc<Notify>,
}

impl KeyReader {
    /// Reads the keys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.reader.run(self.send, self.needed)).await;
    }
}

/// The source of the keys, and what its last read returned.
#[derive(Debug)]
struct Reader {
    source: Source,
    metrics: Metrics,
    /// The text of the last read.
    last: Option<Vec<u8>>,
    /// Whether the last read failed. Further failures are not logged.
    failing: bool,
}

impl Reader {
    async fn run(mut self, send: watch::Sender<KeySnapshot>, needed: Arc<Notify>) {
        loop {
            let interval = self.source.interval(!self.failing && !send.borrow().keys.is_empty());
            let for_token = tokio::select! {
                () = sleep(interval) => false,
                () = needed.notified() => true,
            };
            // A token that arrived during the last read may have left a notification.
            if for_token && !send.borrow().token_may_read() {
                continue;
            }
            let new = self.read().await.ok().flatten();
            send.send_modify(|read| {
                read.keys = new.unwrap_or_else(|| Arc::clone(&read.keys));
                if for_token {
                    (read.token_reads, read.last_token_read) =
                        (read.token_reads.wrapping_add(1), Some(Stopwatch::start()));
                }
            });
        }
    }

    /// The keys if they have changed. Logs an error.
    async fn read(&mut self) -> Result<Option<Arc<KeySet>>, String> {
        let outcome = self.source.read().await.and_then(|json| {
            let keys =
                if self.last.as_ref() == Some(&json) { None } else { Some(Arc::new(KeySet::parse(&json)?)) };
            self.last = Some(json);
            Ok(keys)
        });
        match &outcome {
            Ok(Some(keys)) => {
                info!(keys = keys.len(), "token keys loaded");
                self.metrics.set_token_keys(keys.len());
            }
            Err(error) if !self.failing => {
                warn!(
                    error,
                    "failed to read the token keys; the last ones stay in use, and further failures are not logged"
                );
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
