//! Health checks as gRPC's specification has them.

use std::time::Duration;

use presenced::grpc::SERVICE_NAME;
use tokio::time::timeout;
use tonic::Code;

use super::wire::{Wire, frame};
use crate::support::{database::Engine, server::Server};

const UNKNOWN: i32 = 3;
const SERVING: i32 = 1;

/// The messages `HealthCheckRequest` and `HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct List {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: std::collections::BTreeMap<String, Response>,
}

fn of(service: &str) -> Vec<u8> {
    frame(&Request { service: service.to_owned() })
}

#[tokio::test]
async fn a_watch_gets_a_status_when_it_changes_and_no_other() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let mut watches = Vec::new();
    for service in ["", SERVICE_NAME] {
        let mut watch = wire.open("/grpc.health.v1.Health/Watch", &[], of(service)).await;
        while watch.message::<Response>().await.expect("a status").status != SERVING {}
        watches.push(watch);
    }
    // Three health checks of the service.
    let mut more = 0;
    let second = &mut watches[1];
    let _ = timeout(Duration::from_millis(3_200), async {
        while second.message::<Response>().await.is_some() {
            more += 1;
        }
    })
    .await;
    println!("{more} messages without a change");
    assert_eq!(more, 0);
    server.stop().await;
    for mut watch in watches {
        assert_eq!(
            watch.message::<Response>().await,
            Some(Response { status: 2 }),
            "NOT_SERVING at the stop"
        );
        assert_eq!(watch.message::<Response>().await, None);
    }
}

#[tokio::test]
async fn a_watch_of_an_unknown_service_stays_open() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let mut watch = wire.open("/grpc.health.v1.Health/Watch", &[], of("other")).await;
    println!("grpc-status {:?}", watch.headers.get("grpc-status"));
    assert_eq!(watch.message::<Response>().await, Some(Response { status: UNKNOWN }));
    let ended = timeout(Duration::from_millis(1_200), watch.message::<Response>()).await;
    assert!(ended.is_err(), "it is still open: {ended:?}");
    let check = wire.call("/grpc.health.v1.Health/Check", &[], of("other")).await;
    assert_eq!(check.code(), Code::NotFound);
    // It does not delay a stop.
    server.stop().await;
    assert_eq!(watch.message::<Response>().await, None);
}

#[tokio::test]
async fn a_list_has_every_service() {
    let server = Server::start(Engine::Sqlite).await;
    let wire = Wire::connect(server.addresses.grpc).await;
    let list = wire.call("/grpc.health.v1.Health/List", &[], frame(&())).await;
    println!("{:?}", list.status().code());
    assert_eq!(list.code(), Code::Ok);
    let list: List = prost::Message::decode(&list.body[5..]).unwrap();
    assert_eq!(list.statuses.keys().collect::<Vec<_>>(), ["", SERVICE_NAME]);
    server.stop().await;
}
