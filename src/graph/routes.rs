//! Which operation a path stands for.

use std::{fmt, sync::Arc};

use axum::{extract::Request, routing::MethodRouter};
use matchit::{InsertError, Router};

use super::{matched::Matched, state::HttpState};
use crate::telemetry::RequestId;

/// What a path stands for.
#[derive(Clone)]
pub(super) struct Route {
    /// The operation's name in metrics and logs.
    pub(super) operation: &'static str,
    /// The whole path, with the names of its variables: `/v1.0/users/{id}/presence`.
    pub(super) path: String,
    /// Whether it takes no token.
    pub(super) open: bool,
    /// `/v1.0` or `/beta`; empty for what has no version.
    version: &'static str,
    /// Whether it is below `/communications`.
    communications: bool,
    /// What answers, by the verb.
    pub(super) methods: MethodRouter,
}

impl Route {
    /// An operation at one of its paths, which stands behind the version.
    pub(super) fn new(
        operation: &'static str,
        version: &'static str,
        path: &str,
        methods: MethodRouter,
    ) -> Self {
        let communications = path.starts_with("/communications/");
        let path = format!("{version}{path}");
        Self { operation, path, open: false, version, communications, methods }
    }

    /// What tells nothing about users, and so takes no token.
    pub(super) fn open(operation: &'static str, path: &str, methods: MethodRouter) -> Self {
        Self { operation, path: path.to_owned(), open: true, version: "", communications: false, methods }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// HttpApi by their paths.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) context: Arc<HttpState>,
    routes: Router<Route>,
}

impl RouteTable {
    pub(super) fn new(context: Arc<HttpState>) -> Self {
        Self { context, routes: Router::new() }
    }

    /// One more. The error is that there is one at its path.
    pub(super) fn add(&mut self, route: Route) -> Result<(), InsertError> {
        self.routes.insert(route.path.clone(), route)
    }

    /// Whether there is anything at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.routes.at(path).is_ok()
    }

    /// What the request's path stands for, which the request then knows, too.
    pub(super) fn find(&self, request: &mut Request, request_id: RequestId) -> Option<&Route> {
        let found = self.routes.at(request.uri().path()).ok()?;
        let Route { version, communications, .. } = *found.value;
        let id = found.params.get("id").map(ToOwned::to_owned);
        let matched = Matched { version, communications, id, request_id };
        let route = found.value;
        request.extensions_mut().insert(matched);
        Some(route)
    }
}
