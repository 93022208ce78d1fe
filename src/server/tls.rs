//! TLS certificates from files, which are read again when they change.

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    CertificateError, OtherError, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::validity::first_expiry;
use crate::{
    presence::Timestamp,
    settings::TlsSettings,
    telemetry::{LogThrottle, Metrics},
};

/// The interval at which the files are read.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// The time without a refused certificate after which the next one is logged again.
const REFUSAL_QUIET: Duration = Duration::from_mins(1);

/// What to do about a certificate that rustls cannot read.
const VERSION_1: &str = "it is of X.509 version 1; make one of version 3, with openssl x509 -req by giving -extfile a \
                         file with the line extendedKeyUsage=clientAuth";

/// The ALPN names of the protocols.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// The current TLS configuration of one API. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    config: watch::Receiver<Arc<ServerConfig>>,
    refusals: Arc<Refusals>,
}

/// Limits the log lines about certificates of clients, of version 1 and all others.
#[derive(Debug)]
struct Refusals {
    version_1: LogThrottle,
    other: LogThrottle,
}

impl Tls {
    /// The configuration for new connections.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Logs a handshake that failed: as a warning if the certificate of the client was refused, because
    /// the operator of that client sees only an alert.
    pub(super) fn log_failure(&self, error: &io::Error, peer: Option<SocketAddr>) {
        let peer = peer.map(tracing::field::display);
        let (because, throttle) = match refused_certificate(error) {
            None => return debug!(%error, peer, "TLS handshake failed"),
            Some(because) if because == VERSION_1 => (because, &self.refusals.version_1),
            Some(because) => (because, &self.refusals.other),
        };
        if throttle.fails() {
            warn!(because, peer, "the certificate of a client is refused; logged once a minute at most");
        } else {
            debug!(because, peer, "the certificate of a client is refused");
        }
    }

    fn new(config: watch::Receiver<Arc<ServerConfig>>) -> Self {
        let [version_1, other] = [REFUSAL_QUIET; 2].map(LogThrottle::new);
        Self { config, refusals: Arc::new(Refusals { version_1, other }) }
    }

    /// Reads the certificates: the configurations of gRPC and HTTP, or `None` without TLS.
    /// Also returns what reads them again. The error names the setting whose file is invalid.
    pub fn open(
        settings: &TlsSettings,
        metrics: &Metrics,
    ) -> Result<Option<(Self, Self, CertificateReader)>, String> {
        let Some(paths) = Paths::of(settings) else { return Ok(None) };
        let files = paths.read()?;
        let (grpc, http) = files.configs()?;
        let metrics = metrics.clone();
        metrics.set_certificate_expiry(files.first_expiry());
        let ((send_grpc, grpc), (send_http, http)) = (watch::channel(grpc), watch::channel(http));
        let reader = CertificateReader { paths, files, metrics, grpc: send_grpc, http: send_http };
        Ok(Some((Self::new(grpc), Self::new(http), reader)))
    }
}

/// Reads changed certificates. Invalid files leave the last valid ones in use.
pub struct CertificateReader {
    paths: Paths,
    files: Files,
    metrics: Metrics,
    grpc: watch::Sender<Arc<ServerConfig>>,
    http: watch::Sender<Arc<ServerConfig>>,
}

impl fmt::Debug for CertificateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateReader").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl CertificateReader {
    /// Reads the files every few seconds, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        while stop.run_until_cancelled(sleep(READ_INTERVAL)).await.is_some() {
            let read = self.paths.read_changed(&mut self.files);
            let fails = read.is_err();
            match read {
                Ok(Some((grpc, http))) => {
                    info!("TLS certificate reloaded");
                    self.metrics.set_certificate_expiry(self.files.first_expiry());
                    self.grpc.send_replace(grpc);
                    self.http.send_replace(http);
                }
                Err(error) if !failing => {
                    warn!(error, "failed to reload the TLS certificate, keeping the last one");
                }
                Ok(None) | Err(_) => {}
            }
            failing = fails;
        }
    }
}

