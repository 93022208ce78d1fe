//! An operation of the API, as the table of operations describes it.

use std::sync::Arc;

use axum::routing::MethodRouter;
use utoipa::openapi::HttpMethod;

use super::{odata::IDS, schemas::RegisterSchema, state::HttpState};

/// An operation of the API.
pub(super) struct HttpOperation {
    /// The service's name of it, for metrics, logs and the document.
    pub(super) name: &'static str,
    pub(super) method: HttpMethod,
    /// The path below each path of a user's presence, or the whole path.
    pub(super) path: &'static str,
    pub(super) route: fn() -> MethodRouter<Arc<HttpState>>,
    /// One line, without a full stop.
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) body: Option<RegisterSchema>,
    pub(super) response: OperationResponse,
    /// Whether the body can have a time of observation, so that the call can fail with 412.
    pub(super) has_observed_time: bool,
    pub(super) query: &'static [QueryOption],
    /// Whether a read replica may serve it if the caller allows that.
    pub(super) replica_read: bool,
}

/// The response of a success.
#[derive(Clone, Copy, Debug)]
pub(super) enum OperationResponse {
    /// 200 with JSON.
    Json(RegisterSchema),
    /// 201 with JSON.
    Created(RegisterSchema),
    /// 204.
    NoContent,
    /// 200 with a number as text.
    Count,
    /// 200 without a body.
    Empty,
    /// 200 without a body, or 404 if no such session is live.
    EmptyOrNotFound,
    /// 200 without a body on `/v1.0`, 204 on `/beta`.
    EmptyOrNoContent,
    /// 200 with a stream of Server-Sent Events.
    Events,
    /// 200 with lines of JSON.
    Lines,
}

impl OperationResponse {
    /// Whether the response has data, which a query option may change.
    pub(super) const fn has_data(self) -> bool {
        !matches!(self, Self::Empty | Self::EmptyOrNotFound | Self::EmptyOrNoContent | Self::NoContent)
    }

    /// Whether a batch can't contain the response, because it lasts or is no JSON value.
    pub(super) const fn is_stream(self) -> bool {
        matches!(self, Self::Events | Self::Lines)
    }
}

/// A query option that an operation supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryOption {
    Select,
    SelectOfUser,
    Top,
    SkipToken,
    Filter,
    Ids,
    At,
    From,
    To,
    Parts,
    IntervalsTop,
    SubscriptionsTop,
}

impl QueryOption {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Select | Self::SelectOfUser => "$select",
            Self::Top | Self::IntervalsTop | Self::SubscriptionsTop => "$top",
            Self::SkipToken => "$skiptoken",
            Self::Filter => "$filter",
            Self::Ids => IDS,
            Self::At => "at",
            Self::From => "from",
            Self::To => "to",
            Self::Parts => "parts",
        }
    }
}

/// The fields that most operations share: a POST without a body and query options.
pub(super) const DEFAULT: HttpOperation = HttpOperation {
    name: "",
    method: HttpMethod::Post,
    path: "",
    route: MethodRouter::new,
    summary: "",
    description: "",
    body: None,
    response: OperationResponse::Empty,
    has_observed_time: false,
    query: &[],
    replica_read: false,
};
