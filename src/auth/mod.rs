//! Authenticates requests: from a request's headers to a [`Caller`], for both APIs.
//!
//! `service/permission.rs` decides what the caller may do.

mod claims;
mod jwks;
mod keys;
mod rate;
mod token;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use tracing::warn;

use crate::{
    clock::Clock,
    service::{Caller, Error, Rates},
    settings::{AuthMode, AuthSettings},
    telemetry::Metrics,
};
use keys::{Keys, Source};
use rate::rates;
use token::Tokens;

pub use jwks::KeySet;
pub use keys::KeyReader;
pub use rate::RateCleanup;

/// Authenticates callers and limits their rates. Clones share keys and rates.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// `None` while authentication is disabled.
    tokens: Option<Tokens>,
    rates: Option<Arc<Rates>>,
}

/// What an authenticator needs to stay current. Each part must run in the background.
#[derive(Debug)]
pub struct KeptCurrent {
    /// Reads the keys again; none while authentication is disabled.
    pub keys: Option<KeyReader>,
    /// Removes old counts; none without a rate limit.
    pub rates: Option<RateCleanup>,
}

impl Authenticator {
    /// Opens an authenticator. Also returns what keeps it current. The error names the invalid
    /// setting.
    pub async fn open(
        settings: &AuthSettings,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<(Self, KeptCurrent), String> {
        let (tokens, keys) = match settings.auth {
            AuthMode::None => (None, None),
            AuthMode::Jwt => {
                let source = Source::new(settings)?;
                let (keys, reader) = Keys::open(source, metrics.clone()).await?;
                (Some(Tokens::new(settings, keys, clock)), Some(reader))
            }
        };
        if tokens.is_none() {
            warn!("authentication is disabled: any client can read and change every presence");
        }
        let rates = settings.rate_limit.map(|limit| Arc::new(rates(limit)));
        let kept = KeptCurrent { keys, rates: rates.clone().map(RateCleanup) };
        Ok((Self { tokens, rates }, kept))
    }

    /// Whether authentication is disabled.
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        self.tokens.is_none()
    }

    /// Counts a further message of a caller's stream as a call. The error is a caller above its rate.
    pub fn count_message(&self, caller: &Caller) -> Result<(), Error> {
        self.rates.as_ref().map_or(Ok(()), |rates| rates.check(caller))
    }

    /// The caller of a request. The error is an invalid token, or a caller above its rate.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let caller = match &self.tokens {
            None => Caller::ANONYMOUS,
            Some(tokens) => tokens.caller(bearer(headers)?).await?,
        };
        if let Some(rates) = &self.rates {
            rates.check(&caller)?;
        }
        Ok(caller)
    }
}

/// Reads the keys that verify tokens from the settings' source and counts them. The error
/// says why the source cannot be read.
pub async fn count_keys(settings: &AuthSettings) -> Result<usize, String> {
    let json = Source::new(settings)?.read().await?;
    KeySet::parse(&json).map(|keys| keys.len())
}

/// The bearer token of a request (RFC 6750).
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Error::token_missing()) };
    if values.next().is_some() {
        return Err(Error::token_invalid("The request has several Authorization headers. Send one."));
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Error::token_missing()),
    }
}
