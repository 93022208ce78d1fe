//! The routes: which operation serves a path.

use std::{fmt, sync::Arc};

use axum::{extract::Request, routing::MethodRouter};
use http::Method;
use matchit::{InsertError, Router};
use utoipa::openapi::HttpMethod;

use super::{matched::Matched, odata::Known, operation::HttpOperation, state::HttpState};
use crate::telemetry::RequestId;

/// An operation at one path.
#[derive(Clone)]
pub(super) struct Route {
    /// The operation's name in metrics and logs.
    pub(super) operation: &'static str,
    /// The whole path, with the names of its variables: `/v1.0/users/{id}/presence`.
    pub(super) path: String,
    /// Whether the operation needs no token.
    pub(super) public: bool,
    /// The operation's method; HEAD is also served if it is GET.
    pub(super) method: Method,
    /// The input that the operation reads.
    pub(super) input: Known,
    /// `/v1.0` or `/beta`; empty for a path without a version.
    version: &'static str,
    /// Whether the path is below `/communications`.
    communications: bool,
    /// The handlers of the path by method, also those of its other operations.
    pub(super) methods: MethodRouter,
}

impl Route {
    /// An operation of the API at a path behind the version.
    pub(super) fn new(
        operation: &HttpOperation,
        version: &'static str,
        path: &str,
        methods: MethodRouter,
    ) -> Self {
        Self {
            operation: operation.name,
            path: format!("{version}{path}"),
            public: false,
            method: match operation.method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Patch => Method::PATCH,
                HttpMethod::Delete => Method::DELETE,
                _ => Method::POST,
            },
            input: Known {
                body: operation.body.is_some(),
                options: operation.query.iter().map(|option| option.name()).collect(),
                has_data: operation.response.has_data(),
            },
            version,
            communications: path.starts_with("/communications/"),
            methods,
        }
    }

    /// A resource without data of users, which needs no token.
    pub(super) fn public(operation: &'static str, path: &str, methods: MethodRouter) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            public: true,
            method: Method::GET,
            input: Known::default(),
            version: "",
            communications: false,
            methods,
        }
    }

    /// Whether a request with this method runs the operation.
    pub(super) fn serves(&self, method: &Method) -> bool {
        *method == self.method || (*method == Method::HEAD && self.method == Method::GET)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// Routes by path.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) state: Arc<HttpState>,
    /// The operations of each path, which have different methods.
    routes: Router<Vec<Route>>,
}

impl RouteTable {
    pub(super) fn new(state: Arc<HttpState>) -> Self {
        Self { state, routes: Router::new() }
    }

    /// Adds a route; fails if the path contradicts that of another route.
    pub(super) fn add(&mut self, route: Route) -> Result<(), InsertError> {
        let path = route.path.clone();
        match self.routes.at_mut(&path) {
            Ok(found) if found.value.iter().any(|other| other.path == path) => {
                let others = found.value;
                let all = others.iter().map(|other| &other.methods).next().cloned().unwrap_or_default();
                let methods = all.merge(route.methods.clone());
                others.push(route);
                for route in others {
                    route.methods = methods.clone();
                }
                Ok(())
            }
            _ => self.routes.insert(path, vec![route]),
        }
    }

    /// Whether a route has this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.routes.at(path).is_ok()
    }

    /// Finds the route of a request, and adds [`Matched`] to the request. If no operation of the path
    /// has the request's method, it is any of them.
    pub(super) fn find(&self, request: &mut Request, request_id: RequestId) -> Option<&Route> {
        let found = self.routes.at(request.uri().path()).ok()?;
        let serving = found.value.iter().find(|route| route.serves(request.method()));
        let route = serving.or(found.value.first())?;
        let Route { version, communications, .. } = *route;
        let id = found.params.get("id").map(ToOwned::to_owned);
        let matched = Matched { version, communications, id, request_id };
        request.extensions_mut().insert(matched);
        Some(route)
    }
}
