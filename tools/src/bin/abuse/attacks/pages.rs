//! Requests as a browser sends them for a page.

use std::{net::SocketAddr, time::Duration};

use http::{Request, StatusCode};
use presenced_tools::{
    connect,
    pb::{Activity, Availability, GetPresenceRequest, SetPresenceRequest},
};
use reqwest::Client;
use tokio::time::interval;

use super::{Http2, Notes, Target};

/// The user whose presence the pages try to change.
const VICTIM: &str = "victim";
const ORIGIN: &str = "http://evil.example";
const SET: &str = "/presence.v1.PresenceService/SetPresence";
const JSON: &str = r#"{"sessionId":"page","availability":"Busy","activity":"InACall"}"#;

/// The largest file of the documentation.
const BUNDLE: &str = "/docs/swagger-ui-bundle.js";

/// A page of another origin calls both APIs. A content type other than gRPC's is refused, and no
/// call has an effect.
pub(super) async fn foreign(target: Target, notes: &Notes) {
    const CONTENT_TYPES: [&str; 5] = [
        "text/plain",
        "application/json",
        "application/grpc-web+proto",
        "application/grpc+json",
        "application/x-www-form-urlencoded",
    ];
    let mut ticks = interval(Duration::from_secs(1) / 20);
    for content_type in CONTENT_TYPES.into_iter().cycle() {
        ticks.tick().await;
        let status = set_by_grpc(target.grpc, content_type).await;
        notes.must_be_refused(status == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), || {
            format!("gRPC port, {content_type}: {status:?}")
        });
        let status = set_by_grpc(target.http, content_type).await;
        let refused = status.is_some_and(|status| status.is_client_error());
        notes.must_be_refused(refused, || format!("gRPC at the HTTP port, {content_type}: {status:?}"));
        let status = set_by_http(target.http, "localhost", content_type).await;
        notes.must_be_refused(status == Some(StatusCode::FORBIDDEN), || {
            format!("HTTP port, {content_type}: {status:?}")
        });
        check_victim(target.grpc, notes).await;
    }
}

/// A page whose name leads to this machine calls the HTTP API.
pub(super) async fn rebinding(http: SocketAddr, notes: &Notes) {
    let mut ticks = interval(Duration::from_secs(1) / 20);
    loop {
        ticks.tick().await;
        let host = format!("evil.example:{}", http.port());
        let read = Client::new().get(format!("http://{http}/v1.0/users/{VICTIM}/presence"));
        let status = read.header("host", &host).send().await.ok().map(|response| response.status());
        notes
            .must_be_refused(status == Some(StatusCode::MISDIRECTED_REQUEST), || format!("read: {status:?}"));
        let status = set_by_http(http, &host, "application/json").await;
        notes.must_be_refused(status == Some(StatusCode::MISDIRECTED_REQUEST), || format!("set: {status:?}"));
    }
}

/// Downloads the largest file of the documentation.
pub(super) async fn bundle(http: SocketAddr, notes: &Notes) {
    let client = Client::new();
    let mut ticks = interval(Duration::from_secs(1) / 100);
    loop {
        ticks.tick().await;
        let get = client.get(format!("http://{http}{BUNDLE}")).header("accept-encoding", "gzip");
        let notes = notes.clone();
        tokio::spawn(async move {
            let Ok(response) = get.send().await else { return notes.count("downloads failed") };
            let (status, packed) = (response.status(), response.headers().contains_key("content-encoding"));
            match response.bytes().await {
                Ok(_) if status == 200 && packed => notes.count("downloads"),
                Ok(_) => notes.count(format!("downloads {}", status.as_u16())),
                Err(_) => notes.count("downloads failed"),
            }
        });
    }
}

/// Sets the victim's presence by a gRPC message of this content type. Returns HTTP's status.
async fn set_by_grpc(address: SocketAddr, content_type: &str) -> Option<StatusCode> {
    let message = SetPresenceRequest {
        user_id: VICTIM.to_owned(),
        session_id: "page".to_owned(),
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        ..Default::default()
    };
    let request = Request::post(format!("http://{address}{SET}"));
    let request = request.header("content-type", content_type).header("origin", ORIGIN).body(()).unwrap();
    let connection = Http2::connect(address, 65_535).await?;
    let (response, _) = connection.call(request, &message, true).await.ok()?;
    Some(response.await.ok()?.status())
}

/// Sets the victim's presence over HTTP.
async fn set_by_http(http: SocketAddr, host: &str, content_type: &str) -> Option<StatusCode> {
    let origin = if host == "localhost" { ORIGIN.to_owned() } else { format!("http://{host}") };
    let set = Client::new().post(format!("http://{http}/v1.0/users/{VICTIM}/presence/setPresence"));
    let set = set.header("host", host).header("origin", origin).header("content-type", content_type);
    Some(set.body(JSON).send().await.ok()?.status())
}

async fn check_victim(grpc: SocketAddr, notes: &Notes) {
    let request = GetPresenceRequest { user_id: VICTIM.to_owned(), ..Default::default() };
    let Ok(response) = connect(grpc).get_presence(request).await else { return };
    let presence = response.into_inner().presence.unwrap_or_default();
    if presence.availability() != Availability::Offline {
        notes.fault("a page changed the victim's presence");
    }
}
