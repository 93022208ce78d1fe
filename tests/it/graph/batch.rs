//! `POST /$batch`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{JsonResponse, ODATA_JSON, SET, TestApi, USER};
use crate::support::contract;

async fn batch(api: &TestApi, requests: &Value) -> JsonResponse {
    let response = api.post("/v1.0/$batch", json!({ "requests": requests }).to_string()).await;
    let content_type = response.header("content-type");
    contract::check("post", "/v1.0/$batch", response.status, content_type, &response.body.to_string());
    response
}

/// The statuses in the order of the requests.
fn statuses(response: &JsonResponse) -> Vec<u64> {
    assert_eq!(response.status, 200, "{}", response.body);
    let items = response.body["responses"].as_array().unwrap().iter();
    items.map(|item| item["status"].as_u64().unwrap()).collect()
}

fn get(id: &str, depends_on: &[&str]) -> Value {
    json!({ "id": id, "method": "GET", "url": format!("/users/{USER}/presence"), "dependsOn": depends_on })
}

fn post(id: &str, action: &str, body: &Value, depends_on: &[&str]) -> Value {
    json!({ "id": id, "method": "POST", "url": format!("/users/{USER}/presence/{action}"), "body": body,
            "headers": { "Content-Type": "application/json" }, "dependsOn": depends_on })
}

#[tokio::test]
async fn items_run_in_the_order_of_their_dependencies() {
    let api = TestApi::new().await;
    let session: Value = serde_json::from_str(SET).unwrap();
    let response = batch(
        &api,
        &json!([
            get("last", &["CLEAR"]),
            post("clear", "clearPresence", &json!({ "sessionId": "app" }), &["middle"]),
            get("middle", &["set"]),
            post("set", "setPresence", &session, &[]),
        ]),
    )
    .await;
    assert_eq!(statuses(&response), [200, 200, 200, 200]);
    let responses = &response.body["responses"];
    assert_eq!(responses[0]["body"]["availability"], "Offline");
    assert_eq!(responses[2]["body"]["availability"], "Busy");
    assert_eq!(responses[2]["headers"]["Content-Type"], ODATA_JSON);
    assert_eq!((&responses[1]["id"], responses[1].get("body")), (&json!("clear"), None));
}

/// The response to an item is copied, not read and written again.
#[tokio::test]
async fn an_item_has_the_bytes_of_its_own_response() {
    let api = TestApi::new().await;
    assert_eq!(api.set_presence(SET).await.status, 200);
    let url = |path: &str| format!("{}/v1.0{path}", api.server.graph());
    let path = format!("/users/{USER}/presence?$select=id,availability,activity,workLocation");
    let alone = api.http.get(url(&path)).send().await.unwrap().text().await.unwrap();
    let requests = json!({ "requests": [
        { "id": "1", "method": "GET", "url": path },
        { "id": "2", "method": "GET", "url": "/communications/presences/$count" },
    ] });
    let together = api.http.post(url("/$batch")).json(&requests).send().await.unwrap().text().await.unwrap();
    assert!(together.contains(&format!("\"body\":{alone}}}")), "{together}\n{alone}");
    assert!(together.ends_with("\"body\":1}]}"), "{together}");
}

#[tokio::test]
async fn items_that_depend_on_a_failed_item_are_424() {
    let api = TestApi::new().await;
    let response = batch(
        &api,
        &json!([
            post("1", "clearPresence", &json!({ "sessionId": "app" }), &[]),
            post("2", "setPresence", &serde_json::from_str(SET).unwrap(), &["1"]),
            get("3", &["2"]),
            get("4", &[]),
        ]),
    )
    .await;
    assert_eq!(statuses(&response), [404, 424, 424, 200]);
    let responses = &response.body["responses"];
    assert_eq!(responses[0]["body"]["error"]["code"], "NotFound");
    assert_eq!(responses[1]["body"]["error"]["code"], "FailedDependency");
    let id = responses[1]["headers"]["request-id"].as_str().unwrap();
    assert_eq!(responses[1]["body"]["error"]["innerError"]["request-id"], id);
    assert_eq!(
        responses[3]["body"]["availability"], "Offline",
        "an item that depends on a failed one does not run"
    );
}

