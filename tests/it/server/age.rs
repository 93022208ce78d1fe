//! The maximum age of connections.

use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    support::{database::Engine, server::Server},
    watch::PATIENCE,
};

const GET: &[u8] = b"GET /v1.0/users/a/presence HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// A message of `WatchPresences` with the user `a`, and one of `SetPresence` that also has the
/// session `s` with `Busy`/`InACall`.
const WATCH: &[u8] = b"\0\0\0\0\x03\x0a\x01a";
const SET: &[u8] = b"\0\0\0\0\x0a\x0a\x01a\x12\x01s\x18\x02\x20\x02";

async fn server() -> Server {
    Server::start_with(Engine::Sqlite, &["--connection-max-age", "500ms"]).await
}

#[tokio::test]
async fn an_old_http_1_connection_is_closed_after_a_response_that_announces_it() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.addresses.http).await.unwrap();
    let mut responses = 0;
    let last = async {
        loop {
            stream.write_all(GET).await.unwrap();
            let response = read_response(&mut stream).await;
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
            if response.contains("connection: close") {
                break;
            }
            responses += 1;
        }
    };
    timeout(PATIENCE, last).await.expect("the connection reaches its maximum age");
    assert!(responses > 0, "a new connection stays open");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed");
    server.stop().await;
}

/// One response: its head and its body.
async fn read_response(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    text + &String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn an_old_http_2_connection_refuses_new_requests_and_completes_active_ones() {
    let server = server().await;
    let stream = TcpStream::connect(server.addresses.grpc).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let call = |method: &str| {
        let call = http::Request::post(format!("http://localhost/presence.v1.PresenceService/{method}"));
        call.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
    };
    let mut sender = requests.clone().ready().await.unwrap();
    let (watched, mut body) = sender.send_request(call("WatchPresences"), false).unwrap();
    body.send_data(Bytes::from_static(WATCH), true).unwrap();
    drop(body);
    let mut watched = watched.await.unwrap().into_body();
    let mut sender = sender.ready().await.unwrap();
    let (set, mut body) = sender.send_request(call("SetPresence"), false).unwrap();
    drop(sender);
    body.send_data(Bytes::from_static(&SET[..1]), false).unwrap();

    let refused = async {
        while let Ok(mut ready) = requests.clone().ready().await {
            let Ok((response, _)) = ready.send_request(call("Nothing"), true) else { break };
            if response.await.is_err() {
                break;
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("the client receives a GOAWAY");

    // Active requests still get their response.
    body.send_data(Bytes::from_static(&SET[1..]), true).unwrap();
    let mut set = timeout(PATIENCE, set).await.unwrap().unwrap().into_body();
    while set.data().await.is_some() {}
    assert_eq!(set.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    let busy = async {
        loop {
            let data = watched.data().await.expect("the stream continues").unwrap();
            let _ = watched.flow_control().release_capacity(data.len());
            // Availability 2, activity 2.
            if data.windows(4).any(|bytes| bytes == [0x10, 2, 0x18, 2]) {
                break;
            }
        }
    };
    timeout(PATIENCE, busy).await.expect("the stream sends the change");
    drop((watched, set, body, requests));
    timeout(PATIENCE, ended).await.expect("the connection ends with the stream").unwrap().unwrap();
    server.stop().await;
}

/// Over HTTP/1. Many HTTP/2 clients retry a request that a closing connection refused;
/// tonic leaves that to its user.
#[tokio::test]
async fn a_client_loses_no_request_when_its_connections_are_replaced() {
    let server = Server::start_with(Engine::Sqlite, &["--connection-max-age", "50ms"]).await;
    let client = reqwest::Client::new();
    let url = format!("{}/v1.0/users/u/presence/setPresence", server.graph());
    let session = json!({ "sessionId": "app", "availability": "Busy", "activity": "InACall" });
    let mut replaced = 0;
    let replace_some = async {
        while replaced < 5 {
            let response = client.post(&url).json(&session).send().await.unwrap();
            assert_eq!(response.status(), 200);
            replaced +=
                usize::from(response.headers().get("connection").is_some_and(|value| value == "close"));
        }
    };
    timeout(PATIENCE, replace_some).await.expect("connections reach their maximum age");
    server.stop().await;
}
