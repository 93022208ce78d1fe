//! The client itself.

use std::{fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;
use reqwest::{Certificate, Client, ClientBuilder, Response, Url, redirect};
use tokio::time::timeout;

use super::{
    address::Addresses,
    handshake::{self, HandshakeError},
    outcome::{Outcome, UnreachableKind, unreachable},
    resolver::{CheckedResolver, Lookup, SystemLookup},
    url::{self, UrlError},
};

/// The time that a request has in all, from the resolution of the name to the end of the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time that the body of a response has. Its status has decided the outcome before.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The bytes that are read of a response's body.
const BODY_MAX_BYTES: usize = 4 * 1_024;

/// The time for which an idle connection is kept, and the number of them for each host.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const IDLE_MAX: usize = 64;

/// The times after which a connection of HTTP/2 is pinged, and given up. Without them all requests would
/// time out on a connection that broke silently, as each of them takes the same one.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!("presenced/", env!("CARGO_PKG_VERSION"));

/// The settings of the client.
#[derive(Clone, Debug)]
pub struct ReceiverSettings {
    /// Networks with receivers that are not public. A loopback address among them needs no TLS.
    pub allowed: Vec<IpNet>,
    /// A file with certificates of authorities in PEM, which are trusted beside those of the system.
    pub extra_roots: Option<PathBuf>,
    /// The time that a request has in all.
    pub timeout: Duration,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self { allowed: Vec::new(), extra_roots: None, timeout: TIMEOUT }
    }
}

/// The client that sends requests to receivers. Clones share its connections.
///
/// The connections for notifications belong to the runtime that first used them, so each runtime that
/// sends notifications needs a client of its own. Handshakes may be made on any runtime: each has its
/// own connection.
#[derive(Clone)]
pub struct Receivers {
    deliveries: Client,
    handshakes: Client,
    addresses: Arc<Addresses>,
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receivers").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Receivers {
    /// Creates a client. The error names the invalid setting.
    pub fn new(settings: &ReceiverSettings) -> Result<Self, String> {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// Creates a client that resolves names so.
    pub fn with_lookup(settings: &ReceiverSettings, lookup: Arc<dyn Lookup>) -> Result<Self, String> {
        let addresses = Arc::new(Addresses::new(settings.allowed.clone()));
        let resolver = CheckedResolver::new(lookup, Arc::clone(&addresses));
        let roots = roots(settings)?;
        let client = |idle_max| {
            let client = client(settings, &resolver, idle_max).tls_certs_merge(roots.clone());
            client.build().map_err(|error| format!("cannot create the client for subscriptions: {error:?}"))
        };
        Ok(Self { deliveries: client(IDLE_MAX)?, handshakes: client(0)?, addresses })
    }

    /// Parses a URL of a receiver, and checks all of it that needs no name resolution. The addresses of
    /// a name are checked by each request.
    pub fn check_url(&self, text: &str) -> Result<Url, UrlError> {
        url::parse(text, &self.addresses)
    }

    /// Sends a notification.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Outcome {
        // A stored URL may have become forbidden, and no name resolution checks an address.
        if url::check(url, &self.addresses).is_err() {
            return Outcome::FORBIDDEN;
        }
        match self.deliveries.post(url.clone()).headers(headers).body(body).send().await {
            Ok(mut response) => {
                // A stalled body must not cost the time of the next notification.
                let body = timeout(BODY_TIMEOUT, read(&mut response)).await;
                let words = body.map(Result::unwrap_or_default).unwrap_or_default();
                Outcome::of_response(response.status(), response.headers(), &words)
            }
            Err(error) => Outcome::of_error(error),
        }
    }

    /// Asks a receiver whether it wants notifications: it must return the token.
    pub async fn handshake(&self, url: &Url, token: &str) -> Result<(), HandshakeError> {
        if url::check(url, &self.addresses).is_err() {
            let kind = UnreachableKind::ForbiddenAddress;
            return Err(HandshakeError::Unreachable { kind, words: String::new() });
        }
        let failed = |error| {
            let (kind, words) = unreachable(error);
            HandshakeError::Unreachable { kind, words }
        };
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let request = self.handshakes.post(handshake::url_with_token(url, token));
        let request = request.header(header::CONTENT_TYPE, content_type).body(Bytes::new());
        let mut response = request.send().await.map_err(failed)?;
        let body = read(&mut response).await.map_err(failed)?;
        handshake::check(response.status(), response.headers(), &body, token)
    }
}

/// The certificates of the additional authorities.
fn roots(settings: &ReceiverSettings) -> Result<Vec<Certificate>, String> {
    let Some(path) = &settings.extra_roots else { return Ok(Vec::new()) };
    let error = |error: String| format!("--subscription-ca {}: {error}", path.display());
    // The file is small, and is read at the start.
    let pem = fs::read(path).map_err(|cause| error(cause.to_string()))?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|_| error("not valid PEM".to_owned()))?;
    if roots.is_empty() {
        return Err(error("contains no PEM certificate".to_owned()));
    }
    Ok(roots)
}

fn client(settings: &ReceiverSettings, resolver: &CheckedResolver, idle_max: usize) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .timeout(settings.timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .dns_resolver(resolver.clone())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle_max)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
}

/// Reads the start of a response's body. A longer body is not read to its end, which closes the
/// connection.
async fn read(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = BODY_MAX_BYTES.saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= BODY_MAX_BYTES {
            break;
        }
    }
    Ok(body)
}
