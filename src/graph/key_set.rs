//! The public keys of the service, which verify the tokens in notifications (RFC 7517).

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use matchit::InsertError;

use super::{
    routes::{Route, RouteTable},
    state::HttpState,
};

/// The path of the key set, which needs no token.
const PATH: &str = "/.well-known/jwks.json";
/// A key is published a day before it signs, so receivers may keep the set for an hour.
const CACHED: &str = "public, max-age=3600";

/// Adds the route of the key set.
pub(super) fn add_route(table: &mut RouteTable) -> Result<(), InsertError> {
    let methods = get(key_set).with_state(Arc::clone(&table.state));
    table.add(Route::public("key_set", PATH, methods))
}

async fn key_set(State(state): State<Arc<HttpState>>) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, CACHED)];
    (headers, state.service_keys.public().to_string()).into_response()
}
