//! The HTTP client that sends notifications to receivers.
//!
//! A caller of the API chooses the URLs, so they may aim at services that only this machine reaches.
//! Therefore
//!
//! 1. a URL is https, and its host is no address that is not allowed;
//! 2. a name is resolved for each new connection, and the connection goes to an address that was
//!    checked in that step;
//! 3. redirects are not followed, proxies are not used, and nothing is decompressed;
//! 4. of a response only the status, `Retry-After` and the first bytes are used.

mod address;
mod client;
mod handshake;
mod outcome;
mod resolver;
mod url;

pub use client::{ReceiverSettings, Receivers};
pub use handshake::HandshakeError;
pub use outcome::{Outcome, UnreachableKind};
pub use resolver::{Lookup, SystemLookup};
pub use url::{URL_MAX_CHARS, UrlError, display_url};
