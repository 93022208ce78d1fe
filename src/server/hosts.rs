//! The hosts that requests may name.
//!
//! A page can give its own name the address of this machine (DNS rebinding). To the browser, the service
//! is then of the page's origin. The name in the request remains the page's, so it is refused.

use std::{net::IpAddr, sync::Arc};

use axum::extract::Request;
use http::{HeaderValue, header::HOST, uri::Authority};

use crate::settings::{AuthMode, Settings};

/// The hosts that requests to one API may name; cheap to clone.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Names in lower case beside local ones and IP addresses; `None` if every host is served.
    allowed: Option<Arc<[String]>>,
}

impl Hosts {
    /// Those of the HTTP API. With tokens, a page can do nothing under a name of its own.
    #[must_use]
    pub fn of_http(settings: &Settings) -> Self {
        let names = &settings.auth.allowed_hosts;
        let is_open = settings.auth.auth == AuthMode::None && settings.http_addr.ip().is_loopback();
        if is_open || !names.is_empty() { Self::only(names) } else { Self { allowed: None } }
    }

    /// Those of the admin API. Other machines reach it by the name of this one.
    #[must_use]
    pub fn of_admin(settings: &Settings) -> Self {
        let is_local = settings.admin_addr.ip().is_loopback();
        if is_local { Self::only(&settings.auth.allowed_hosts) } else { Self { allowed: None } }
    }

    /// Names of this machine, IP addresses, and these names.
    fn only(names: &[String]) -> Self {
        Self { allowed: Some(names.iter().map(|name| name.to_ascii_lowercase()).collect()) }
    }

    /// Whether a request may name its host. Browsers always name one.
    #[must_use]
    pub fn serve(&self, request: &Request) -> bool {
        let Some(allowed) = &self.allowed else { return true };
        let Some(authority) = authority(request) else { return !request.headers().contains_key(HOST) };
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        is_local || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || allowed.contains(&host)
    }
}

/// The host of a request, with its port; `None` if it is missing or not text.
#[must_use]
pub fn authority(request: &Request) -> Option<&str> {
    let header = || request.headers().get(HOST).map(HeaderValue::to_str)?.ok();
    request.uri().authority().map(Authority::as_str).or_else(header)
}