#[tokio::test]
async fn each_item_gets_the_response_of_a_single_request() {
    let api = TestApi::new().await;
    let host = api.server.graph();
    let response = batch(
        &api,
        &json!([
            // From the Python SDK: an absolute URL, and a property that only it sends.
            { "id": "absolute", "method": "GET", "url": format!("{host}/v1.0/users/{USER}/presence"),
              "headers": { "client-request-id": "mine" }, "depends_on": [] },
            { "id": "relative", "method": "get", "url": format!("users('{USER}')/presence?$select=id") },
            { "id": "beta", "method": "POST",
              "url": format!("{host}/beta/users/{USER}/presence/setManualLocation"),
              "body": { "workLocationType": "office" } },
            // From the JavaScript client: an absolute URL made relative.
            { "id": "versioned", "method": "GET", "url": format!("/beta/users/{USER}/presence") },
            { "id": "me", "method": "GET", "url": "/me/presence" },
            { "id": "nowhere", "method": "GET", "url": "/nowhere" },
            { "id": "method", "method": "DELETE", "url": format!("/users/{USER}/presence") },
            { "id": "wrong", "method": "POST", "url": format!("/users/{USER}/presence/clearPresence") },
            { "id": "type", "method": "POST", "url": format!("/users/{USER}/presence/clearPresence"),
              "headers": { "content-type": "text/plain" }, "body": "x" },
            { "id": "count", "method": "GET", "url": "/communications/presences/$count" },
        ]),
    )
    .await;
    assert_eq!(statuses(&response), [200, 200, 204, 200, 401, 404, 405, 400, 415, 200]);
    let responses = &response.body["responses"];
    assert_eq!(responses[0]["headers"]["client-request-id"], "mine");
    assert_eq!(responses[1]["body"]["id"], USER);
    assert_eq!(responses[4]["headers"]["WWW-Authenticate"], "Bearer");
    assert_eq!(responses[6]["headers"]["Allow"], "GET,HEAD");
    assert_eq!(responses[7]["body"]["error"]["details"][0]["target"], "sessionId");
    assert_eq!(responses[9]["body"], 0);
}

#[tokio::test]
async fn a_batch_has_at_most_20_items() {
    let api = TestApi::new().await;
    let items = |number: usize| json!((0..number).map(|id| get(&id.to_string(), &[])).collect::<Vec<_>>());
    assert_eq!(statuses(&batch(&api, &items(20)).await), [200; 20]);
    let response = batch(&api, &items(21)).await;
    response.is_refused(400, "InvalidArgument");
    assert!(
        response.message().contains("`requests` must have at most 20 items, got 21."),
        "{}",
        response.message()
    );
}

