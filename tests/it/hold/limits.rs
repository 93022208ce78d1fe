//! The limits of streams that hold a session: the rate of messages, and the number of streams.

use std::time::Duration;

use super::{GRACE, Holder, Response, message, reason};
use crate::{
    auth::Guarded,
    support::{database::Engine, on_every_engine, tokens, wait::eventually},
};
use presenced::grpc::pb::{GetPresenceRequest, presence_service_client::PresenceServiceClient};
use serde_json::json;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

on_every_engine![
    each_message_counts_as_a_call_and_an_extension_does_not,
    the_streams_of_an_application_and_of_a_replica_are_limited,
    a_message_of_a_stream_has_a_limit,
];

const OTHER_APP: &str = "33333333-f5ab-4529-bffb-cfe50aa89f87";

/// The authorization of an application.
fn token(guarded: &Guarded, application: &str) -> String {
    let roles = ["Presence.ReadWrite.All"];
    format!("Bearer {}", guarded.signer.sign(&tokens::with(&json!({ "azp": application, "roles": roles }))))
}

async fn open(guarded: &Guarded, application: &str, user: &str) -> Result<Holder, Status> {
    let first = message(user, &format!("{application}:tab"), "Busy/InACall");
    Holder::try_open(guarded.server.addresses, first, &token(guarded, application)).await
}

/// The activity of the user as another application reads it.
async fn activity(guarded: &Guarded) -> &'static str {
    let mut client = PresenceServiceClient::new(super::connect(guarded.server.addresses).await);
    let mut request = Request::new(GetPresenceRequest { user_id: "u".to_owned(), ..Default::default() });
    request.metadata_mut().insert("authorization", token(guarded, OTHER_APP).parse().unwrap());
    let response = client.get_presence(request).await.unwrap().into_inner();
    response.presence.unwrap().activity().as_str_name()
}

async fn each_message_counts_as_a_call_and_an_extension_does_not(engine: Engine) {
    const PAIRS: [&str; 2] = ["Away/Away", "DoNotDisturb/Presenting"];
    let guarded = Guarded::start(engine, &["--rate-limit", "5/800s"]).await;
    let mut holder = open(&guarded, tokens::APP, "u").await.unwrap();
    assert!(matches!(holder.next().await, Response::Set(_)));
    for pair in PAIRS.iter().cycle().take(4) {
        holder.change(pair).await;
        assert!(matches!(holder.next().await, Response::Set(_)));
    }
    // The limit is reached: the stream lives on, and so does its session.
    for _ in 0..8 {
        guarded.server.clock.advance(GRACE / 2);
        assert!(matches!(holder.next().await, Response::Extended(_)));
    }
    assert_eq!(activity(&guarded).await, "ACTIVITY_PRESENTING");
    for pair in PAIRS.iter().cycle().take(10) {
        // The stream may have ended already.
        let _ = holder.messages.try_send(message("", "", pair));
    }
    let status = holder.try_next().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "ERROR_REASON_RATE_LIMITED"),
        "{status}"
    );
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(delay > Duration::from_secs(100) && delay <= Duration::from_secs(160), "{delay:?}");
    let pushback: u128 =
        status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(pushback, delay.as_nanos().div_ceil(1_000_000));
    // None of those messages was written, and the session stays for the grace.
    assert_eq!(activity(&guarded).await, "ACTIVITY_PRESENTING");
    guarded.server.clock.advance(GRACE * 2);
    assert_eq!(activity(&guarded).await, "ACTIVITY_OFFLINE");
    guarded.server.stop().await;
}

async fn the_streams_of_an_application_and_of_a_replica_are_limited(engine: Engine) {
    let guarded = Guarded::start(engine, &["--holds-max", "3", "--application-holds-max", "2"]).await;
    let refused = async |application: &str, code: Code, setting: &str| {
        let status = open(&guarded, application, "more").await.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (code, "ERROR_REASON_TOO_MANY_HOLDS"));
        assert!(status.message().contains(setting), "{status}");
        assert!(status.get_details_retry_info().is_some(), "{status}");
    };
    let first = open(&guarded, tokens::APP, "a").await.unwrap();
    let second = open(&guarded, tokens::APP, "b").await.unwrap();
    refused(tokens::APP, Code::ResourceExhausted, "--application-holds-max").await;
    let other = open(&guarded, OTHER_APP, "c").await.unwrap();
    refused(OTHER_APP, Code::Unavailable, "--holds-max").await;
    // The end of a stream makes room, for the application and for the replica.
    second.finish().await;
    let _third = open(&guarded, OTHER_APP, "d").await.unwrap();
    refused(OTHER_APP, Code::Unavailable, "--holds-max").await;
    drop(other);
    eventually("the place of a broken stream is free", async || {
        open(&guarded, tokens::APP, "e").await.is_ok()
    })
    .await;
    drop(first);
    guarded.server.stop().await;
}

async fn a_message_of_a_stream_has_a_limit(engine: Engine) {
    let guarded = Guarded::start(engine, &[]).await;
    let mut holder = open(&guarded, tokens::APP, "u").await.unwrap();
    assert!(matches!(holder.next().await, Response::Set(_)));
    holder.messages.try_send(message("", &"x".repeat(16 * 1_024), "Away/Away")).unwrap();
    let status = holder.end().await;
    println!("{:?} {}", status.code(), status.message());
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE")
    );
    assert!(status.message().contains("16384 bytes"), "{status}");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert_eq!(activity(&guarded).await, "ACTIVITY_IN_A_CALL", "the session stays for its grace");
    guarded.server.stop().await;
}
