//! Properties and query options that the service does not know: they are named, or refused.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{JsonResponse, TestApi, USER};
use crate::support::{database::Engine, lists::token_of, metrics::value, server::Server};

const STRICT: [(&str, &str); 1] = [("prefer", "handling=strict")];

fn path(action: &str) -> String {
    format!("/v1.0/users/{USER}/presence/{action}")
}

async fn send(
    api: &TestApi,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Response {
    let mut request = api.http.request(method, format!("{}{path}", api.server.graph())).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn post(api: &TestApi, path: &str, headers: &[(&str, &str)], body: &str) -> JsonResponse {
    let headers = [headers, &[("content-type", "application/json")]].concat();
    api.send(Method::POST, path, &headers, body.to_owned()).await
}

#[tokio::test]
async fn an_unknown_property_is_ignored_and_named() {
    let api = TestApi::new().await;
    for (action, body, ignored) in [
        (
            "setPresence",
            r#"{"sessionId":"app","availability":"Busy","activity":"InACall","startDateTime":"x","duration":5}"#,
            Some("startDateTime, duration"),
        ),
        ("setPresence", r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#, None),
        (
            "setUserPreferredPresence",
            r#"{"availability":"Busy","activity":"Busy","expirationDurations":"PT1H"}"#,
            Some("expirationDurations"),
        ),
        (
            "setStatusMessage",
            r#"{"x":{"y":1},"statusMessage":{"message":{"content":"a","foo":1},"expiryDateTime":null,
                "foo":[1],"expiryDatetimes":{}}}"#,
            Some("x, statusMessage.message.foo, statusMessage.foo, statusMessage.expiryDatetimes"),
        ),
        (
            "setStatusMessage",
            r#"{"statusMessage":{"message":{"content":"a"},
                "expiryDateTime":{"dateTime":"2036-01-01T00:00:00","zone":"Europe/Berlin"}}}"#,
            Some("statusMessage.expiryDateTime.zone"),
        ),
        ("setManualLocation", r#"{"workLocationType":"office","place":"x"}"#, Some("place")),
        (
            "setAutomaticLocation",
            r#"{"workLocationType":"office","a b,c\u00e9\n":1}"#,
            Some("a%20b%2Cc%C3%A9%0A"),
        ),
        ("clearPresence", r#"{"sessionId":"app","reason":"x"}"#, Some("reason")),
        ("clearUserPreferredPresence", r#"{"availability":"Busy"}"#, Some("availability")),
        ("clearAutomaticLocation", r#"{"a":1}"#, Some("a")),
        ("clearLocation", r#"{"a":{"b":2}}"#, Some("a")),
        ("clearLocation", "{}", None),
        ("clearLocation", "null", None),
        ("clearLocation", r#""""#, None),
        // Annotations of OData.
        (
            "setManualLocation",
            r##"{"@odata.type":"#x","workLocationType@odata.type":"#y","@id":1,"workLocationType":"office"}"##,
            None,
        ),
        ("erase", r#"{"user":1}"#, Some("user")),
    ] {
        let response = post(&api, &path(action), &[], body).await;
        assert_eq!((response.status, response.header("presence-ignored")), (200, ignored), "{body}");
        assert_eq!(response.header("preference-applied"), None);

        let response = post(&api, &path(action), &STRICT, body).await;
        assert_eq!(response.header("preference-applied"), Some("handling=strict"));
        assert_eq!(response.header("presence-ignored"), None);
        if let Some(ignored) = ignored {
            response.is_refused(400, "InvalidArgument");
            assert_eq!(response.targets().len(), ignored.split(", ").count(), "{}", response.message());
        }
    }
    let ids = format!(r#"{{"ids":["{USER}"],"select":"id"}}"#);
    let read = api.post("/v1.0/communications/getPresencesByUserId", ids).await;
    assert_eq!((read.status, read.header("presence-ignored")), (200, Some("select")));
    let get = api.send(Method::GET, &path(""), &[("content-type", "application/json")], r#"{"a":1}"#).await;
    assert_eq!((get.status, get.header("presence-ignored")), (200, Some("a")));

    let ignored = "presence_ignored_input_total{operation=\"set_status_message\"}";
    assert!((value(api.server.addresses.admin, ignored).await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn many_and_long_names_are_cut() {
    let api = TestApi::new().await;
    let mut body = json!({ "workLocationType": "office" });
    for index in 0..300 {
        body[format!("{index}{}", "x".repeat(200))] = Value::Null;
    }
    let response = api.act("setManualLocation", &body).await;
    let ignored = response.header("presence-ignored").unwrap();
    assert_eq!(response.status, 200);
    assert!(ignored.len() < 2_200 && ignored.ends_with(", ..."), "{ignored}");
    assert_eq!(ignored.split(", ").count(), 21);
}

#[tokio::test]
async fn under_strict_handling_the_error_suggests_the_nearest_name() {
    let api = TestApi::new().await;
    for (action, body, message) in [
        (
            "setPresence",
            r#"{"sessionId":"a","availability":"Busy","activity":"InACall","expirationDurations":"PT1H"}"#,
            "`expirationDurations` is an unknown property; the nearest known name is `expirationDuration`.",
        ),
        (
            "setStatusMessage",
            r#"{"statusMessage":{"message":{"content":"a"},"expiryDateTime":{"dateTime":"x","timezones":"x"}}}"#,
            "`statusMessage.expiryDateTime.timezones` is an unknown property; the nearest known name is `timeZone`.",
        ),
        (
            "clearPresence",
            r#"{"id":"a"}"#,
            "`id` is an unknown property; known here: sessionId, observedDateTime.",
        ),
        ("clearLocation", r#"{"id":"a"}"#, "`id` is an unknown property; there is none here."),
    ] {
        let response = post(&api, &path(action), &STRICT, body).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.message(), message);
    }
    assert_eq!(api.presence().await["availability"], "Offline");
}

#[tokio::test]
async fn the_setting_refuses_what_a_preference_cannot_loosen() {
    let server = Server::start_with(Engine::Sqlite, &["--unknown-properties", "reject"]).await;
    let api = TestApi { server, http: reqwest::Client::new() };
    let body = r#"{"workLocationType":"office","x":1}"#;
    for (preference, applied) in
        [("respond-async", None), ("handling=lenient", None), ("Handling = Strict", Some("handling=strict"))]
    {
        let response = post(&api, &path("setManualLocation"), &[("prefer", preference)], body).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!((response.targets(), response.header("preference-applied")), (vec!["x"], applied));
    }
    assert_eq!(api.presence().await["workLocation"]["source"], "none");
    let api = TestApi::new().await;
    let response = post(&api, &path("setManualLocation"), &[("prefer", "handling=lenient")], body).await;
    assert_eq!((response.status, response.header("preference-applied")), (200, Some("handling=lenient")));
}

#[tokio::test]
async fn a_batch_names_its_own_unknown_properties_and_each_item_those_of_its_body() {
    let api = TestApi::new().await;
    let item = |id: &str, body: Value, headers: Value| {
        json!({ "id": id, "method": "POST", "url": format!("/users/{USER}/presence/setManualLocation"),
                "headers": headers, "body": body })
    };
    let known = json!({ "workLocationType": "office" });
    let unknown = json!({ "workLocationType": "office", "x": 1 });
    let mut odd = item("4", known.clone(), json!({}));
    odd["atomicityGroup"] = json!("g");
    odd["depends_on"] = json!(["1"]);
    let batch = json!({ "requests": [
        item("1", unknown.clone(), json!({})),
        item("2", unknown.clone(), json!({ "Prefer": "handling=strict" })),
        item("3", known, json!({})),
        odd,
    ], "foo": 1 });
    let response = api.post("/v1.0/$batch", batch.to_string()).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("presence-ignored"), Some("foo, requests[3].atomicityGroup"));
    let [first, second, third, fourth] = response.body["responses"].as_array().unwrap().as_slice() else {
        panic!("{}", response.body)
    };
    assert_eq!((&first["status"], &first["headers"]["presence-ignored"]), (&json!(200), &json!("x")));
    assert_eq!((&second["status"], &second["headers"]["presence-ignored"]), (&json!(400), &Value::Null));
    assert_eq!(second["headers"]["Preference-Applied"], "handling=strict");
    for item in [third, fourth] {
        assert_eq!((&item["status"], &item["headers"]["presence-ignored"]), (&json!(200), &Value::Null));
    }

    // The preference of the batch is that of its items, unless they have another.
    let lenient = item("2", unknown.clone(), json!({ "prefer": "handling=lenient" }));
    let batch = json!({ "requests": [item("1", unknown, json!({})), lenient] });
    let response = post(&api, "/v1.0/$batch", &STRICT, &batch.to_string()).await;
    let statuses = [0, 1].map(|index| response.body["responses"][index]["status"].as_u64().unwrap());
    assert_eq!((response.status, statuses), (200, [400, 200]), "{}", response.body);
    let unknown = r#"{"requests":[{"id":"1","method":"GET","url":"/x","bodies":1}]}"#;
    let response = post(&api, "/v1.0/$batch", &STRICT, unknown).await;
    assert_eq!(response.targets(), ["requests[0].bodies"], "{}", response.message());
}

#[tokio::test]
async fn a_python_batch_runs_in_the_order_of_depends_on() {
    let api = TestApi::new().await;
    let batch = json!({ "requests": [
        { "id": "2", "method": "GET", "url": format!("/users/{USER}/presence"), "depends_on": ["1"] },
        { "id": "1", "method": "POST", "url": format!("/users/{USER}/presence/setPresence"), "body": {} },
    ] });
    let response = api.post("/v1.0/$batch", batch.to_string()).await;
    assert_eq!(response.header("presence-ignored"), None);
    assert_eq!(response.body["responses"][0]["status"], 424, "{}", response.body);
}

#[tokio::test]
async fn text_that_is_not_unicode_is_named() {
    const HALF: &str = "has half of a surrogate pair: \\ud83d.";
    let api = TestApi::new().await;
    for (path, body, target) in [
        (
            path("setPresence"),
            r#"{"sessionId":"\ud83d","availability":"Busy","activity":"InACall"}"#,
            "sessionId",
        ),
        (
            path("setPresence"),
            r#"{"SessionId":"a","availability":"Busy","activity":"\uD83DInACall"}"#,
            "activity",
        ),
        (
            path("setStatusMessage"),
            r#"{"statusMessage":{"message":{"content":"Hi \ud83d"}}}"#,
            "statusMessage.message.content",
        ),
        (
            path("setStatusMessage"),
            r#"{"statusMessage":{"message":{"content":"a"},"expiryDateTime":{"dateTime":"x","timeZone":"\ud83d"}}}"#,
            "statusMessage.expiryDateTime.timeZone",
        ),
        (path("setManualLocation"), r#"{"workLocationType":"office","placeId":"\ud83d\ud83d"}"#, "placeId"),
        (
            path("setManualLocation"),
            r#"{"workLocationType":"office","x\ud83d":1}"#,
            "x\u{fffd}\u{fffd}\u{fffd}",
        ),
        (path("clearLocation"), r#"{"x\ud83d":1}"#, "x\u{fffd}\u{fffd}\u{fffd}"),
        (
            "/v1.0/communications/getPresencesByUserId".to_owned(),
            r#"{"ids":["a","b","c","\ud83d"]}"#,
            "ids[3]",
        ),
        (
            "/v1.0/$batch".to_owned(),
            r#"{"requests":[{"id":"\ud83d","method":"GET","url":"/x"}]}"#,
            "requests[0].id",
        ),
        (
            "/v1.0/$batch".to_owned(),
            r#"{"requests":[{"id":"1","method":"GET","url":"/x","headers":{"a":"\ud83d"}}]}"#,
            "requests[0].headers",
        ),
    ] {
        let response = api.post(&path, body).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!((response.targets(), response.message()), (vec![target], &*format!("`{target}` {HALF}")));
    }
    let url = path("setManualLocation");
    let url = url.strip_prefix("/v1.0").unwrap();
    let item = r#"{"workLocationType":"office","placeId":"\ud83d"}"#;
    let batch = format!(r#"{{"requests":[{{"id":"1","method":"POST","url":"{url}","body":{item}}}]}}"#);
    let response = api.post("/v1.0/$batch", batch).await;
    let item = &response.body["responses"][0];
    assert_eq!(
        (&item["status"], &item["body"]["error"]["details"][0]["target"]),
        (&json!(400), &json!("placeId"))
    );
    // A whole pair is a character, and half of one in a value that is ignored does no harm.
    let whole = r#"{"statusMessage":{"message":{"content":"\ud83d\ude00","x":"\ud83d"}}}"#;
    let response = api.post(&path("setStatusMessage"), whole).await;
    assert_eq!(
        (response.status, response.header("presence-ignored")),
        (200, Some("statusMessage.message.x"))
    );
    assert_eq!(api.presence().await["statusMessage"]["message"]["content"], "😀");
}

#[tokio::test]
async fn an_unknown_query_option_is_ignored_and_named() {
    let api = TestApi::new().await;
    let set = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
    let (presence, list) = (path("").trim_end_matches('/').to_owned(), "/v1.0/communications/presences");
    for (method, path, query, ignored) in [
        (Method::GET, list, "availability=Busy", "?availability"),
        (Method::GET, list, "%24top=5&page=2&a%20b=1&page=3", "?page, ?a%20b"),
        (Method::GET, &*presence, "user=x", "?user"),
        (Method::GET, "/v1.0/communications/presences/$count", "availability=Busy", "?availability"),
        (Method::GET, &path("explain"), "when=now", "?when"),
        (Method::GET, &path("history"), "since=now", "?since"),
        (Method::GET, &path("export"), "type=csv", "?type"),
        (Method::POST, &path("setPresence"), "expirationDuration=PT1H", "?expirationDuration"),
        // An action returns nothing that the options of OData could change.
        (Method::POST, &path("setPresence"), "$select=id&x", "?$select, ?x"),
        (Method::POST, &path("clearLocation"), "x=1", "?x"),
        (Method::POST, &path("erase"), "everything", "?everything"),
        (Method::GET, "/openapi.json", "x", "?x"),
    ] {
        let path = format!("{path}?{query}");
        let body = if path.contains("setPresence") { set } else { "" };
        let response = send(&api, method.clone(), &path, &[], body).await;
        assert_eq!(
            (response.status(), header(&response, "presence-ignored")),
            (StatusCode::OK, Some(ignored))
        );
        let response = send(&api, method, &path, &STRICT, body).await;
        assert_eq!(
            (response.status(), header(&response, "presence-ignored")),
            (StatusCode::BAD_REQUEST, None)
        );
        assert_eq!(header(&response, "preference-applied"), Some("handling=strict"));
        let text = response.text().await.unwrap();
        assert!(
            text.contains(&format!("`{}`", ignored.split(", ").next().unwrap().replace("%20", " "))),
            "{text}"
        );
    }
    let message = "`?tops` is an unknown query option; the nearest known name is `$top`.";
    assert_eq!(api.send(Method::GET, &format!("{list}?tops=5"), &STRICT, "").await.message(), message);
    // An alias of OData.
    assert_eq!(api.get(&format!("{list}?@p=1")).await.header("presence-ignored"), None);
    let url = "/communications/presences?availability=Busy";
    let batch = json!({ "requests": [{ "id": "1", "method": "GET", "url": url }] });
    let response = api.post("/v1.0/$batch?y=1", batch.to_string()).await;
    assert_eq!(response.header("presence-ignored"), Some("?y"));
    assert_eq!(response.body["responses"][0]["headers"]["presence-ignored"], "?availability");
}

#[tokio::test]
async fn a_query_option_is_the_same_in_any_case_and_without_the_dollar_sign() {
    let api = TestApi::new().await;
    for user in ["a", "b"] {
        let set = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
        api.post(&format!("/v1.0/users/{user}/presence/setPresence"), set.to_string()).await;
    }
    let list = "/v1.0/communications/presences";
    for query in ["$top=1&$select=id", "top=1&select=id", "$TOP=1&SELECT=id", "%24Top=1&%24Select=id"] {
        let response = api.get(&format!("{list}?{query}")).await;
        assert_eq!(
            (&response.body["value"], response.header("presence-ignored")),
            (&json!([{ "id": "a" }]), None)
        );
        let skip = if query.contains("TOP") { "SKIPTOKEN" } else { "skiptoken" };
        let next = api.get(&format!("{list}?{query}&{skip}={}", token_of(&response.body))).await;
        assert_eq!(next.body["value"], json!([{ "id": "b" }]), "{query}");
    }
    for (query, target) in [
        ("$top=1&top=1", "top"),
        ("TOP=1&$top=1", "$top"),
        ("filter=availability eq 'Busy'&$Filter=availability eq 'Busy'", "$Filter"),
        ("orderby=x", "orderby"),
        ("EXPAND=x", "EXPAND"),
        ("count=true", "count"),
        ("$other=x", "$other"),
    ] {
        let response = api.get(&format!("{list}?{query}")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), [target]);
    }
    let past = api.get(&format!("{}?$AT=2026-11-22T02:00:00Z", path("explain"))).await;
    assert_eq!(past.body["readDateTime"], "2026-11-22T02:00:00.0000000Z");
}
