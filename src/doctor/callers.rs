//! Who is let in: the keys of tokens.

use super::{Fault, Finding};
use crate::{
    auth,
    settings::{AuthMode, Settings},
};

pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    if settings.auth.auth == AuthMode::None {
        return vec![nobody(settings)];
    }
    // One of them, or the settings do not go together.
    let (place, fault, advice) = match (&settings.auth.jwks_file, &settings.auth.jwks_url) {
        (Some(file), None) => (
            format!("--jwks-file {}", file.display()),
            Fault::Settings,
            "give a JSON Web Key Set that the service may read; docs/authentication.md says which keys it takes",
        ),
        (None, Some(url)) => (
            format!("--jwks-url {url}"),
            Fault::Other,
            "see whether this machine reaches it, and trusts its certificate: until then nobody is let in",
        ),
        _ => return Vec::new(),
    };
    vec![match auth::count_keys(&settings.auth).await {
        Ok(0) => Finding::fail(
            Fault::Other,
            "keys",
            format!("{place} holds no key that can be used: nobody is let in"),
            "give keys of the kinds in docs/authentication.md",
        ),
        Ok(1) => Finding::ok("keys", format!("{place} holds 1 key")),
        Ok(keys) => Finding::ok("keys", format!("{place} holds {keys} keys")),
        Err(error) => Finding::fail(fault, "keys", format!("{place}: {error}"), advice),
    }]
}

fn nobody(settings: &Settings) -> Finding {
    if settings.is_local() {
        return Finding::ok("callers", "nobody is authenticated; gRPC and HTTP listen on this machine only");
    }
    let detail = "nobody is authenticated: whoever can connect can read and change every presence";
    Finding::warn("callers", detail, "give --auth jwt, unless something else keeps strangers out")
}