/// The reason why the certificate of a client was refused; `None` if the handshake failed for another
/// reason.
fn refused_certificate(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        // rustls has no value of its own for a certificate without the field `version`.
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))
            if other.to_string().contains("UnsupportedCertVersion") =>
        {
            Some(VERSION_1.to_owned())
        }
        rustls::Error::InvalidCertificate(reason) => Some(reason.to_string()),
        rustls::Error::NoCertificatesPresented => Some("the client presented none".to_owned()),
        _ => None,
    }
}

#[derive(Clone, Debug)]
struct Paths {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The contents of the files. They hold a secret, so the type has no `Debug`.
#[derive(PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// The configurations of gRPC and HTTP.
type Configs = (Arc<ServerConfig>, Arc<ServerConfig>);

/// The certificates in the files, without the private key.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The service's certificate and its chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The authorities that sign the certificates of gRPC clients.
    pub client_ca: Vec<CertificateDer<'static>>,
}

/// Reads the certificates that [`Tls::open`] would use; `None` without TLS. The error is
/// the same, too.
pub fn read_certificates(settings: &TlsSettings) -> Result<Option<Certificates>, String> {
    let Some(paths) = Paths::of(settings) else { return Ok(None) };
    let files = paths.read()?;
    files.configs()?;
    let client_ca = files.client_ca.as_ref().map(|pem| certificates("--tls-client-ca", pem));
    Ok(Some(Certificates {
        chain: certificates("--tls-cert", &files.cert)?,
        client_ca: client_ca.transpose()?.unwrap_or_default(),
    }))
}

impl Paths {
    fn of(settings: &TlsSettings) -> Option<Self> {
        let (cert, key) = (settings.tls_cert.clone()?, settings.tls_key.clone()?);
        Some(Self { cert, key, client_ca: settings.tls_client_ca.clone() })
    }

    fn read(&self) -> Result<Files, String> {
        // The files are small, and the main runtime serves no requests.
        let read = |flag: &str, path: &PathBuf| {
            std::fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
        };
        Ok(Files {
            cert: read("--tls-cert", &self.cert)?,
            key: read("--tls-key", &self.key)?,
            client_ca: self.client_ca.as_ref().map(|path| read("--tls-client-ca", path)).transpose()?,
        })
    }

    /// The new configurations if the files differ from `last`. Invalid files are not
    /// parsed again until they change.
    fn read_changed(&self, last: &mut Files) -> Result<Option<Configs>, String> {
        let files = self.read()?;
        if files == *last {
            return Ok(None);
        }
        *last = files;
        last.configs().map(Some)
    }
}

impl Files {
    /// The time at which the first certificate of the chain expires.
    fn first_expiry(&self) -> Option<Timestamp> {
        first_expiry(&certificates("--tls-cert", &self.cert).unwrap_or_default())
    }

    fn configs(&self) -> Result<Configs, String> {
        let grpc = self.config(self.client_ca.as_deref(), &[HTTP_2])?;
        let http = self.config(None, &[HTTP_2, HTTP_1])?;
        Ok((Arc::new(grpc), Arc::new(http)))
    }

    fn config(&self, client_ca: Option<&[u8]>, protocols: &[&[u8]]) -> Result<ServerConfig, String> {
        let chain = certificates("--tls-cert", &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| "--tls-key does not contain a PEM private key".to_owned())?;
        let builder = ServerConfig::builder();
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("--tls-client-ca", pem)? {
                    roots.add(certificate).map_err(|error| format!("--tls-client-ca: {error}"))?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder
                    .with_client_cert_verifier(verifier.map_err(|error| format!("--tls-client-ca: {error}"))?)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("--tls-cert and --tls-key do not match: {error}"))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

fn certificates(flag: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{flag} does not contain a PEM certificate")),
        Err(error) => Err(format!("{flag} is not valid PEM: {error}")),
    }
}
