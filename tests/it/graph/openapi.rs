//! The OpenAPI document, and the page to read it.

use std::{
    collections::{BTreeSet, HashSet},
    env, fs,
    io::Read,
    time::Duration,
};

use flate2::read::GzDecoder;
use presenced::{clock::Stopwatch, graph::document};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

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

/// The files of the page need no token, and compressing the largest took a worker 14 ms.
#[tokio::test]
async fn no_worker_compresses_the_page() {
    let api = TestApi::new().await;
    let client = Client::builder().gzip(false).build().unwrap();
    let url = format!("{}/docs/swagger-ui-bundle.js", api.server.graph());
    let fetch = async |encoding: &str| {
        let stopwatch = Stopwatch::start();
        let response = client.get(&url).header("accept-encoding", encoding).send().await.unwrap();
        let headers = response.headers().clone();
        (headers, response.bytes().await.unwrap(), stopwatch.elapsed())
    };
    let (mut plain_took, mut packed_took) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let (headers, plain, took) = fetch("identity").await;
        plain_took = plain_took.min(took);
        assert_eq!(headers.get("content-encoding"), None);
        let (headers, packed, took) = fetch("br, gzip").await;
        packed_took = packed_took.min(took);
        assert_eq!(headers["content-encoding"], "gzip");
        assert_eq!(headers["vary"], "accept-encoding");
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }
    println!("{packed_took:?} compressed, {plain_took:?} as it is");
    assert!(packed_took <= 2 * plain_took, "{packed_took:?} compressed, {plain_took:?} as it is");
    // Nor does a worker compress other responses: a compression's state would stay in memory for as
    // long as the client takes to read.
    let document = client.get(format!("{}/openapi.json", api.server.graph()));
    let document = document.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(document.headers().get("content-encoding"), None);
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
    assert_eq!(operations, 58);
    assert_eq!(document["openapi"], Value::from("3.1.0"));
}

/// An application can generate a client with one method for each operation and path.
#[test]
fn every_operation_is_once_in_each_family_of_paths_with_an_id_of_its_own() {
    let document = serde_json::to_value(document()).unwrap();
    let mut ids = HashSet::new();
    let families = [
        ("/users/{id}/presence", ""),
        ("/me/presence", "_of_me"),
        ("/communications/presences/{id}", "_by_id"),
    ];
    let mut operations = [const { BTreeSet::new() }; 3];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            for ((family, suffix), operations) in families.iter().zip(&mut operations) {
                if let Some(action) = path.strip_prefix(family) {
                    let name = id.strip_suffix(suffix).unwrap_or_else(|| panic!("{id} at {path}"));
                    operations.insert(format!("{method} {action} {name}"));
                }
            }
        }
    }
    let [users, me, communications] = operations;
    assert_eq!(users.len(), 15);
    assert_eq!((&me, &communications), (&users, &users));
}

#[tokio::test]
async fn the_document_allows_the_pairs_that_the_service_accepts_and_no_others() {
    let api = TestApi::new().await;
    let document = serde_json::to_value(document()).unwrap();
    let schemas = &document["components"]["schemas"];
    let words = |property: &str| schemas["Presence"]["properties"][property]["enum"].as_array().unwrap();
    for (action, schema, pairs) in [
        ("setPresence", "SetPresenceRequest", 5),
        ("setUserPreferredPresence", "SetUserPreferredPresenceRequest", 6),
    ] {
        let schema = &schemas[schema];
        let validator = jsonschema::draft202012::new(schema).unwrap();
        let mut accepted = 0;
        for (availability, activity) in words("availability")
            .iter()
            .flat_map(|first| words("activity").iter().map(move |second| (first, second)))
        {
            let mut body = json!({ "availability": availability, "activity": activity });
            if action == "setPresence" {
                body["sessionId"] = "app".into();
            }
            let status = api.act(action, &body).await.status;
            assert_eq!(validator.is_valid(&body), status == 200, "{action} {body}: {status}");
            accepted += usize::from(status == 200);
        }
        assert_eq!(accepted, pairs, "{action}");
        assert!(
            schema["properties"]["availability"]["enum"].is_array(),
            "generators read the words: {schema}"
        );
    }
    let rule = |schema: &str| &schemas[schema]["dependentSchemas"]["availability"]["oneOf"];
    assert_eq!(rule("HoldPresenceRequest"), rule("SetPresenceRequest"));
}
