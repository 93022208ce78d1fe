//! The spellings of property names and URLs, properties that are `null`, and conditions.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{TestApi, USER};

#[tokio::test]
async fn property_names_may_have_any_case() {
    let api = TestApi::new().await;
    let set = r#"{"SessionId":"app","AVAILABILITY":"Busy","activity":"InACall","ExpirationDuration":"PT1H"}"#;
    assert_eq!(api.set_presence(set).await.status, 200);
    // A session without a duration would have ended after five minutes.
    api.server.clock.advance(Duration::from_mins(59));
    assert_eq!(api.presence().await["activity"], "InACall");

    let message = json!({ "StatusMessage": {
        "Message": { "Content": "Hi", "ContentType": "TEXT" },
        "ExpiryDateTime": { "DateTime": "2026-11-22T06:00:00", "timezone": "Europe/Berlin" },
    } });
    assert_eq!(api.act("setStatusMessage", &message).await.status, 200);
    // At 4:59 UTC it is 5:59 in Berlin; read as UTC, the message would last another hour.
    let content = async || api.presence().await["statusMessage"]["message"]["content"].clone();
    api.server.clock.advance(Duration::from_mins(70));
    assert_eq!(content().await, "Hi");
    api.server.clock.advance(Duration::from_mins(1));
    assert_eq!(content().await, Value::Null);

    assert_eq!(api.set_presence(set).await.status, 200);
    let ids = format!(r#"{{"IDS":["{USER}"]}}"#);
    let read = api.post("/v1.0/communications/getPresencesByUserId", ids).await;
    assert_eq!(read.body["value"][0]["activity"], "InACall");
    let location = json!({ "WorkLocationType": "remote", "PLACEID": "x" });
    assert_eq!(api.act("setManualLocation", &location).await.status, 200);
    assert_eq!(api.presence().await["workLocation"]["placeId"], "x");

    let clear = json!({ "Requests": [{
        "ID": "1", "Method": "POST", "Url": format!("/users/{USER}/presence/clearPresence"),
        "Headers": { "content-type": "application/json" }, "Body": { "SessionID": "app" }, "DependsOn": [],
    }] });
    let cleared = api.post("/v1.0/$batch", clear.to_string()).await;
    assert_eq!(cleared.body["responses"][0]["status"], 200, "{}", cleared.body);
    assert_eq!(api.presence().await["activity"], "Offline");
}

#[tokio::test]
async fn a_property_must_not_have_two_spellings() {
    let api = TestApi::new().await;
    let twice = r#"{"sessionId":"a","SessionId":"b","availability":"Busy","activity":"InACall"}"#;
    let response = api.set_presence(twice).await;
    response.is_refused(400, "InvalidArgument");
    assert_eq!(response.message(), "`sessionId` is given more than once.");

    let message = r#"{"statusMessage":{"message":{"content":"a","Content":"b"}}}"#;
    let response = api.post(&format!("/v1.0/users/{USER}/presence/setStatusMessage"), message).await;
    response.is_refused(400, "InvalidArgument");
    assert_eq!(response.message(), "`statusMessage.message.content` is given more than once.");
    let unknown = r#"{"workLocationType":"office","more":1,"MORE":2}"#;
    let response = api.post(&format!("/v1.0/users/{USER}/presence/setManualLocation"), unknown).await;
    response.is_refused(400, "InvalidArgument");
    assert_eq!(response.message(), "`MORE` is given more than once.");

    for item in [
        r#"{"id":"1","Id":"2","method":"GET","url":"/users/u/presence"}"#.to_owned(),
        format!(r#"{{"id":"1","method":"POST","url":"/users/{USER}/presence/setPresence","body":{twice}}}"#),
    ] {
        let response = api.post("/v1.0/$batch", format!(r#"{{"requests":[{item}]}}"#)).await;
        let text = response.body.to_string();
        assert!(text.contains("given more than once"), "{text}");
    }
    assert_eq!(api.presence().await["activity"], "Offline");
    assert_eq!(api.presence().await["statusMessage"], Value::Null);
}

#[tokio::test]
async fn null_removes_a_status_message_like_an_empty_text() {
    let api = TestApi::new().await;
    let message = |content: Value| json!({ "statusMessage": { "message": { "content": content } } });
    for removal in [
        message(json!("")),
        message(Value::Null),
        json!({ "statusMessage": { "message": null } }),
        json!({ "statusMessage": null }),
    ] {
        assert_eq!(api.act("setStatusMessage", &message(json!("Hi"))).await.status, 200);
        assert_eq!(api.presence().await["statusMessage"]["message"]["content"], "Hi");
        assert_eq!(api.act("setStatusMessage", &removal).await.status, 200, "{removal}");
        assert_eq!(api.presence().await["statusMessage"], Value::Null, "{removal}");
    }
}

#[tokio::test]
async fn an_item_of_a_batch_may_name_the_version() {
    let api = TestApi::new().await;
    let url = format!("users/{USER}/presence");
    let urls = ["", "/", "v1.0/", "/v1.0/", "beta/", "/beta/"].map(|start| format!("{start}{url}"));
    let item =
        |(index, url): (usize, &String)| json!({ "id": index.to_string(), "method": "GET", "url": url });
    let requests: Vec<_> = urls.iter().enumerate().map(item).collect();
    let response = api.post("/v1.0/$batch", json!({ "requests": requests }).to_string()).await;
    for item in response.body["responses"].as_array().unwrap() {
        assert_eq!((&item["status"], &item["body"]["id"]), (&json!(200), &json!(USER)), "{item}");
    }
    assert_eq!(response.body["responses"].as_array().unwrap().len(), urls.len());
}

#[tokio::test]
async fn the_words_of_a_path_may_have_any_case() {
    let api = TestApi::new().await;
    let document = serde_json::to_value(presenced::graph::document()).unwrap();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for path in [path.to_uppercase(), path.to_lowercase()] {
                let path = format!("/V1.0{}", path.replace("{ID}", "u").replace("{id}", "u"));
                let response = api.http.request(method.clone(), format!("{}{path}", api.server.graph()));
                let status = response.send().await.unwrap().status();
                assert!(![404, 405].contains(&status.as_u16()), "{method} {path}: {status}");
                operations += 1;
            }
        }
    }
    assert_eq!(operations, 2 * 58);

    // An id keeps its case.
    let set = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
    let response = api.post("/V1.0/Users/Ada/Presence/SetPresence", set.to_string()).await;
    assert_eq!(response.status, 200);
    let url = ["/Users/Ada/Presence", "V1.0/users('Ada')/PRESENCE", "/v1.0/Communications/presences/ada"];
    let item = |(index, url): (usize, &&str)| json!({ "id": index.to_string(), "method": "GET", "url": url });
    let requests: Vec<_> = url.iter().enumerate().map(item).collect();
    let response = api.post("/v1.0/$Batch", json!({ "requests": requests }).to_string()).await;
    let shown = |index: usize| response.body["responses"][index]["body"]["activity"].clone();
    assert_eq!([0, 1, 2].map(shown), ["InACall", "InACall", "Offline"], "{}", response.body);
    for url in ["/$BATCH", "/Communications/WatchPresences", "/Me/Presence/EXPORT"] {
        let body = json!({ "requests": [{ "id": "1", "method": "GET", "url": url }] });
        let response = api.post("/v1.0/$batch", body.to_string()).await;
        assert_eq!(response.targets(), ["requests[0].url"], "{url}");
    }
}

#[tokio::test]
async fn an_empty_list_must_have_at_least_one_element() {
    let api = TestApi::new().await;
    let bulk = "/v1.0/communications/getPresencesByUserId";
    for (path, field, element) in [(bulk, "ids", "id"), ("/v1.0/$batch", "requests", "request")] {
        let empty = api.post(path, format!(r#"{{"{field}":[]}}"#)).await;
        assert_eq!(empty.message(), format!("`{field}` must have at least one {element}."));
        assert_eq!(api.post(path, "{}").await.message(), format!("`{field}` is required."));
    }
}

#[tokio::test]
async fn a_write_with_a_condition_is_refused() {
    let api = TestApi::new().await;
    let set = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
    let path = format!("/v1.0/users/{USER}/presence");
    for (name, value) in [
        ("If-Match", "\"1\""),
        ("if-match", "*"),
        ("If-None-Match", "*"),
        ("If-Unmodified-Since", "Sun, 22 Nov 2026 02:50:00 GMT"),
    ] {
        let headers = [(name, value), ("content-type", "application/json")];
        for action in ["setPresence", "clearPresence", "clearLocation", "erase"] {
            let action = format!("{path}/{action}");
            let response = api.send(Method::POST, &action, &headers, set.to_string()).await;
            response.is_refused(400, "InvalidArgument");
            assert!(response.targets()[0].eq_ignore_ascii_case(name));
            let reason = "must be absent: the service checks no conditions of writes.";
            assert!(response.message().ends_with(reason), "{}", response.message());
        }
        let item = json!({ "id": "1", "method": "POST", "url": format!("/users/{USER}/presence/setPresence"),
                           "headers": { name: value }, "body": set });
        let batch = json!({ "requests": [item] }).to_string();
        let response = api.post("/v1.0/$batch", batch.clone()).await;
        assert_eq!(response.body["responses"][0]["status"], 400, "{}", response.body);
        api.send(Method::POST, "/v1.0/$batch", &headers, batch).await.is_refused(400, "InvalidArgument");
    }
    assert_eq!(api.presence().await["activity"], "Offline");
    for name in ["if-none-match", "if-modified-since"] {
        assert_eq!(api.send(Method::GET, &path, &[(name, "x")], "").await.status, 200);
    }
}
