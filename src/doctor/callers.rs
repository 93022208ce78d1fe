//! Authentication: the keys of tokens.

use super::report::{Fault, Finding};
use crate::{
    auth,
    settings::{AuthMode, Settings},
};

pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    if settings.auth.auth == AuthMode::None {
        return vec![unauthenticated(settings)];
    }
    // With both or neither, the settings are invalid, which is a finding of its own.
    let (source, fault, advice) = match (&settings.auth.jwks_file, &settings.auth.jwks_url) {
        (Some(file), None) => (
            format!("--jwks-file {}", file.display()),
            Fault::Settings,
            "give a readable JSON Web Key Set; docs/authentication.md lists the supported keys",
        ),
        (None, Some(url)) => (
            format!("--jwks-url {url}"),
            Fault::Other,
            "check that this machine reaches it and trusts its certificate; until then all callers are refused",
        ),
        _ => return Vec::new(),
    };
    vec![match auth::count_keys(&settings.auth).await {
        Ok(0) => Finding::fail(
            Fault::Other,
            "keys",
            format!("{source} contains no usable key: all callers are refused"),
            "give keys of a supported type; docs/authentication.md lists them",
        ),
        Ok(1) => Finding::ok("keys", format!("{source} contains 1 key")),
        Ok(keys) => Finding::ok("keys", format!("{source} contains {keys} keys")),
        Err(error) => Finding::fail(fault, "keys", format!("{source}: {error}"), advice),
    }]
}

fn unauthenticated(settings: &Settings) -> Finding {
    if settings.is_local() {
        return Finding::ok("callers", "not authenticated; both APIs are reachable from this machine only");
    }
    let detail = "not authenticated: any client that can connect can read and change every presence";
    Finding::warn("callers", detail, "give --auth jwt, unless a firewall or proxy keeps other clients out")
}
