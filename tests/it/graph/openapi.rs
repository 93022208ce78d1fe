//! The OpenAPI document, and the page to read it.

use std::{env, fs};

use presenced::graph::document;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::TestApi;
use crate::support::process::command;

#[test]
fn the_document_matches_the_golden_file() {
    let printed = command().arg("openapi").output().unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    let golden = "tests/golden/openapi.json";
    if env::var_os("PRESENCE_TEST_BLESS").is_some_and(|bless| !bless.is_empty()) {
        fs::write(golden, &printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(golden).unwrap(), "renew it with PRESENCE_TEST_BLESS=1");
}

#[tokio::test]
async fn the_document_and_the_page_need_no_network() {
    let api = TestApi::new().await;
    let served = api.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.body, serde_json::to_value(document()).unwrap());
    let fetch = async |path: &str| {
        let response = api.http.get(format!("{}{path}", api.server.graph())).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    };
    let page = fetch("/docs").await;
    for reference in page.split(['"', '\'']).filter(|text| text.starts_with("./")) {
        fetch(&format!("/docs/{}", &reference[2..])).await;
    }
    assert!(!page.contains("//"), "every file of the page is served here: {page}");
    assert!(fetch("/docs/swagger-initializer.js").await.contains("/openapi.json"));
    api.get("/docs/nothing").await.is_refused(404, "ResourceNotFound");
    api.send(Method::POST, "/docs", &[], "").await.is_refused(405, "MethodNotAllowed");
}

/// Calls every operation of the document, so that each exists.
#[tokio::test]
async fn every_operation_of_the_document_is_served_in_both_versions() {
    let api = TestApi::new().await;
    let document = serde_json::to_value(document()).unwrap();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for version in ["/v1.0", "/beta"] {
                let path = format!("{version}{}", path.replace("{id}", "u"));
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let response = api.http.request(method, format!("{}{path}", api.server.graph()));
                let status = response.send().await.unwrap().status().as_u16().to_string();
                assert!(operation["responses"].get(&status).is_some(), "{path}: {status}");
                assert_ne!(status, "404");
            }
            operations += 1;
        }
    }
    assert_eq!(operations, 50);
    assert_eq!(document["openapi"], Value::from("3.1.0"));
}
