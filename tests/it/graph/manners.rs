//! Bodies, headers, methods and paths.

use std::{io::Write, sync::Arc, thread};

use flate2::{Compression, write::GzEncoder};
use presenced::clock::Stopwatch;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{ODATA_JSON, SET, TestApi, USER};

/// The default of `--message-max-bytes`.
const BODY_MAX_BYTES: usize = 1_024 * 1_024;
/// The limit of actions on one user.
const ACTION_MAX_BYTES: usize = 64 * 1_024;

#[tokio::test]
async fn a_successful_action_returns_200_without_body_and_content_type() {
    let api = TestApi::new().await;
    let response = api.set_presence(SET).await;
    assert_eq!((response.status, response.header("content-length")), (200, Some("0")));
    assert_eq!((response.header("content-type"), &response.body), (None, &Value::Null));
}

#[tokio::test]
async fn every_response_has_a_request_id_and_echoes_the_clients() {
    let api = TestApi::new().await;
    for path in [&format!("/v1.0/users/{USER}/presence"), "/nowhere"] {
        let response = api.get(path).await;
        assert_eq!(response.header("request-id").unwrap().len(), 36);
        assert_eq!(response.header("client-request-id"), response.header("request-id"));
        let response = api.send(Method::GET, path, &[("client-request-id", "mine")], "").await;
        assert_eq!(response.header("client-request-id"), Some("mine"));
        let long = "x".repeat(129);
        let response = api.send(Method::GET, path, &[("client-request-id", &long)], "").await;
        assert_eq!(response.header("client-request-id"), response.header("request-id"));
    }
}

