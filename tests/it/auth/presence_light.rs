//! The requests of `PresenceLight`, an application that shows the presence of its user on lamps. It uses the
//! Graph SDK for .NET: a batch with the user and the presence first, then the photo, then the presence
//! again and again. Its scopes are `User.Read` and `Presence.Read`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Guarded,
    me::{TokenClient, described, megan},
};
use crate::{
    graph::{JsonResponse, ODATA_JSON, SET},
    support::{
        database::Engine,
        on_every_engine,
        tokens::{APP, USER, application},
    },
};

on_every_engine![presence_light_starts_and_follows_its_user];

/// The headers that the SDK adds to each request.
const SDK: [(&str, &str); 3] = [
    ("sdkversion", "graph-dotnet-5.97.0, graph-dotnet-core-3.2.5 (hostOS=Microsoft Windows NT 10.0)"),
    ("client-request-id", "0b7f6cbd-9f0e-4d5a-8d0a-6c1a4c1c2a55"),
    ("user-agent", "kiota-dotnet/1.21.1"),
];

/// Sends what the SDK sends, which accepts these types.
async fn send(client: &TokenClient, method: Method, path: &str, accept: &str, body: &Value) -> JsonResponse {
    let headers = [&SDK[..], &[("accept", accept)]].concat();
    let response = client.send(method, path, &headers, body).await;
    assert_eq!(response.header("client-request-id"), Some(SDK[1].1));
    response
}

/// The user and the presence, as the application reads both in one batch. The SDK writes the token into
/// each item.
async fn profile_and_presence(client: &TokenClient) -> [Value; 2] {
    const IDS: [&str; 2] = ["a5b3a0f6-5f0c-4be9-9f1e-2f6f6d3f7f11", "6f0a4f0e-97d2-4b58-8d15-90a1b4d2a7c3"];

    let headers = json!({ "Accept": "application/json", "Authorization": client.authorization });
    let urls = ["/me", "/me/presence"].into_iter();
    let items: Vec<_> = IDS
        .iter()
        .zip(urls)
        .map(|(id, url)| json!({ "id": id, "url": url, "method": "GET", "headers": headers }))
        .collect();
    let body = json!({ "requests": items });
    let response = send(client, Method::POST, "/v1.0/$batch", "application/json", &body).await;
    assert_eq!(response.status, 200, "{}", response.body);
    // The SDK finds each response by its id.
    let responses = response.body["responses"].as_array().unwrap();
    IDS.map(|id| {
        let item = responses.iter().find(|item| item["id"] == id).unwrap();
        assert_eq!((&item["status"], &item["headers"]["Content-Type"]), (&json!(200), &json!(ODATA_JSON)));
        item["body"].clone()
    })
}

async fn presence_light_starts_and_follows_its_user(engine: Engine) {
    let guarded = Guarded::start(engine, &[]).await;
    let client = TokenClient::new(&guarded, &described("User.Read Presence.Read", &megan()));
    let [user, presence] = profile_and_presence(&client).await;
    // It reads the user again and again while there is no display name.
    assert_eq!((&user["id"], &user["displayName"]), (&json!(USER), &json!("Megan Bowen")));
    assert_eq!((&presence["availability"], &presence["activity"]), (&json!("Offline"), &json!("Offline")));

    // The photo: only this code means to it that there is none.
    for path in ["/v1.0/me/photo/$value", "/v1.0/me/photo", "/beta/users/ada/photo/$value"] {
        let accept = "application/octet-stream, application/json";
        let photo = send(&client, Method::GET, path, accept, &Value::Null).await;
        photo.is_refused(404, "ImageNotFound");
    }
    for path in ["/v1.0/users//photo", "/v1.0/me/photos", "/v1.0/me/photo/x", "/v1.0/me/manager"] {
        client.get(path).await.is_refused(404, "ResourceNotFound");
    }
    let alone = send(&client, Method::GET, "/v1.0/me", "application/json", &Value::Null).await;
    assert_eq!((alone.status, &alone.body), (200, &user));

    // Another application sets the presence, which the next poll shows.
    let phone = TokenClient::new(&guarded, &application(&["Presence.ReadWrite.All"]));
    let mut set: Value = serde_json::from_str(SET).unwrap();
    set["sessionId"] = APP.into();
    let path = format!("/v1.0/users/{USER}/presence/setPresence");
    assert_eq!(phone.send(Method::POST, &path, &[], &set).await.status, 200);
    let poll = send(&client, Method::GET, "/v1.0/me/presence", "application/json", &Value::Null).await;
    assert_eq!(poll.header("content-type"), Some(ODATA_JSON));
    assert_eq!((&poll.body["availability"], &poll.body["activity"]), (&json!("Busy"), &json!("InACall")));
    let [_, presence] = profile_and_presence(&client).await;
    assert_eq!(presence, poll.body);
    guarded.server.stop().await;
}
