//! The Graph context: Microsoft Graph's presence API as HTTP/JSON, on its paths.
//!
//! Decodes, calls one method of the service, encodes.

mod actions;
mod body;
mod layer;
mod refusal;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};

use crate::{clock::Clock, service::Service, telemetry::Metrics};

/// The largest body that is let in, in bytes.
pub const BODY_MAX_BYTES: usize = 256 * 1_024;

/// The versions of Graph's API; both offer the same.
const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];
/// Where a user's presence is, and its actions below it.
const PRESENCES: [&str; 2] = ["/users/{id}/presence", "/communications/presences/{id}"];
/// Actions have two spellings; Graph PowerShell uses the second.
const ACTION_PREFIXES: [&str; 2] = ["", "microsoft.graph."];

/// What a request of this door needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The operations.
    pub service: Arc<Service>,
    /// For the dates in errors.
    pub clock: Clock,
    /// For the requests that are answered.
    pub metrics: Metrics,
}

/// The door's routes.
pub fn router(context: Context) -> Router {
    let mut api = Router::new();
    for presence in PRESENCES {
        api = api.route(presence, get(actions::get_presence));
        for prefix in ACTION_PREFIXES {
            api = api
                .route(&format!("{presence}/{prefix}setPresence"), post(actions::set_presence))
                .route(&format!("{presence}/{prefix}clearPresence"), post(actions::clear_presence));
        }
    }
    for prefix in ACTION_PREFIXES {
        let path = format!("/communications/{prefix}getPresencesByUserId");
        api = api.route(&path, post(actions::get_presences_by_user_id));
    }
    let mut router = Router::new();
    for version in VERSIONS {
        router = router.nest(version, api.clone());
    }
    router.layer(middleware::from_fn_with_state(context.clone(), layer::observe)).with_state(context)
}
