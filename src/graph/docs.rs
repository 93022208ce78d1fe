//! The document and a page to read and try it: `/openapi.json` and `/docs`.
//!
//! The page is Swagger UI, which the binary carries, so that it works without a
//! network.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use utoipa_swagger_ui::Config;

use super::openapi::document;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::new(["/openapi.json"]).try_it_out_enabled(true).validator_url("none")));

pub(super) fn router() -> Router {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(page_root))
        .route("/docs/{*file}", get(page))
}

/// The name of a route here in metrics and logs.
pub(super) fn name_of(route: &str) -> Option<&'static str> {
    match route {
        "/openapi.json" => Some("openapi"),
        "/docs" | "/docs/{*file}" => Some("docs"),
        _ => None,
    }
}

/// Whether the path is the page's, or a file's of it.
pub(super) fn is_page(path: &str) -> bool {
    path.starts_with("/docs/")
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The page names its files relative to its own path.
async fn page_root() -> Redirect {
    Redirect::permanent("/docs/index.html")
}

async fn page(Path(file): Path<String>) -> Response {
    match utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => {
            // Not copied: a large one would be held for each client that does not read.
            let bytes = match file.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            ([(CONTENT_TYPE, file.content_type)], bytes).into_response()
        }
        Ok(None) | Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
