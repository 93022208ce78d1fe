//! Who calls: from a request's headers to a [`Caller`], the same for every API.
//!
//! What a caller may then do is decided in `service/permission.rs`.

mod claims;
mod jwks;
mod keys;
mod rate;
mod token;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    clock::Clock,
    service::{Caller, Error},
    settings::{AuthMode, AuthSettings},
    telemetry::Metrics,
};
use keys::{Keys, Source};
use rate::Rates;
use token::Tokens;

pub use jwks::KeySet;

/// Lets callers in, or not; clones are one.
#[derive(Clone, Debug)]
pub struct Gate {
    /// `None` while nobody is authenticated.
    tokens: Option<Tokens>,
    rates: Option<Arc<Rates>>,
}

impl Gate {
    /// A gate as the settings want it; it looks after its keys until `stop`. The
    /// error says which setting is wrong.
    pub async fn open(
        settings: &AuthSettings,
        clock: Clock,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let tokens = match settings.auth {
            AuthMode::None => None,
            AuthMode::Jwt => {
                let source = Source::new(settings)?;
                let keys = Keys::open(source, metrics.clone(), stop.clone()).await?;
                Some(Tokens::new(settings, keys, clock))
            }
        };
        if tokens.is_none() {
            warn!("nobody is authenticated: whoever can connect can read and change every presence");
        }
        let rates = settings.rate_limit.map(|limit| Rates::start(limit, stop));
        Ok(Self { tokens, rates })
    }

    /// Whether nobody is authenticated.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.tokens.is_none()
    }

    /// Who calls, if its token and its rate let it in.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let caller = match &self.tokens {
            None => Caller::ANONYMOUS,
            Some(tokens) => tokens.caller(bearer(headers)?).await?,
        };
        if let Some(rates) = &self.rates {
            rates.admit(&caller)?;
        }
        Ok(caller)
    }
}

/// How many keys there are now to verify tokens with, where the settings say that
/// they are; the error says why they can't be had.
pub async fn count_keys(settings: &AuthSettings) -> Result<usize, String> {
    let json = Source::new(settings)?.read().await?;
    KeySet::parse(&json).map(|keys| keys.len())
}

/// The token of a request. RFC 6750.
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
