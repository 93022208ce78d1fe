//! Bodies, headers, verbs and paths.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Bench, ODATA_JSON, SET, USER};

/// The default of `--message-max-bytes`.
const BODY_MAX_BYTES: usize = 1_024 * 1_024;
/// The same where it is for one user.
const ACTION_MAX_BYTES: usize = 64 * 1_024;

#[tokio::test]
async fn an_action_answers_200_with_no_body_and_no_content_type() {
    let bench = Bench::new().await;
    let answer = bench.set_presence(SET).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
    assert_eq!((answer.header("content-type"), &answer.body), (None, &Value::Null));
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_echoes_the_clients() {
    let bench = Bench::new().await;
    for path in [&format!("/v1.0/users/{USER}/presence"), "/nowhere"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.header("request-id").unwrap().len(), 36);
        assert_eq!(answer.header("client-request-id"), answer.header("request-id"));
        let answer = bench.send(Method::GET, path, &[("client-request-id", "mine")], "").await;
        assert_eq!(answer.header("client-request-id"), Some("mine"));
        let long = "x".repeat(129);
        let answer = bench.send(Method::GET, path, &[("client-request-id", &long)], "").await;
        assert_eq!(answer.header("client-request-id"), answer.header("request-id"));
    }
}

#[tokio::test]
async fn both_versions_roots_and_spellings_lead_to_the_same() {
    let bench = Bench::new().await;
    for version in ["/v1.0", "/beta"] {
        for presence in [format!("/users/{USER}/presence"), format!("/communications/presences/{USER}")] {
            for prefix in ["", "microsoft.graph."] {
                let path = format!("{version}{presence}");
                assert_eq!(bench.post(&format!("{path}/{prefix}setPresence"), SET).await.status, 200);
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
                let mut answer = bench.post(&bulk, json!({ "ids": [USER] }).to_string()).await;
                // Each clear in this loop moves the number by a tick.
                let number = answer.body["value"][0]["sequenceNumber"].take();
                assert!(number.as_str().unwrap().starts_with("A17953158000"), "{number}");
                let root = format!("{}{version}/$metadata#", bench.server.graph());
                let context = format!("{root}Collection(microsoft.graph.presence)");
                assert_eq!(answer.body, json!({ "@odata.context": context, "value": [expected] }));
                assert_eq!(answer.header("content-type"), Some(ODATA_JSON));
                assert_eq!(answer.header("odata-version"), Some("4.0"));
                assert_eq!(answer.header("cache-control"), Some("no-store"));
                let context = if presence.starts_with("/users") {
                    format!("{root}users('{USER}')/presence/$entity")
                } else {
                    format!("{root}communications/presences/$entity")
                };
                expected["@odata.context"] = context.into();
                let mut body = bench.get(&path).await.body;
                assert_eq!(body["sequenceNumber"].take(), number);
                assert_eq!(body, expected);
                let clear = format!("{path}/{prefix}clearPresence");
                assert_eq!(bench.post(&clear, r#"{"sessionId":"app"}"#).await.status, 200);
                bench.post(&clear, r#"{"sessionId":"app"}"#).await.is_refused(404, "NotFound");
            }
        }
    }
}

#[tokio::test]
async fn unknown_paths_verbs_and_content_types_are_refused_in_graphs_shape() {
    let bench = Bench::new().await;
    let presence = format!("/v1.0/users/{USER}/presence");
    let set = format!("{presence}/setPresence");
    for path in ["/", "/v1.0", "/v2.0/users/u/presence", &format!("{presence}/dance")] {
        bench.get(path).await.is_refused(404, "ResourceNotFound");
        bench.post(path, SET).await.is_refused(404, "ResourceNotFound");
    }
    for (method, path, allow) in [
        (Method::GET, &set, "POST"),
        (Method::PUT, &set, "POST"),
        (Method::DELETE, &presence, "GET,HEAD"),
        (Method::POST, &presence, "GET,HEAD"),
        (Method::OPTIONS, &presence, "GET,HEAD"),
    ] {
        let answer = bench.send(method, path, &[], "").await;
        answer.is_refused(405, "MethodNotAllowed");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "\u{fc}", ""]
    {
        let answer = bench.send(Method::POST, &set, &[("content-type", content_type)], SET).await;
        answer.is_refused(415, "UnsupportedMediaType");
    }
    let json = [("content-type", "application/json"), ("content-encoding", "br")];
    bench.send(Method::POST, &set, &json, SET).await.is_refused(415, "UnsupportedMediaType");
    let json = [("content-type", "application/json"), ("content-encoding", "gzip")];
    bench.send(Method::POST, &set, &json, SET).await.is_refused(400, "BadRequest");
    bench.get("/v1.0/users//presence").await.is_refused(400, "InvalidArgument");
    bench.get("/v1.0/users/%ff/presence").await.is_refused(400, "BadRequest");
}

#[tokio::test]
async fn what_json_may_come_as() {
    let bench = Bench::new().await;
    let set = format!("/v1.0/users/{USER}/presence/setPresence");
    for content_type in
        ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
    {
        let answer = bench.send(Method::POST, &set, &[("content-type", content_type)], SET).await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
    assert_eq!(bench.send(Method::POST, &set, &[], SET).await.status, 200, "no content type");
    let headers =
        [("authorization", "Bearer x.y.z"), ("accept", "text/html"), ("prefer", "x"), ("sdkversion", "y")];
    assert_eq!(bench.send(Method::POST, &set, &headers, SET).await.status, 200);
    for body in [
        r#" {"sessionId":"app","availability":"Busy","activity":"InACall"} "#,
        r##"{"@odata.type":"#x","sessionId":"app","availability":"Busy","activity":"InACall","more":[1,{"a":2}]}"##,
        r#"{"sessionId":"app","availability":"Busy","activity":"InACall","expirationDuration":null}"#,
        r#"{"sessionId":"\u0061pp","availability":"Busy","activity":"InACall"}"#,
    ] {
        assert_eq!(bench.set_presence(body).await.status, 200, "{body}");
    }
    let with_byte_order_mark = format!("\u{feff}{SET}");
    assert_eq!(bench.set_presence(with_byte_order_mark).await.status, 200);
}

#[tokio::test]
async fn broken_bodies_are_refused_and_never_a_fault() {
    let bench = Bench::new().await;
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let deep = nested("[", "]", 30 * 1_024);
    let in_known = format!(r#"{{"sessionId":{deep}}}"#);
    // What nobody asks for may be anything that is JSON.
    let in_unknown = format!(r#"{{"sessionId":"a","availability":"Busy","activity":"InACall","x":{deep}}}"#);
    assert_eq!(bench.set_presence(in_unknown).await.status, 200);
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
        r#"{"sessionId":"app","sessionId":"app","availability":"Busy","activity":"InACall"}"#,
        r#"{"sessionId":1e999}"#,
        r#"{"sessionId":"\ud800"}"#,
        "{\"sessionId\":\"a\nb\"}",
        &deep,
        &in_known,
        &objects,
    ] {
        bench.set_presence(body.to_owned()).await.is_refused(400, "BadRequest");
    }
    for bytes in [&b"{\"sessionId\":\"\xff\"}"[..], b"\xff\xfe{\0}\0", b"{\"other\":\"\xc3\"}"] {
        bench.set_presence(bytes.to_vec()).await.is_refused(400, "BadRequest");
    }
    let answer = bench
        .set_presence(
            r#"{"sessionId":"app",
        "availability":}"#,
        )
        .await;
    assert!(answer.message().contains("line 2, column"), "{}", answer.message());
}

#[tokio::test]
async fn wrong_types_are_named_as_fields() {
    let bench = Bench::new().await;
    let answer = bench
        .set_presence(r#"{"sessionId":5,"availability":["Busy"],"activity":{},"expirationDuration":true}"#)
        .await;
    answer.is_refused(400, "InvalidArgument");
    let details = answer.body["error"]["details"].as_array().unwrap();
    let targets: Vec<_> = details.iter().map(|detail| detail["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["sessionId", "availability", "activity", "expirationDuration"]);
    assert!(answer.message().contains("got a number"), "{}", answer.message());

    let bulk = "/v1.0/communications/getPresencesByUserId";
    for body in
        [r#"{"ids":"u"}"#, r#"{"ids":5}"#, r#"{"ids":null}"#, "{}", r#"{"ids":[5]}"#, r#"{"ids":[null]}"#, ""]
    {
        bench.post(bulk, body).await.is_refused(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn the_texts_say_what_is_required_what_is_allowed_and_the_range() {
    let bench = Bench::new().await;
    let clear = format!("/v1.0/users/{USER}/presence/clearPresence");
    for body in ["{}", "", r#"{"sessionId":null}"#, r#"{"sessionId":""}"#] {
        let answer = bench.post(&clear, body).await;
        answer.is_refused(400, "InvalidArgument");
        assert_eq!(answer.message(), "`sessionId` is required.");
    }
    for pair in [r#""Busy","activity":"Busy""#, r#""Offline","activity":"Offline""#, r#""x","activity":"y""#]
    {
        let answer = bench.set_presence(format!(r#"{{"sessionId":"a","availability":{pair}}}"#)).await;
        for allowed in [
            "Available / Available",
            "Busy / InACall",
            "Busy / InAConferenceCall",
            "Away / Away",
            "DoNotDisturb / Presenting",
        ] {
            assert!(answer.message().contains(allowed), "{}", answer.message());
        }
    }
    for duration in ["PT4M59S", "PT4H1S", "P1M", "-PT5M", "soon"] {
        let body = json!({ "sessionId": "a", "availability": "Busy", "activity": "InACall",
                           "expirationDuration": duration });
        let answer = bench.set_presence(body.to_string()).await;
        assert!(answer.message().contains("between PT5M and PT4H, got "), "{}", answer.message());
    }
}

#[tokio::test]
async fn bodies_and_bulk_reads_have_a_limit() {
    let bench = Bench::new().await;
    let padded = |bytes: usize| format!("{SET}{}", " ".repeat(bytes - SET.len()));
    assert_eq!(bench.set_presence(padded(ACTION_MAX_BYTES)).await.status, 200);
    let answer = bench.set_presence(padded(ACTION_MAX_BYTES + 1)).await;
    answer.is_refused(413, "RequestEntityTooLarge");
    assert!(answer.message().contains("65536 bytes"));
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>(" ".repeat(256 * 1_024)));
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    bench.set_presence(chunked).await.is_refused(413, "RequestEntityTooLarge");
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(SET)]));
    assert_eq!(bench.set_presence(chunked).await.status, 200);

    let ids = |number: usize| {
        json!({ "ids": (0..number).map(|id| id.to_string()).collect::<Vec<_>>() }).to_string()
    };
    let bulk = "/v1.0/communications/getPresencesByUserId";
    let padded = |bytes: usize| format!("{}{}", ids(1), " ".repeat(bytes - ids(1).len()));
    assert_eq!(bench.post(bulk, padded(BODY_MAX_BYTES)).await.status, 200);
    let answer = bench.post(bulk, padded(BODY_MAX_BYTES + 1)).await;
    answer.is_refused(413, "RequestEntityTooLarge");
    assert!(answer.message().contains("1048576 bytes"));
    assert_eq!(bench.post(bulk, ids(650)).await.body["value"].as_array().unwrap().len(), 650);
    let answer = bench.post(bulk, ids(651)).await;
    answer.is_refused(400, "InvalidArgument");
    assert!(answer.message().contains("`ids` must have at most 650 items, got 651."), "{}", answer.message());
    // Of a list that is far too long nothing is read.
    let answer = bench.post(bulk, ids(20_000)).await;
    answer.is_refused(400, "InvalidArgument");
    assert!(answer.message().contains("got a list of 20000 elements"), "{}", answer.message());
}

#[tokio::test]
async fn http_2_without_tls_works_too() {
    let bench = Bench::new().await;
    let http = Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("{}/v1.0/users/{USER}/presence", bench.server.graph());
    let response = http.get(url).send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_may_be_packed_and_answers_are_for_those_who_ask() {
    let bench = Bench::new().await;
    let path = format!("/v1.0/users/{USER}/presence");
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let set = format!("{path}/setPresence");
    assert_eq!(bench.send(Method::POST, &set, &packed, gzip(SET)).await.status, 200);
    assert_eq!(bench.presence().await["activity"], "InACall");
    let large = gzip(&" ".repeat(2 * BODY_MAX_BYTES));
    assert!(large.len() < 4_096);
    let bulk = "/v1.0/communications/getPresencesByUserId";
    for path in [bulk, &set] {
        let answer = bench.send(Method::POST, path, &packed, large.clone()).await;
        answer.is_refused(413, "RequestEntityTooLarge");
    }
    let broken = &gzip(SET)[..20];
    bench.send(Method::POST, &set, &packed, broken.to_vec()).await.is_refused(400, "BadRequest");

    // This one leaves packing to us; the bench's asks for it and unpacks.
    let plain = Client::builder().gzip(false).build().unwrap();
    let url = format!("{}{path}", bench.server.graph());
    for (ask, encoding) in [("gzip", Some("gzip")), ("gzip, deflate", Some("gzip")), ("identity", None)] {
        let response = plain.get(&url).header("accept-encoding", ask).send().await.unwrap();
        let found = response.headers().get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!((found, &response.headers()["vary"]), (encoding, &"accept-encoding".parse().unwrap()));
    }
    let read: Value = plain.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(read, bench.get(&path).await.body);
    bench.get("/v1.0/nowhere").await.is_refused(404, "ResourceNotFound");
}

#[tokio::test]
async fn head_is_answered_without_a_body_whatever_the_answer() {
    let bench = Bench::new().await;
    let over_http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for (path, status) in [(format!("/v1.0/users/{USER}/presence"), 200), ("/v1.0/nowhere".to_owned(), 404)] {
        for client in [&Client::new(), &over_http2] {
            let response = client.head(format!("{}{path}", bench.server.graph())).send().await.unwrap();
            assert_eq!(response.status(), status);
            let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
            assert!(length > 100, "as long as the body would be, not {length}");
            assert!(response.bytes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn an_action_without_a_body_comes_with_or_without_a_content_type() {
    let bench = Bench::new().await;
    for action in ["clearUserPreferredPresence", "clearAutomaticLocation", "clearLocation"] {
        let path = format!("/v1.0/users/{USER}/presence/{action}");
        let json = [("content-type", "application/json")];
        assert_eq!(bench.send(Method::POST, &path, &[], "").await.status, 200);
        assert_eq!(bench.send(Method::POST, &path, &json, "").await.status, 200);
        assert_eq!(bench.send(Method::POST, &path, &json, "{}").await.status, 200);
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("{}")]));
        assert_eq!(bench.send(Method::POST, &path, &json, chunked).await.status, 200);
    }
}

#[tokio::test]
async fn what_graphs_metadata_has_and_presences_have_not_is_405() {
    let bench = Bench::new().await;
    for path in [format!("/v1.0/users/{USER}/presence"), format!("/v1.0/communications/presences/{USER}")] {
        for method in [Method::PATCH, Method::DELETE] {
            bench.send(method, &path, &[], "{}").await.is_refused(405, "MethodNotAllowed");
        }
    }
    bench.post("/v1.0/communications/presences", "{}").await.is_refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn what_is_not_offered_is_404() {
    let bench = Bench::new().await;
    for path in ["/v1.0/subscriptions", "/beta/subscriptions/1", "/v1.0/users", "/v1.0/$metadata"] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            bench.send(method, path, &[], "").await.is_refused(404, "ResourceNotFound");
        }
        bench.post(path, "{}").await.is_refused(404, "ResourceNotFound");
    }
    let reauthorize = "/v1.0/subscriptions/1/reauthorize";
    bench.post(reauthorize, "{}").await.is_refused(404, "ResourceNotFound");
}