#[tokio::test]
async fn both_versions_roots_and_spellings_lead_to_the_same() {
    let api = TestApi::new().await;
    for version in ["/v1.0", "/beta"] {
        for presence in [format!("/users/{USER}/presence"), format!("/communications/presences/{USER}")] {
            for prefix in ["", "microsoft.graph."] {
                let path = format!("{version}{presence}");
                assert_eq!(api.post(&format!("{path}/{prefix}setPresence"), SET).await.status, 200);
                let mut expected = json!({
                    "id": USER,
                    "availability": "Busy",
                    "activity": "InACall",
                    "outOfOfficeSettings": { "message": null, "isOutOfOffice": false },
                    "statusMessage": null,
                    "sequenceNumber": null,
                    "workLocation": { "placeId": null, "source": "none", "workLocationType": "unspecified" },
                });
                let bulk = format!("{version}/communications/{prefix}getPresencesByUserId");
                let mut response = api.post(&bulk, json!({ "ids": [USER] }).to_string()).await;
                // Each clear in this loop raises the number.
                let number = response.body["value"][0]["sequenceNumber"].take();
                assert!(number.as_str().unwrap().starts_with("A17953158000"), "{number}");
                let root = format!("{}{version}/$metadata#", api.server.graph());
                let context = format!("{root}Collection(microsoft.graph.presence)");
                assert_eq!(response.body, json!({ "@odata.context": context, "value": [expected] }));
                assert_eq!(response.header("content-type"), Some(ODATA_JSON));
                assert_eq!(response.header("odata-version"), Some("4.0"));
                assert_eq!(response.header("cache-control"), Some("no-store"));
                let context = if presence.starts_with("/users") {
                    format!("{root}users('{USER}')/presence/$entity")
                } else {
                    format!("{root}communications/presences/$entity")
                };
                expected["@odata.context"] = context.into();
                let mut body = api.get(&path).await.body;
                assert_eq!(body["sequenceNumber"].take(), number);
                assert_eq!(body, expected);
                let clear = format!("{path}/{prefix}clearPresence");
                assert_eq!(api.post(&clear, r#"{"sessionId":"app"}"#).await.status, 200);
                api.post(&clear, r#"{"sessionId":"app"}"#).await.is_refused(404, "NotFound");
            }
        }
    }
}

#[tokio::test]
async fn unknown_paths_verbs_and_content_types_are_refused_in_graphs_shape() {
    let api = TestApi::new().await;
    let presence = format!("/v1.0/users/{USER}/presence");
    let set = format!("{presence}/setPresence");
    for path in ["/", "/v1.0", "/v2.0/users/u/presence", &format!("{presence}/dance")] {
        api.get(path).await.is_refused(404, "ResourceNotFound");
        api.post(path, SET).await.is_refused(404, "ResourceNotFound");
    }
    for path in ["/", "/users/u/presence", "/v2.0/users/u/presence", "/v1.01/users/u/presence"] {
        let response = api.get(path).await;
        response.is_refused(404, "ResourceNotFound");
        assert!(response.message().ends_with("begin with /v1.0 or /beta."), "{path}: {}", response.message());
    }
    for path in ["/v1.0", "/beta/users", &format!("{presence}/dance")] {
        assert_eq!(api.get(path).await.message(), "No resource has this path.");
    }
    for (method, path, allow) in [
        (Method::GET, &set, "POST"),
        (Method::PUT, &set, "POST"),
        (Method::DELETE, &presence, "GET,HEAD"),
        (Method::POST, &presence, "GET,HEAD"),
        (Method::OPTIONS, &presence, "GET,HEAD"),
    ] {
        let response = api.send(method, path, &[], "").await;
        response.is_refused(405, "MethodNotAllowed");
        assert_eq!(response.header("allow"), Some(allow));
        let allowed = format!("Allowed: {}.", allow.replace(',', ", "));
        assert!(response.message().ends_with(&allowed), "{}", response.message());
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "\u{fc}", ""]
    {
        let response = api.send(Method::POST, &set, &[("content-type", content_type)], SET).await;
        response.is_refused(415, "UnsupportedMediaType");
    }
    let json = [("content-type", "application/json"), ("content-encoding", "br")];
    api.send(Method::POST, &set, &json, SET).await.is_refused(415, "UnsupportedMediaType");
    let json = [("content-type", "application/json"), ("content-encoding", "gzip")];
    api.send(Method::POST, &set, &json, SET).await.is_refused(400, "BadRequest");
    api.get("/v1.0/users//presence").await.is_refused(400, "InvalidArgument");
    api.get("/v1.0/users/%ff/presence").await.is_refused(400, "BadRequest");
}

#[tokio::test]
async fn a_form_is_refused_with_the_content_type_to_send() {
    let api = TestApi::new().await;
    let set = format!("/v1.0/users/{USER}/presence/setPresence");
    let form = "sessionId=app&availability=Busy&activity=InACall";
    let advice = "Send a JSON object with the header Content-Type: application/json.";
    // curl's default for `--data`, also if the body is JSON.
    for content_type in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for body in [form, SET] {
            let response = api.send(Method::POST, &set, &[("content-type", content_type)], body).await;
            response.is_refused(415, "UnsupportedMediaType");
            assert!(response.message().contains(content_type), "{}", response.message());
            assert!(response.message().ends_with(advice), "{}", response.message());
        }
    }
    for headers in [&[("content-type", "application/json")][..], &[]] {
        for body in [form, "session%49d=app", "app="] {
            let response = api.send(Method::POST, &set, headers, body).await;
            response.is_refused(400, "BadRequest");
            let expected = format!("Unable to read JSON request payload. It looks like a form. {advice}");
            assert_eq!(response.message(), expected, "{body}");
        }
    }
    for body in ["nonsense", "=", "{\"a\"=1}", "a b=c"] {
        let response = api.set_presence(body).await;
        assert!(
            response.message().contains("It is not valid JSON: line 1"),
            "{body}: {}",
            response.message()
        );
    }
}

#[tokio::test]
async fn json_is_accepted_in_every_form_that_clients_send() {
    let api = TestApi::new().await;
    let set = format!("/v1.0/users/{USER}/presence/setPresence");
    for content_type in
        ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
    {
        let response = api.send(Method::POST, &set, &[("content-type", content_type)], SET).await;
        assert_eq!(response.status, 200, "{content_type}");
    }
    assert_eq!(api.send(Method::POST, &set, &[], SET).await.status, 200, "no content type");
    let headers =
        [("authorization", "Bearer x.y.z"), ("accept", "text/html"), ("prefer", "x"), ("sdkversion", "y")];
    assert_eq!(api.send(Method::POST, &set, &headers, SET).await.status, 200);
    for body in [
        r#" {"sessionId":"app","availability":"Busy","activity":"InACall"} "#,
        r##"{"@odata.type":"#x","sessionId":"app","availability":"Busy","activity":"InACall","more":[1,{"a":2}]}"##,
        r#"{"sessionId":"app","availability":"Busy","activity":"InACall","expirationDuration":null}"#,
        r#"{"sessionId":"\u0061pp","availability":"Busy","activity":"InACall"}"#,
    ] {
        assert_eq!(api.set_presence(body).await.status, 200, "{body}");
    }
    let with_byte_order_mark = format!("\u{feff}{SET}");
    assert_eq!(api.set_presence(with_byte_order_mark).await.status, 200);
}

#[tokio::test]
async fn malformed_bodies_are_400() {
    let api = TestApi::new().await;
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let deep = nested("[", "]", 30 * 1_024);
    let in_known = format!(r#"{{"sessionId":{deep}}}"#);
    // An unknown property may be any JSON.
    let in_unknown = format!(r#"{{"sessionId":"a","availability":"Busy","activity":"InACall","x":{deep}}}"#);
    assert_eq!(api.set_presence(in_unknown).await.status, 200);
    let objects = nested(r#"{"sessionId":"#, "}", 4_000);
    for body in [
        "{",
        "nonsense",
        "[]",
        r#"["app","Busy","InACall",null]"#,
        "\"text\"",
        "5",
        "null",
        "true",
        r#"{"sessionId":"app"}{"sessionId":"app"}"#,
        r#"{"sessionId":"app",}"#,
        "{\"sessionId\":\"a\nb\"}",
        &deep,
        &objects,
    ] {
        api.set_presence(body.to_owned()).await.is_refused(400, "BadRequest");
    }
    for body in [&in_known, r#"{"sessionId":1e999}"#] {
        let response = api.set_presence(body.to_owned()).await;
        assert_eq!(response.targets(), ["sessionId", "availability", "activity"], "{}", response.message());
    }
    for bytes in [&b"{\"sessionId\":\"\xff\"}"[..], b"\xff\xfe{\0}\0", b"{\"other\":\"\xc3\"}"] {
        api.set_presence(bytes.to_vec()).await.is_refused(400, "BadRequest");
    }
    let response = api
        .set_presence(
            r#"{"sessionId":"app",
        "availability":}"#,
        )
        .await;
    assert!(response.message().contains("line 2, column"), "{}", response.message());
}

#[tokio::test]
async fn wrong_types_are_named_as_fields() {
    let api = TestApi::new().await;
    let response = api
        .set_presence(r#"{"sessionId":5,"availability":["Busy"],"activity":{},"expirationDuration":true}"#)
        .await;
    response.is_refused(400, "InvalidArgument");
    let details = response.body["error"]["details"].as_array().unwrap();
    let targets: Vec<_> = details.iter().map(|detail| detail["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["sessionId", "availability", "activity", "expirationDuration"]);
    assert!(response.message().contains("got a number"), "{}", response.message());

    let bulk = "/v1.0/communications/getPresencesByUserId";
    for body in
        [r#"{"ids":"u"}"#, r#"{"ids":5}"#, r#"{"ids":null}"#, "{}", r#"{"ids":[5]}"#, r#"{"ids":[null]}"#, ""]
    {
        api.post(bulk, body).await.is_refused(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn errors_name_required_fields_allowed_values_and_ranges() {
    let api = TestApi::new().await;
    let clear = format!("/v1.0/users/{USER}/presence/clearPresence");
    for body in ["{}", "", r#"{"sessionId":null}"#, r#"{"sessionId":""}"#] {
        let response = api.post(&clear, body).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.message(), "`sessionId` is required.");
    }
    for pair in [r#""Busy","activity":"Busy""#, r#""Offline","activity":"Offline""#, r#""x","activity":"y""#]
    {
        let response = api.set_presence(format!(r#"{{"sessionId":"a","availability":{pair}}}"#)).await;
        for allowed in [
            "Available / Available",
            "Busy / InACall",
            "Busy / InAConferenceCall",
            "Away / Away",
            "DoNotDisturb / Presenting",
        ] {
            assert!(response.message().contains(allowed), "{}", response.message());
        }
    }
    for duration in ["PT4M59S", "PT4H1S", "P1M", "-PT5M", "soon"] {
        let body = json!({ "sessionId": "a", "availability": "Busy", "activity": "InACall",
                           "expirationDuration": duration });
        let response = api.set_presence(body.to_string()).await;
        assert!(response.message().contains("between PT5M and PT4H, got "), "{}", response.message());
    }
}

#[tokio::test]
async fn bodies_and_bulk_reads_have_a_limit() {
    let api = TestApi::new().await;
    let padded = |bytes: usize| format!("{SET}{}", " ".repeat(bytes - SET.len()));
    assert_eq!(api.set_presence(padded(ACTION_MAX_BYTES)).await.status, 200);
    let response = api.set_presence(padded(ACTION_MAX_BYTES + 1)).await;
    response.is_refused(413, "RequestEntityTooLarge");
    assert!(response.message().contains("65536 bytes"));
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>(" ".repeat(256 * 1_024)));
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    api.set_presence(chunked).await.is_refused(413, "RequestEntityTooLarge");
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(SET)]));
    assert_eq!(api.set_presence(chunked).await.status, 200);

    let ids = |number: usize| {
        json!({ "ids": (0..number).map(|id| id.to_string()).collect::<Vec<_>>() }).to_string()
    };
    let bulk = "/v1.0/communications/getPresencesByUserId";
    let padded = |bytes: usize| format!("{}{}", ids(1), " ".repeat(bytes - ids(1).len()));
    assert_eq!(api.post(bulk, padded(BODY_MAX_BYTES)).await.status, 200);
    let response = api.post(bulk, padded(BODY_MAX_BYTES + 1)).await;
    response.is_refused(413, "RequestEntityTooLarge");
    assert!(response.message().contains("1048576 bytes"));
    assert_eq!(api.post(bulk, ids(650)).await.body["value"].as_array().unwrap().len(), 650);
    let response = api.post(bulk, ids(651)).await;
    response.is_refused(400, "InvalidArgument");
    assert!(
        response.message().contains("`ids` must have at most 650 items, got 651."),
        "{}",
        response.message()
    );
    // The elements of a far longer list are not read.
    let response = api.post(bulk, ids(20_000)).await;
    response.is_refused(400, "InvalidArgument");
    assert!(response.message().contains("got a list of 20000 elements"), "{}", response.message());
}

/// While the processors are busy: the thread that parsed large bodies had only the time that nothing
/// else wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_read_while_the_processors_are_busy() {
    let api = TestApi::new().await;
    let items = vec![r#"{"id":"1","method":"GET","url":"/users/a/presence"}"#; 19_000].join(",");
    let body = format!("{{\"requests\":[{items}]}}");
    let busy = Arc::new(());
    for _ in 0..2 * thread::available_parallelism().unwrap().get() {
        let busy = Arc::downgrade(&busy);
        thread::spawn(move || while busy.strong_count() > 0 {});
    }
    let stopwatch = Stopwatch::start();
    let response = api.post("/v1.0/$batch", body).await;
    drop(busy);
    println!("a body of 1 MB with busy processors: {} after {:?}", response.status, stopwatch.elapsed());
    assert!(response.message().contains("got a list of 19000 elements"), "{}", response.body);
}

/// Each distinct name has to be kept, to find duplicates: those of one megabyte took 30 ms.
#[tokio::test]
async fn a_body_with_too_many_properties_is_refused() {
    let api = TestApi::new().await;
    let object = |number: usize, value: &str| {
        let properties: Vec<_> = (0..number).map(|index| format!("\"p{index}\":{value}")).collect();
        format!("{{{}}}", properties.join(","))
    };
    let bulk = "/v1.0/communications/getPresencesByUserId";
    let item = |number| format!("{{\"id\":\"1\",\"headers\":{}}}", object(number, "\"\""));
    let items = |number| format!("{{\"requests\":[{}]}}", vec![object(number, "0"); 100].join(","));
    for (path, body) in [
        (bulk, object(10_001, "0")),
        ("/v1.0/$batch", format!("{{\"requests\":[{}]}}", item(10_001))),
        ("/v1.0/$batch", items(101)),
    ] {
        let response = api.post(path, body).await;
        response.is_refused(400, "BadRequest");
        assert!(response.message().ends_with("It has more than 10000 properties."), "{}", response.message());
    }
    for (path, body) in [(bulk, object(10_000, "0")), ("/v1.0/$batch", items(90))] {
        let response = api.post(path, body).await;
        response.is_refused(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn http_2_works_without_tls() {
    let api = TestApi::new().await;
    let http = Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("{}/v1.0/users/{USER}/presence", api.server.graph());
    let response = http.get(url).send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn request_bodies_can_be_compressed() {
    let api = TestApi::new().await;
    let path = format!("/v1.0/users/{USER}/presence");
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let set = format!("{path}/setPresence");
    assert_eq!(api.send(Method::POST, &set, &compressed, gzip(SET)).await.status, 200);
    assert_eq!(api.presence().await["activity"], "InACall");
    let large = gzip(&" ".repeat(2 * BODY_MAX_BYTES));
    assert!(large.len() < 4_096);
    let bulk = "/v1.0/communications/getPresencesByUserId";
    for path in [bulk, &set] {
        let response = api.send(Method::POST, path, &compressed, large.clone()).await;
        response.is_refused(413, "RequestEntityTooLarge");
    }
    let broken = &gzip(SET)[..20];
    api.send(Method::POST, &set, &compressed, broken.to_vec()).await.is_refused(400, "BadRequest");
}

#[tokio::test]
async fn a_response_to_head_has_no_body() {
    let api = TestApi::new().await;
    let over_http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for (path, status) in [(format!("/v1.0/users/{USER}/presence"), 200), ("/v1.0/nowhere".to_owned(), 404)] {
        for client in [&Client::new(), &over_http2] {
            let response = client.head(format!("{}{path}", api.server.graph())).send().await.unwrap();
            assert_eq!(response.status(), status);
            let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
            assert!(length > 100, "the length of the body of a GET, not {length}");
            assert!(response.bytes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn an_action_without_a_body_needs_no_content_type() {
    let api = TestApi::new().await;
    for action in ["clearUserPreferredPresence", "clearAutomaticLocation", "clearLocation"] {
        let path = format!("/v1.0/users/{USER}/presence/{action}");
        let json = [("content-type", "application/json")];
        assert_eq!(api.send(Method::POST, &path, &[], "").await.status, 200);
        assert_eq!(api.send(Method::POST, &path, &json, "").await.status, 200);
        assert_eq!(api.send(Method::POST, &path, &json, "{}").await.status, 200);
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("{}")]));
        assert_eq!(api.send(Method::POST, &path, &json, chunked).await.status, 200);
    }
}

#[tokio::test]
async fn methods_that_only_graphs_metadata_has_are_405() {
    let api = TestApi::new().await;
    for path in [format!("/v1.0/users/{USER}/presence"), format!("/v1.0/communications/presences/{USER}")] {
        for method in [Method::PATCH, Method::DELETE] {
            api.send(method, &path, &[], "{}").await.is_refused(405, "MethodNotAllowed");
        }
    }
    api.post("/v1.0/communications/presences", "{}").await.is_refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn resources_that_are_not_offered_are_404() {
    let api = TestApi::new().await;
    for path in ["/v1.0/users", "/v1.0/$metadata", "/v1.0/subscriptions/1/users"] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            api.send(method, path, &[], "").await.is_refused(404, "ResourceNotFound");
        }
        api.post(path, "{}").await.is_refused(404, "ResourceNotFound");
    }
}
