//! The OpenAPI document at `/openapi.json`, and a page at `/docs` to read and try it.
//!
//! The page is Swagger UI. The binary contains its files, so it works without a network.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use matchit::InsertError;

use super::{
    openapi::document,
    routes::{Route, RouteTable},
};

/// The folder of the page's files.
const PAGE: &str = "/docs/";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

/// A file of the page. `build.rs` compresses it: that takes 14 ms for the largest one, which no
/// worker has.
struct PageFile {
    name: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    /// In gzip.
    packed: &'static [u8],
}

static FILES: &[PageFile] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

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

async fn page(uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().strip_prefix(PAGE).unwrap_or_default();
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let vary = [(CONTENT_TYPE, file.content_type), (VARY, "accept-encoding")];
    if accepts_gzip(&headers) {
        let encoding = [(CONTENT_ENCODING, "gzip")];
        (vary, encoding, Bytes::from_static(file.packed)).into_response()
    } else {
        (vary, Bytes::from_static(file.plain)).into_response()
    }
}

/// Whether the client accepts gzip, by name or as `*`, and not with the weight 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| HeaderValue::to_str(value).ok());
    let weights = listed.flat_map(|list| list.split(',')).filter_map(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().split_once('=').and_then(|(_, weight)| weight.parse::<f32>().ok());
        let name = name.trim();
        (name.eq_ignore_ascii_case("gzip") || name == "*").then_some((name != "*", weight.unwrap_or(0.0)))
    });
    // A name says more than `*`.
    weights.max_by_key(|(by_name, _)| *by_name).is_some_and(|(_, weight)| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_clients_that_accept_it() {
        for (header, accepted) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("*"), true),
            (Some("gzip;q=0"), false),
            (Some("*, gzip; q=0.0"), false),
            (Some("gzip, *;q=0"), true),
            (Some("identity, br"), false),
            (Some("gzip;q=x"), false),
        ] {
            let headers = header.map(|text| (ACCEPT_ENCODING, HeaderValue::from_static(text)));
            assert_eq!(accepts_gzip(&headers.into_iter().collect()), accepted, "{header:?}");
        }
    }

    #[test]
    fn only_files_of_the_page_that_it_loads_are_in_the_program() {
        assert!(FILES.iter().all(|file| !file.plain.is_empty() && file.packed.starts_with(&[0x1f, 0x8b])));
        let largest = FILES.iter().find(|file| file.name == "swagger-ui-bundle.js").unwrap();
        assert!(largest.packed.len() < largest.plain.len() / 3);
    }
}
