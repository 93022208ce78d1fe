//! Settings of authentication.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use http::uri::Authority;
use uuid::Uuid;

use super::{parse::Secret, rate_limit::RateLimit};
use crate::presence::parse_guid;

/// The tolerance between the issuer's clock and this machine's.
const JWT_LEEWAY: Duration = Duration::from_mins(1);

/// How callers are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// Callers are not authenticated. Any client that can connect can read and change everything.
    None,
    /// Each request carries a signed access token (JWT).
    Jwt,
}

/// The sessions that an application may set and clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionIdPolicy {
    /// APPLICATION and APPLICATION:SUFFIX, if the token names an application.
    Application,
    /// Any session.
    Any,
}

/// Settings of authentication; the comments of fields are the text of `--help`.
#[expect(clippy::doc_markdown, rustdoc::bare_urls, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthSettings {
    /// Authentication of callers.
    #[arg(long, env = "PRESENCE_AUTH", default_value = "none", global = true)]
    #[arg(value_enum, value_name = "MODE")]
    pub auth: AuthMode,

    /// URL of the JSON Web Key Set whose keys sign tokens.
    ///
    /// It must be https, or http on this machine. The service fetches it every 5 minutes, and at most
    /// every 10 s when no key verifies a token.
    #[arg(long, env = "PRESENCE_JWKS_URL", global = true, value_name = "URL")]
    pub jwks_url: Option<Secret>,

    /// File with the JSON Web Key Set, as an alternative to --jwks-url. A changed file is read again.
    #[arg(long, env = "PRESENCE_JWKS_FILE", global = true, value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,

    /// Issuer that tokens must name (claim iss).
    ///
    /// {tenantid} stands for the token's tenant.
    #[arg(long, env = "PRESENCE_JWT_ISSUER", global = true, value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,

    /// Audience that tokens must name (claim aud).
    ///
    /// Several audiences, separated by commas, are alternatives.
    #[arg(
        long,
        env = "PRESENCE_JWT_AUDIENCE",
        global = true,
        value_name = "AUDIENCE",
        value_delimiter = ','
    )]
    pub jwt_audience: Vec<String>,

    /// Tenant of tokens that name none (claim tid). Without it, such tokens are refused.
    #[arg(long, env = "PRESENCE_JWT_DEFAULT_TENANT", global = true, value_name = "GUID")]
    #[arg(value_parser = guid)]
    pub jwt_default_tenant: Option<Uuid>,

    /// Refusal of tokens that name no application (claim appid or azp). Without it, a permission to write
    /// lets such a token set and clear sessions of all applications.
    #[arg(
        long,
        env = "PRESENCE_REQUIRE_APPLICATION",
        global = true,
        value_parser = BoolishValueParser::new()
    )]
    pub require_application: bool,

    /// Sessions that an application may set and clear.
    #[arg(long, env = "PRESENCE_SESSION_ID_POLICY", default_value = "application", global = true)]
    #[arg(value_enum, value_name = "POLICY")]
    pub session_id_policy: SessionIdPolicy,

    /// Rate limit of one application in one tenant as CALLS/DURATION, such as 10000/30s. Each request of
    /// a $batch and each message of a stream counts. Each replica counts separately. Without it, there
    /// is no limit.
    #[arg(long, env = "PRESENCE_RATE_LIMIT", global = true, value_name = "RATE")]
    pub rate_limit: Option<RateLimit>,

    /// No descriptions of the API: gRPC reflection, /openapi.json and /docs, which need no token.
    #[arg(long, env = "PRESENCE_NO_REFLECTION", global = true, value_parser = BoolishValueParser::new())]
    pub no_reflection: bool,

    /// Origins whose pages may call the HTTP API from a browser, separated by commas, such as
    /// https://app.example.com. Without it, no page may.
    #[arg(long, env = "PRESENCE_CORS_ORIGINS", global = true, value_name = "ORIGINS", value_delimiter = ',')]
    #[arg(value_parser = origin)]
    pub cors_origins: Vec<String>,

    /// Hosts that requests to the HTTP API may name, beside localhost and IP addresses, separated by commas,
    /// such as presence.example.com.
    ///
    /// Without it, the API serves every host, unless it listens on a loopback address without
    /// authentication: a page could then reach it under the page's own name (DNS rebinding). On a loopback
    /// address, it also holds for the admin API.
    #[arg(long, env = "PRESENCE_ALLOWED_HOSTS", global = true, value_name = "HOSTS", value_delimiter = ',')]
    #[arg(value_parser = host)]
    pub allowed_hosts: Vec<String>,

    /// Tolerance between the issuer's clock and this machine's. No flag sets it.
    #[arg(skip = JWT_LEEWAY)]
    pub jwt_leeway: Duration,
}

