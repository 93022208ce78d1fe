//! Encryption.

use std::path::PathBuf;

use clap::Args;

/// Settings of TLS; the comments are the text of `--help`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// The certificate of gRPC and HTTP in PEM, with the chain behind it; read again when it changes.
    /// Without it they are not encrypted.
    #[arg(long, env = "PRESENCE_TLS_CERT", global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(long, env = "PRESENCE_TLS_KEY", global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Let nobody call at gRPC's own port without a certificate signed by one of these, in PEM.
    #[arg(long, env = "PRESENCE_TLS_CLIENT_CA", global = true, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// What is wrong with the settings taken together.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) | (None, Some(_), _) => {
                Err("--tls-cert and --tls-key go together: give both or neither".to_owned())
            }
            (None, None, Some(_)) => {
                Err("--tls-client-ca takes TLS: give --tls-cert and --tls-key, too".to_owned())
            }
            _ => Ok(()),
        }
    }
}
