//! The pieces of change notifications that know nothing of a subscription's life: certificates and
//! encryption, signatures, tokens, the bodies, and the HTTP client that sends them.
//!
//! The operations use the checks of certificates, keys and URLs; the deliverer uses the rest.

mod certificate;
mod encryption;
mod failure;
mod keys;
mod payload;
mod receiver;
mod tokens;
mod webhook;

pub use certificate::{Certificate, CertificateError};
pub use encryption::EncryptedContent;
pub use failure::CryptoFailure;
pub use keys::ServiceKeys;
pub use payload::{
    BODY_MAX_BYTES, Body, Order, PRESENCES_MAX, PayloadError, RichContent, graph_body, graph_reauthorization,
    service_body, service_reauthorization,
};
pub use receiver::{
    HandshakeError, Lookup, Outcome, ReceiverSettings, Receivers, SystemLookup, URL_MAX_CHARS,
    UnreachableKind, UrlError, display_url,
};
pub use reqwest::Url;
pub use tokens::{InvalidServiceKey, ServiceKey};
pub use webhook::{SigningKey, SigningKeyError, generate_signing_key, signatures};
