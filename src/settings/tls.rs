//! Settings of TLS.

use std::path::PathBuf;

use clap::Args;

/// Settings of TLS; the comments of fields are the text of `--help`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// Certificate of both APIs, followed by its chain, in PEM. A changed file is read again. Without a
    /// certificate, both APIs are unencrypted.
    #[arg(long, env = "PRESENCE_TLS_CERT", global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM.
    #[arg(long, env = "PRESENCE_TLS_KEY", global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Certificate authorities for clients, in PEM. Each client of the gRPC address must then present a
    /// certificate that one of them has signed. The HTTP address does not ask for one.
    #[arg(long, env = "PRESENCE_TLS_CLIENT_CA", global = true, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// The error of the settings together.
    pub(super) fn violation(&self) -> Option<String> {
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) | (None, Some(_), _) => {
                Some("--tls-cert and --tls-key belong together: give both or neither".to_owned())
            }
            (None, None, Some(_)) => Some("--tls-client-ca requires --tls-cert and --tls-key".to_owned()),
            _ => None,
        }
    }
}
