//! Paths, query options, pages, and the properties of a presence.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{SET, TestApi, USER};

const ACTIONS: [&str; 9] = [
    "setPresence",
    "clearPresence",
    "setUserPreferredPresence",
    "clearUserPreferredPresence",
    "setStatusMessage",
    "setManualLocation",
    "setAutomaticLocation",
    "clearAutomaticLocation",
    "clearLocation",
];

#[tokio::test]
async fn a_user_is_found_by_every_spelling_of_its_path() {
    let api = TestApi::new().await;
    let set = api.post("/v1.0/users/megan%40contoso.com/presence/setPresence", SET).await;
    assert_eq!(set.status, 200);
    for path in [
        "/v1.0/users/megan@contoso.com/presence",
        "/v1.0/users/megan%40contoso.com/presence/",
        "/beta/users('megan@contoso.com')/presence",
        "/beta/users(%27megan%40contoso.com%27)/presence/",
        "/v1.0/communications/presences/megan@contoso.com",
        "/v1.0/communications/presences('megan@contoso.com')",
    ] {
        assert_eq!(api.get(path).await.body["activity"], "InACall", "{path}");
    }
    // An id may be the name of something else.
    for id in ["microsoft.graph.bot", "$count", "$batch", "presence"] {
        let path = format!("/v1.0/users/{id}/presence");
        assert_eq!(api.post(&format!("{path}/setPresence"), SET).await.status, 200);
        for path in [path, format!("/v1.0/communications/presences('{id}')")] {
            let body = api.get(&path).await.body;
            assert_eq!((&body["id"], &body["activity"]), (&json!(id), &json!("InACall")), "{path}");
        }
    }
    let clear = "/v1.0/users('megan@contoso.com')/presence/microsoft.graph.clearPresence/";
    assert_eq!(api.post(clear, r#"{"sessionId":"app"}"#).await.status, 200);
}

#[tokio::test]
async fn paths_lists_and_batches_take_every_spelling_of_a_guid() {
    let api = TestApi::new().await;
    assert_eq!(api.set_presence(SET).await.status, 200);
    for id in [
        "FA8BF3DCECA746B7BAD1DB199B62AFC3",
        "%7Bfa8bf3dc-eca7-46b7-bad1-db199b62afc3%7D",
        "urn:uuid:fa8bf3dc-eca7-46b7-bad1-db199b62afc3",
    ] {
        for path in [
            format!("/v1.0/users/{id}/presence"),
            format!("/v1.0/users('{id}')/presence"),
            format!("/v1.0/communications/presences/{id}"),
        ] {
            let body = api.get(&path).await.body;
            assert_eq!((&body["id"], &body["activity"]), (&json!(USER), &json!("InACall")), "{path}");
        }
        let request = json!({ "id": "1", "method": "GET", "url": format!("/users/{id}/presence") });
        let batch = api.post("/v1.0/$batch", json!({ "requests": [request] }).to_string()).await.body;
        assert_eq!(batch["responses"][0]["body"]["id"], USER, "{batch}");
    }
    // A placeholder that is encoded, and one that is encoded twice.
    for id in ["%7Bid%7D", "%257Bid%257D", "%3Auser-id", "me"] {
        let response = api.get(&format!("/v1.0/users/{id}/presence")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), ["id"], "{}", response.body);
    }
}

#[tokio::test]
async fn me_without_authentication_is_401() {
    let api = TestApi::new().await;
    let mut refused = vec![api.get("/v1.0/me/presence").await, api.get("/beta/me/presence").await];
    for action in ACTIONS {
        refused.push(api.post(&format!("/v1.0/me/presence/{action}"), SET).await);
    }
    for response in refused {
        response.is_refused(401, "InvalidAuthenticationToken");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert!(response.message().contains("/users/{id}/presence"), "{}", response.message());
    }
}

#[tokio::test]
async fn actions_on_locations_return_200_and_on_beta_204() {
    let api = TestApi::new().await;
    for (version, status) in [("/v1.0", 200), ("/beta", 204)] {
        for presence in [format!("users/{USER}/presence"), format!("communications/presences/{USER}")] {
            for action in &ACTIONS[5..] {
                let path = format!("{version}/{presence}/{action}");
                let response = api.post(&path, r#"{"workLocationType":"office"}"#).await;
                assert_eq!((response.status, &response.body), (status, &Value::Null), "{path}");
                assert_eq!(response.header("content-type"), None);
            }
        }
    }
}

#[tokio::test]
async fn select_reduces_a_presence_to_the_selected_properties() {
    let api = TestApi::new().await;
    api.set_presence(SET).await;
    let root = api.server.graph();
    for select in ["$select=availability,activity", "%24select=availability%2C%20activity&other=1"] {
        let response = api.get(&format!("/v1.0/users/{USER}/presence?{select}")).await;
        let context =
            format!("{root}/v1.0/$metadata#users('{USER}')/presence(availability,activity)/$entity");
        let expected = json!({ "@odata.context": context, "availability": "Busy", "activity": "InACall" });
        assert_eq!(response.body, expected);
    }
    let bulk = format!(r#"{{"ids":["{USER}"]}}"#);
    let response = api.post("/v1.0/communications/getPresencesByUserId?$select=id", bulk).await;
    assert_eq!(response.body["value"], json!([{ "id": USER }]));
    let all = api.get(&format!("/v1.0/users/{USER}/presence?$select=id,*")).await;
    assert_eq!(all.body, api.presence().await);
    for query in [
        "$select=mood",
        "$select=",
        "$select=id&$select=id",
        "$expand=x",
        "$filter=id%20eq%20%271%27",
        "$top=5",
    ] {
        let response = api.get(&format!("/v1.0/users/{USER}/presence?{query}")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), [query.split('=').next().unwrap()]);
    }
    let twice = api.get("/v1.0/communications/presences?$top=5&$top=5").await;
    assert_eq!(twice.message(), "`$top` is given more than once.");
}

#[tokio::test]
async fn a_list_pages_through_the_users_with_a_live_session() {
    let api = TestApi::new().await;
    for user in ["d", "b", "a", "f", "c", "e", "o'hara"] {
        api.post(&format!("/v1.0/users/{user}/presence/setPresence"), SET).await;
    }
    let ids = |body: &Value| {
        let value = body["value"].as_array().unwrap().iter();
        value.map(|presence| presence["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = api.get("/v1.0/communications/presences").await.body;
    assert_eq!(ids(&whole), ["a", "b", "c", "d", "e", "f", "o'hara"]);
    assert_eq!(whole["@odata.nextLink"], Value::Null);
    assert_eq!(
        whole["@odata.context"],
        format!("{}/v1.0/$metadata#communications/presences", api.server.graph())
    );

    let mut path = "/v1.0/communications/presences?$top=3&$select=id".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = api.get(&path).await.body;
        assert_eq!(page["value"][0].as_object().unwrap().len(), 1, "the link keeps the selection");
        pages.push(ids(&page));
        let Some(next) = page["@odata.nextLink"].as_str() else { break };
        path = next.strip_prefix(&api.server.graph()).expect("an absolute link to this host").to_owned();
        if pages.len() == 1 {
            // Neither change moves a user to another page.
            api.post("/v1.0/users/b/presence/clearPresence", r#"{"sessionId":"app"}"#).await;
            api.post("/v1.0/users/a.new/presence/setPresence", SET).await;
        }
    }
    assert_eq!(pages, [&["a", "b", "c"][..], &["d", "e", "f"], &["o'hara"]]);

    let forwarded = [("x-forwarded-proto", "https"), ("host", "presence.localhost")];
    let response = api.send(Method::GET, "/beta/communications/presences?$top=1", &forwarded, "").await;
    let next = response.body["@odata.nextLink"].as_str().unwrap();
    let path = next.strip_prefix("https://presence.localhost").expect("the host of the request");
    assert!(path.starts_with("/beta/communications/presences?$top=1&$skiptoken="), "{next}");
    assert_eq!(ids(&api.get(path).await.body), ["a.new"]);

    let response = api.get("/v1.0/communications/presences/$count").await;
    assert_eq!((response.header("content-type"), &response.body), (Some("text/plain"), &json!(7)));
    api.server.clock.advance(Duration::from_mins(5));
    assert!(ids(&api.get("/v1.0/communications/presences").await.body).is_empty());
}

#[tokio::test]
async fn invalid_options_of_a_list_are_named() {
    let api = TestApi::new().await;
    for (query, target) in [
        ("$top=0", "$top"),
        ("$top=651", "$top"),
        ("$top=-1", "$top"),
        ("$top=many", "$top"),
        ("$skiptoken=a%20b", "$skiptoken"),
        ("$skip=5", "$skip"),
        ("$orderby=id", "$orderby"),
        ("$count=true", "$count"),
        ("$search=x", "$search"),
        ("$expand=x", "$expand"),
    ] {
        let response = api.get(&format!("/v1.0/communications/presences?{query}")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), [target]);
    }
    let response = api.get("/v1.0/communications/presences?$top=650").await;
    assert_eq!(response.status, 200);
    let response = api.get("/v1.0/communications/presences/$count?$search=x").await;
    response.is_refused(400, "InvalidArgument");
    assert_eq!(response.targets(), ["$search"]);
}

#[tokio::test]
async fn the_error_of_an_invalid_preferred_pair_names_the_six_valid_pairs() {
    let api = TestApi::new().await;
    let body = json!({ "availability": "Busy", "activity": "InACall" });
    let response = api.act("setUserPreferredPresence", &body).await;
    response.is_refused(400, "InvalidArgument");
    for pair in [
        "Available / Available",
        "Busy / Busy",
        "DoNotDisturb / DoNotDisturb",
        "BeRightBack / BeRightBack",
        "Away / Away",
        "Offline / OffWork",
    ] {
        assert!(response.message().contains(pair), "{}", response.message());
    }
    for duration in ["PT0S", "-PT5M", "P366D", "soon"] {
        let body = json!({ "availability": "Busy", "activity": "Busy", "expirationDuration": duration });
        let response = api.act("setUserPreferredPresence", &body).await;
        response.is_refused(400, "InvalidArgument");
        assert!(response.message().contains("between PT0.001S and P365D"), "{}", response.message());
    }
}

fn message(content: &Value, ends: &Value) -> Value {
    json!({ "statusMessage": { "message": { "content": content }, "expiryDateTime": ends } })
}

#[tokio::test]
async fn a_status_message_ends_at_a_time_in_a_windows_or_iana_zone() {
    let api = TestApi::new().await;
    // It is 02:50 in UTC; each of these is 03:00.
    for (date_time, time_zone) in [
        ("2026-11-21T19:00:00.0000000", json!("Pacific Standard Time")),
        ("2026-11-22T04:00:00", json!("Europe/Berlin")),
        ("2026-11-22T03:00:00", json!("UTC")),
        ("2026-11-22T03:00", Value::Null),
        ("2026-11-22T03:00:00.0000000Z", json!("UTC")),
        ("2026-11-22T04:00:00.0000000+01:00", Value::Null),
        ("2026-11-22T04:00:00+01:00", json!("Europe/Berlin")),
    ] {
        let api = TestApi::new().await;
        let ends = json!({ "dateTime": date_time, "timeZone": time_zone });
        assert_eq!(api.act("setStatusMessage", &message(&"hi".into(), &ends)).await.status, 200);
        // The reader is not the user, so both times are omitted.
        let expected = json!({ "message": { "content": "hi", "contentType": "text" } });
        assert_eq!(api.presence().await["statusMessage"], expected);
        api.server.clock.advance(Duration::from_mins(10) - Duration::from_millis(1));
        assert_eq!(api.presence().await["statusMessage"], expected);
        api.server.clock.advance(Duration::from_millis(1));
        assert_eq!(api.presence().await["statusMessage"], Value::Null, "{date_time} {time_zone}");
    }
    // A .NET client sends this for "never".
    let never = json!({ "dateTime": "9999-12-31T23:59:59.9999999", "timeZone": "UTC" });
    assert_eq!(api.act("setStatusMessage", &message(&"hi".into(), &never)).await.status, 200);
    for content_type in ["text", "Text"] {
        let mut body = message(&"hi".into(), &Value::Null);
        body["statusMessage"]["message"]["contentType"] = content_type.into();
        assert_eq!(api.act("setStatusMessage", &body).await.status, 200);
    }
    assert_eq!(api.act("setStatusMessage", &message(&"".into(), &Value::Null)).await.status, 200);
    assert_eq!(api.presence().await["statusMessage"], Value::Null);
}

#[tokio::test]
async fn invalid_fields_of_a_status_message_are_named() {
    const CONTENT: &str = "statusMessage.message.content";
    const ENDS: &str = "statusMessage.expiryDateTime.dateTime";
    const ZONE: &str = "statusMessage.expiryDateTime.timeZone";
    let api = TestApi::new().await;
    let text = json!("hi");
    let html = json!({ "statusMessage": { "message": { "content": "<b>hi</b>", "contentType": "html" } } });
    let ends = |time: &str, zone: &str| json!({ "dateTime": time, "timeZone": zone });
    for (body, targets) in [
        (html, &["statusMessage.message.contentType"][..]),
        (message(&text, &ends("2026-11-22T03:00:00", "Middle-earth")), &[ZONE]),
        (message(&text, &ends("2026-11-22T02:50:00", "UTC")), &[ENDS]),
        (message(&text, &ends("2026-11-22T03:30:00", "Europe/Berlin")), &[ENDS]),
        (message(&text, &ends("2026-11-22T03:00:00Z", "Europe/Berlin")), &[ENDS]),
        (message(&text, &ends("tomorrow", "Middle-earth")), &[ZONE]),
        (message(&text, &json!({ "timeZone": "UTC" })), &[ENDS]),
        (message(&text, &json!({ "dateTime": 5, "timeZone": 6 })), &[ZONE, ENDS]),
        (message(&text, &json!("tomorrow")), &[ENDS]),
        (message(&"x".repeat(281).into(), &Value::Null), &[CONTENT]),
        (message(&"ü".repeat(281).into(), &ends("2026-11-22T02:00:00", "UTC")), &[CONTENT, ENDS]),
        (message(&json!(5), &Value::Null), &[CONTENT]),
        (message(&json!(5), &json!(7)), &[CONTENT, ENDS]),
        (
            json!({ "statusMessage": { "message": { "content": 5, "contentType": "html" } } }),
            &["statusMessage.message.contentType", CONTENT],
        ),
        (json!({}), &[CONTENT]),
        (json!({ "statusMessage": {} }), &[CONTENT]),
        (json!({ "statusMessage": { "message": {} } }), &[CONTENT]),
        (json!({ "statusMessage": "hi" }), &[CONTENT]),
        (json!({ "statusMessage": { "message": "hi" } }), &[CONTENT]),
    ] {
        let response = api.act("setStatusMessage", &body).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), targets, "{body}");
        if body["statusMessage"]["expiryDateTime"]["dateTime"] == "2026-11-22T03:00:00Z" {
            assert_eq!(
                response.message(),
                "`statusMessage.expiryDateTime.dateTime` must have no offset, or that of \
                 `statusMessage.expiryDateTime.timeZone`, got \"2026-11-22T03:00:00Z\" in \"Europe/Berlin\"."
            );
        }
        if body["statusMessage"]["expiryDateTime"].is_string() {
            assert!(
                response.message().contains("an object with dateTime and timeZone"),
                "{}",
                response.message()
            );
        }
    }
    assert_eq!(api.presence().await["statusMessage"], Value::Null);
    let longest = api.act("setStatusMessage", &message(&"ü".repeat(280).into(), &Value::Null)).await;
    assert_eq!(longest.status, 200);
}

#[tokio::test]
async fn the_sequence_number_grows_with_every_change() {
    let api = TestApi::new().await;
    let mut numbers = Vec::new();
    let mut check = async |changed: bool| {
        let number = api.presence().await["sequenceNumber"].as_str().unwrap().to_owned();
        assert_eq!(number.len(), 14, "{number}");
        assert!(
            numbers.last().is_none_or(|last| if changed { *last < number } else { *last == number }),
            "{numbers:?} {number}"
        );
        numbers.push(number);
    };
    check(true).await;
    let session = json!({ "sessionId": "app", "availability": "Available", "activity": "Available",
                          "expirationDuration": "PT15M" });
    api.act("setPresence", &session).await;
    check(true).await;
    api.server.clock.advance(Duration::from_mins(1));
    api.act("setPresence", &session).await;
    check(false).await;
    for _ in 0..3 {
        // Two fades, and the expiry.
        api.server.clock.advance(Duration::from_mins(5));
        check(true).await;
    }
    api.server.clock.advance(Duration::from_mins(1));
    check(false).await;
    let location = json!({ "workLocationType": "remote", "placeId": "EB706F15-137E-4722-B4D1-B601481D9251" });
    api.act("setManualLocation", &location).await;
    check(true).await;
    let expected = json!({ "placeId": "eb706f15-137e-4722-b4d1-b601481d9251", "source": "manual",
                           "workLocationType": "remote" });
    assert_eq!(api.presence().await["workLocation"], expected);
    api.act("clearLocation", &json!({})).await;
    check(true).await;
    api.act("clearLocation", &json!({})).await;
    check(false).await;
}
