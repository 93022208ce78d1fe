//! Requests that arrive at the wrong API, or that a page can send without a preflight request.

use presenced::grpc::pb::{GetPresenceRequest, GetPresenceResponse};
use prost::Message;
use reqwest::Client;
use serde_json::Value;
use tonic::Code;

use super::{
    busy,
    wire::{Wire, frame},
};
use crate::support::{client::words, database::Engine, server::Server};

const SET: &str = "/presence.v1.PresenceService/SetPresence";
const GET: &str = "/presence.v1.PresenceService/GetPresence";

fn get(user: &str) -> GetPresenceRequest {
    GetPresenceRequest { user_id: user.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn the_grpc_port_takes_only_grpc() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let mut accepted = Vec::new();
    for content_type in [
        "text/plain",
        "text/plain;application/grpc",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpcx",
        "",
    ] {
        let headers = [("content-type", content_type), ("origin", "https://evil.example")];
        let headers = if content_type.is_empty() { &headers[1..] } else { &headers[..] };
        let answer = wire.request("POST", SET, headers, frame(&busy("a", "x"))).await;
        if answer.http == 415 {
            assert_eq!(answer.header("accept-post"), "application/grpc, application/grpc+proto");
            assert!(answer.text().contains("application/grpc"), "{}", answer.text());
        } else {
            accepted.push(format!(
                "{content_type:?}: HTTP {}, grpc-status {:?}",
                answer.http,
                answer.header("grpc-status")
            ));
        }
    }
    println!("accepted: {accepted:#?}");
    let presence = wire.call(GET, &[], frame(&get("a"))).await;
    let presence = GetPresenceResponse::decode(&presence.body[5..]).unwrap().presence.unwrap();
    println!("{}", words(&presence));
    assert_eq!(words(&presence), "a Offline/Offline", "none of them wrote");
    assert!(accepted.is_empty());
    for content_type in
        ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/GRPC"]
    {
        let answer = wire.request("POST", GET, &[("content-type", content_type)], frame(&get("a"))).await;
        assert_eq!((answer.http, answer.code()), (200, Code::Ok), "{content_type}");
    }
    let answer = wire.request("GET", GET, &[("content-type", "application/grpc")], Vec::new()).await;
    assert_eq!((answer.http, answer.header("allow")), (405, "POST"));
    server.stop().await;
}

#[tokio::test]
async fn the_http_port_names_the_grpc_port_to_a_grpc_client() {
    let server = Server::start(Engine::Sqlite).await;
    let at = server.addresses.grpc.to_string();
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let response = Client::new()
            .post(format!("{}{GET}", server.graph()))
            .header("content-type", content_type)
            .body(frame(&get("a")))
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        println!("{content_type}: {status} {}", body["error"]["message"]);
        assert_eq!((status.as_u16(), &body["error"]["code"]), (415, &"UnsupportedMediaType".into()));
        assert!(body["error"]["message"].as_str().unwrap().contains(&at), "{body}");
    }
    let wire = Wire::connect(server.addresses.http).await;
    let status = wire.call(GET, &[], frame(&get("a"))).await.status();
    println!("over HTTP/2: {:?} {:?}", status.code(), status.message());
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains(&at), "{}", status.message());
    server.stop().await;
}
