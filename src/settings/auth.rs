//! Who is let in.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use uuid::Uuid;

use super::{parse::Secret, rate_limit::RateLimit};

/// By how much the issuer's clock may differ from this machine's.
const JWT_LEEWAY: Duration = Duration::from_secs(60);

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// Nobody is authenticated: whoever can connect can read and change all.
    None,
    /// Each call carries a signed token (JWT).
    Jwt,
}

/// Which sessions an application may set and clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionIdPolicy {
    /// The one whose id is the application's in the token, if it names one.
    Application,
    /// Any.
    Any,
}

/// Settings of authentication; the comments are the text of `--help`.
#[expect(clippy::doc_markdown, rustdoc::bare_urls, reason = "text for a terminal")]
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthSettings {
    /// How callers are known.
    #[arg(long, env = "PRESENCE_AUTH", default_value = "none", global = true, value_enum)]
    pub auth: AuthMode,

    /// Where the keys are that sign tokens: a JSON Web Key Set, fetched every 5 minutes, and when a
    /// token names a key that is not known, every 10 s at most. https, or http on this machine.
    #[arg(long, env = "PRESENCE_JWKS_URL", global = true, value_name = "URL", hide_env_values = true)]
    pub jwks_url: Option<Secret>,

    /// The same as a file, which is read again when it changes.
    #[arg(long, env = "PRESENCE_JWKS_FILE", global = true, value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,

    /// Who must have issued a token (claim iss); {tenantid} stands for the token's tenant.
    #[arg(long, env = "PRESENCE_JWT_ISSUER", global = true, value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,

    /// For whom a token must be (claim aud); with commas between them, any of several.
    #[arg(
        long,
        env = "PRESENCE_JWT_AUDIENCE",
        global = true,
        value_name = "AUDIENCE",
        value_delimiter = ','
    )]
    pub jwt_audience: Vec<String>,

    /// The tenant of tokens that name none (claim tid); without this they let nobody in.
    #[arg(long, env = "PRESENCE_JWT_DEFAULT_TENANT", global = true, value_name = "GUID")]
    pub jwt_default_tenant: Option<Uuid>,

    /// Which sessions an application may set and clear: its own, whose id is the application's in the
    /// token, or any.
    #[arg(
        long,
        env = "PRESENCE_SESSION_ID_POLICY",
        default_value = "application",
        global = true,
        value_enum
    )]
    pub session_id_policy: SessionIdPolicy,

    /// How often an application of a tenant may call, as CALLS/DURATION, e.g. 10000/30s; each item of a
    /// $batch counts. Each replica counts by itself. Without this there is no limit.
    #[arg(long, env = "PRESENCE_RATE_LIMIT", global = true, value_name = "RATE")]
    pub rate_limit: Option<RateLimit>,

    /// Leave out what describes the API to anybody: gRPC reflection, /openapi.json and /docs.
    #[arg(long, env = "PRESENCE_NO_REFLECTION", global = true, value_parser = BoolishValueParser::new())]
    pub no_reflection: bool,

    /// Origins whose pages may call the HTTP API from a browser, e.g. https://app.example.com, with commas
    /// between them; none without this.
    #[arg(long, env = "PRESENCE_CORS_ORIGINS", global = true, value_name = "ORIGINS", value_delimiter = ',')]
    #[arg(value_parser = origin)]
    pub cors_origins: Vec<String>,

    /// [`JWT_LEEWAY`]; tests replace it.
    #[arg(skip = JWT_LEEWAY)]
    pub jwt_leeway: Duration,
}

impl AuthSettings {
    /// What is wrong with the settings taken together.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.auth {
            AuthMode::None => self.check_none(),
            AuthMode::Jwt => self.check_jwt(),
        }
    }

    /// A setting of tokens that has no effect is a mistake that lets everybody in.
    fn check_none(&self) -> Result<(), String> {
        let given = [
            ("--jwks-url", self.jwks_url.is_some()),
            ("--jwks-file", self.jwks_file.is_some()),
            ("--jwt-issuer", self.jwt_issuer.is_some()),
            ("--jwt-audience", !self.jwt_audience.is_empty()),
            ("--jwt-default-tenant", self.jwt_default_tenant.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                Err(format!("{flag} has no effect while nobody is authenticated: give --auth jwt, too"))
            }
            None => Ok(()),
        }
    }

    fn check_jwt(&self) -> Result<(), String> {
        if self.jwks_url.is_some() == self.jwks_file.is_some() {
            return Err("--auth jwt takes either --jwks-url or --jwks-file".to_owned());
        }
        if self.jwt_issuer.as_ref().is_none_or(String::is_empty) {
            return Err("--auth jwt takes --jwt-issuer: who issues the tokens (claim iss)".to_owned());
        }
        if self.jwt_audience.is_empty() || self.jwt_audience.iter().any(String::is_empty) {
            return Err("--auth jwt takes --jwt-audience: for whom the tokens are (claim aud)".to_owned());
        }
        self.jwks_url.as_ref().map_or(Ok(()), check_jwks_url)
    }
}

/// Whoever can change the keys on their way can let anybody in.
fn check_jwks_url(url: &Secret) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url.expose()).map_err(|error| format!("--jwks-url {url}: {error}"))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if here => Ok(()),
        _ => Err(format!(
            "--jwks-url {url} must be https: on the way, anybody could put in keys and sign tokens with them"
        )),
    }
}

/// An origin as a browser sends it: scheme, host, and port unless it is the
/// scheme's own.
fn origin(text: &str) -> Result<String, String> {
    let same = |url: &reqwest::Url| url.origin().ascii_serialization() == text;
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && same(&url) => Ok(text.to_owned()),
        _ => Err("must be an origin as browsers send it, such as https://app.example.com".to_owned()),
    }
}
