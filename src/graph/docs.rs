//! The OpenAPI document at `/openapi.json`, and a page at `/docs` to read and try it.
//!
//! The page is Swagger UI. The binary contains its files, so it works without a network.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    body::Bytes,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, Uri, header::CONTENT_TYPE};
use matchit::InsertError;
use utoipa_swagger_ui::Config;

use super::{
    openapi::document,
    routes::{Route, RouteTable},
};

/// The folder of the page's files.
const PAGE: &str = "/docs/";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::new(["/openapi.json"]).try_it_out_enabled(true).validator_url("none")));

/// Adds the routes of the document and its page.
pub(super) fn add_routes(table: &mut RouteTable) -> Result<(), InsertError> {
    table.add(Route::public("openapi", "/openapi.json", get(openapi)))?;
    table.add(Route::public("docs", "/docs", get(page_root)))?;
    table.add(Route::public("docs", &format!("{PAGE}{{*file}}"), get(page)))
}

/// Whether the path is that of the page or one of its files.
pub(super) fn is_page(path: &str) -> bool {
    path.starts_with(PAGE)
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Redirects, as the page's links to its files are relative.
async fn page_root() -> Redirect {
    Redirect::permanent("/docs/index.html")
}

async fn page(uri: Uri) -> Response {
    let file = uri.path().strip_prefix(PAGE).unwrap_or_default();
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => {
            // A copy of a large file would stay in memory while a slow client reads it.
            let bytes = match file.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            ([(CONTENT_TYPE, file.content_type)], bytes).into_response()
        }
        Ok(None) | Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
