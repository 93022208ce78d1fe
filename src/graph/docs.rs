//! The document and a page to read and try it: `/openapi.json` and `/docs`.
//!
//! The page is Swagger UI, which the binary carries, so that it works without a
//! network.

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

/// Where the page's files are.
const PAGE: &str = "/docs/";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::new(["/openapi.json"]).try_it_out_enabled(true).validator_url("none")));

/// Puts the document and its page among the routes.
pub(super) fn add_to(table: &mut RouteTable) -> Result<(), InsertError> {
    table.add(Route::open("openapi", "/openapi.json", get(openapi)))?;
    table.add(Route::open("docs", "/docs", get(page_root)))?;
    table.add(Route::open("docs", &format!("{PAGE}{{*file}}"), get(page)))
}

/// Whether the path is the page's, or a file's of it.
pub(super) fn is_page(path: &str) -> bool {
    path.starts_with(PAGE)
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The page names its files relative to its own path.
async fn page_root() -> Redirect {
    Redirect::permanent("/docs/index.html")
}

async fn page(uri: Uri) -> Response {
    let file = uri.path().strip_prefix(PAGE).unwrap_or_default();
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
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