#[tokio::test]
async fn an_invalid_batch_names_every_violation_and_runs_no_item() {
    let api = TestApi::new().await;
    let set = || post("set", "setPresence", &serde_json::from_str(SET).unwrap(), &[]);
    let item = |key: &str, value: Value| {
        let mut item = get("x", &[]);
        item[key] = value;
        item
    };
    for (items, targets) in [
        (json!([]), &["requests"][..]),
        (Value::Null, &["requests"]),
        (json!("GET"), &["requests"]),
        (json!([set(), 5]), &["requests[1]"]),
        (json!([set(), item("id", Value::Null)]), &["requests[1].id"]),
        (json!([set(), item("id", json!(""))]), &["requests[1].id"]),
        (json!([set(), item("id", json!(1))]), &["requests[1].id"]),
        (json!([set(), item("id", json!("SET"))]), &["requests[1].id"]),
        (json!([set(), item("method", Value::Null)]), &["requests[1].method"]),
        (json!([set(), item("method", json!("TRACE"))]), &["requests[1].method"]),
        (json!([set(), item("url", Value::Null)]), &["requests[1].url"]),
        (json!([set(), item("url", json!("http://"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("/us ers"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("https://graph.example/v1.0/me/presence"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("HTTP://127.0.0.1:1/v1.0/me/presence"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!(format!("{}?x=1", api.server.graph())))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("/$batch"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("%24batch/?x"))]), &["requests[1].url"]),
        (json!([set(), item("url", json!("/v1.0/$batch"))]), &["requests[1].url"]),
        (json!([set(), item("headers", json!("x"))]), &["requests[1].headers"]),
        (json!([set(), item("headers", json!({ "a b": "c" }))]), &["requests[1].headers"]),
        (json!([set(), item("headers", json!({ "a": 5 }))]), &["requests[1].headers"]),
        (json!([set(), item("headers", json!({ "a": "b\nc" }))]), &["requests[1].headers"]),
        (json!([set(), item("dependsOn", json!("set"))]), &["requests[1].dependsOn"]),
        (json!([set(), item("dependsOn", json!(["other"]))]), &["requests[1].dependsOn"]),
        (json!([set(), item("dependsOn", json!([null]))]), &["requests[1].dependsOn"]),
        (json!([set(), get("x", &["x"])]), &["requests"]),
        (json!([set(), get("a", &["c"]), get("b", &["a"]), get("c", &["b"])]), &["requests"]),
        (
            json!([set(), { "url": "https://elsewhere/", "method": "DANCE" }]),
            &["requests[1].id", "requests[1].method", "requests[1].url"],
        ),
    ] {
        let response = batch(&api, &items).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), targets, "{items}");
        assert_eq!(api.presence().await["availability"], "Offline", "{items}");
    }
}

#[tokio::test]
async fn a_batch_must_be_a_post_of_json() {
    let api = TestApi::new().await;
    api.get("/v1.0/$batch").await.is_refused(405, "MethodNotAllowed");
    api.post("/v1.0/$batch", "[]").await.is_refused(400, "BadRequest");
    api.post("/v1.0/$batch", "{").await.is_refused(400, "BadRequest");
    let text = [("content-type", "text/plain")];
    api.send(Method::POST, "/beta/$batch", &text, "{}").await.is_refused(415, "UnsupportedMediaType");
}

#[tokio::test]
async fn a_text_is_a_known_property_also_in_a_batch() {
    let api = TestApi::new().await;
    let set = |id: &str, text: Value, depends_on: &[&str]| {
        let mut body: Value = serde_json::from_str(SET).unwrap();
        body["message"] = text;
        post(id, "setPresence", &body, depends_on)
    };
    let response = batch(
        &api,
        &json!([
            set("1", json!("bank"), &[]),
            get("2", &["1"]),
            set("3", json!("x".repeat(281)), &["2"]),
            set("4", json!("a\0b"), &["2"]),
            set("5", json!(5), &["2"]),
            set("6", Value::Null, &["2"]),
            get("7", &["6"]),
        ]),
    )
    .await;
    assert_eq!(statuses(&response), [200, 200, 400, 400, 400, 200, 200]);
    let responses = &response.body["responses"];
    assert_eq!(responses[0]["headers"].get("presence-ignored"), None);
    let shown = json!({ "message": { "content": "bank", "contentType": "text" } });
    assert_eq!(responses[1]["body"]["statusMessage"], shown);
    for (index, received) in [(2, "281 characters"), (3, "U+0000"), (4, "a number")] {
        let rule = "`message` must be a string of at most 280 Unicode characters without U+0000";
        let error = &responses[index]["body"]["error"];
        assert_eq!(error["message"], format!("{rule}, got {received}."));
        assert_eq!(error["details"][0]["target"], "message");
    }
    assert_eq!(responses[6]["body"]["statusMessage"], Value::Null);
}