impl AuthSettings {
    /// The errors of the settings together.
    pub(super) fn violations(&self) -> Vec<String> {
        match self.auth {
            AuthMode::None => self.without_effect(),
            AuthMode::Jwt => self.missing(),
        }
    }

    /// A setting of tokens without `--auth jwt` is a mistake that leaves the service
    /// unprotected.
    fn without_effect(&self) -> Vec<String> {
        let given = [
            ("--jwks-url", self.jwks_url.is_some()),
            ("--jwks-file", self.jwks_file.is_some()),
            ("--jwt-issuer", self.jwt_issuer.is_some()),
            ("--jwt-audience", !self.jwt_audience.is_empty()),
            ("--jwt-default-tenant", self.jwt_default_tenant.is_some()),
            ("--require-application", self.require_application),
        ];
        let given = given.iter().filter(|(_, given)| *given);
        let without_effect = |flag| {
            format!("{flag} has no effect because callers are not authenticated: give --auth jwt, too")
        };
        given.map(|(flag, _)| without_effect(flag)).collect()
    }

    fn missing(&self) -> Vec<String> {
        let mut violations = Vec::new();
        if self.jwks_url.is_some() == self.jwks_file.is_some() {
            violations.push("--auth jwt requires either --jwks-url or --jwks-file".to_owned());
        }
        if self.jwt_issuer.as_ref().is_none_or(String::is_empty) {
            violations.push("--auth jwt requires --jwt-issuer: the issuer of tokens (claim iss)".to_owned());
        }
        if self.jwt_audience.is_empty() || self.jwt_audience.iter().any(String::is_empty) {
            violations
                .push("--auth jwt requires --jwt-audience: the audience of tokens (claim aud)".to_owned());
        }
        violations.extend(self.jwks_url.as_ref().and_then(|url| check_jwks_url(url).err()));
        violations
    }
}

/// An attacker who replaces the keys in transit can sign tokens.
fn check_jwks_url(url: &Secret) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url.expose()).map_err(|error| format!("--jwks-url {url}: {error}"))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_local => Ok(()),
        _ => Err(format!(
            "--jwks-url {url} must be https: over http, an attacker could replace the keys and sign tokens"
        )),
    }
}

fn guid(text: &str) -> Result<Uuid, String> {
    parse_guid(text).ok_or_else(|| "must be a GUID".to_owned())
}

/// The name of a host, without a port.
fn host(text: &str) -> Result<String, String> {
    match text.parse::<Authority>() {
        Ok(authority) if authority.as_str() == authority.host() => Ok(text.to_owned()),
        _ => Err("must be the name of a host without a port, such as presence.example.com".to_owned()),
    }
}

/// An origin as a browser sends it: scheme, host, and the port unless it is the scheme's
/// default.
fn origin(text: &str) -> Result<String, String> {
    let is_same = |url: &reqwest::Url| url.origin().ascii_serialization() == text;
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && is_same(&url) => Ok(text.to_owned()),
        _ => Err("must be an origin as browsers send it, such as https://app.example.com".to_owned()),
    }
}
