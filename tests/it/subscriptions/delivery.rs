//! Delivery: what is owed is sent, the newest state of each user, until the receiver acknowledges it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;

use super::Fixture;
use crate::support::{
    client::Outcome::Done,
    database::Engine,
    on_every_engine,
    receiver::{accept, reply},
    wait::eventually,
};

on_every_engine![
    a_receiver_that_was_away_gets_one_state_of_each_user,
    everybody_is_also_a_user_who_appears,
    the_answer_410_ends_a_subscription,
    a_failing_subscription_says_what_the_receiver_answered,
    a_handshake_that_fails_is_refused_with_the_answer,
];

/// A receiver that replies with the status to notifications.
async fn with_status(engine: Engine, status: &Arc<AtomicU16>) -> Fixture {
    let status = Arc::clone(status);
    Fixture::with(engine, &[], move |received| {
        let (status, handshake) = (status.load(Ordering::SeqCst), accept(received));
        let is_handshake = received.uri.query().unwrap_or_default().contains("validationToken");
        async move { if is_handshake { handshake.await } else { reply(status, &[], "out of order") } }
    })
    .await
}

fn users(body: &Value) -> Vec<&str> {
    let items = body["value"].as_array().unwrap();
    items.iter().map(|item| item["resourceData"]["id"].as_str().unwrap()).collect()
}

async fn a_receiver_that_was_away_gets_one_state_of_each_user(engine: Engine) {
    let status = Arc::new(AtomicU16::new(500));
    let fixture = with_status(engine, &status).await;
    fixture.subscribe(&["ada", "bob", "eve"]).await;
    let api = fixture.api();
    assert_eq!(api.set("ada", "app", "Busy/InACall", "PT1H").await, Done);
    fixture.received(1).await;
    for pair in ["Away/Away", "Available/Available", "DoNotDisturb/Presenting"] {
        for user in ["ada", "bob"] {
            assert_eq!(api.set(user, "app", pair, "PT1H").await, Done);
        }
    }
    status.store(202, Ordering::SeqCst);
    // The hub may notice one of the changes only after the first request.
    let later = || {
        let bodies = fixture.bodies();
        let mut users: Vec<String> =
            bodies[1..].iter().flat_map(|body| users(body)).map(str::to_owned).collect();
        users.sort_unstable();
        users
    };
    eventually("what is owed arrives", async || {
        // The pause begins only when the service has read the failure.
        fixture.server.clock.advance(Duration::from_millis(100));
        later().len() >= 2
    })
    .await;
    assert_eq!(later(), ["ada", "bob"], "one state of each user");
    assert_eq!(api.clear("ada", "app").await, Done);
    eventually("the next change arrives", async || users(&fixture.bodies().pop().unwrap()) == ["ada"]).await;
    fixture.server.stop().await;
}

async fn everybody_is_also_a_user_who_appears(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let api = fixture.api();
    assert_eq!(api.set("before", "app", "Busy/InACall", "PT1H").await, Done);
    fixture.server.clock.advance(Duration::from_mins(1));
    fixture.subscribe(&[]).await;
    assert_eq!(api.set("new", "app", "Busy/InACall", "PT1H").await, Done);
    let bodies = fixture.received(1).await;
    assert_eq!(users(&bodies[0]), ["new"]);
    fixture.server.stop().await;
}

async fn the_answer_410_ends_a_subscription(engine: Engine) {
    let status = Arc::new(AtomicU16::new(410));
    let fixture = with_status(engine, &status).await;
    let id = fixture.subscribe(&["ada"]).await;
    assert_eq!(fixture.api().set("ada", "app", "Busy/InACall", "PT1H").await, Done);
    eventually("the subscription is gone", async || {
        fixture.send(Method::GET, &format!("/subscriptions/{id}"), "", &Value::Null).await.status == 404
    })
    .await;
    fixture.server.stop().await;
}

async fn a_failing_subscription_says_what_the_receiver_answered(engine: Engine) {
    let status = Arc::new(AtomicU16::new(503));
    let fixture = with_status(engine, &status).await;
    let id = fixture.subscribe(&["ada"]).await;
    assert_eq!(fixture.api().set("ada", "app", "Busy/InACall", "PT1H").await, Done);
    let mut client = fixture.grpc().await;
    eventually("the failure is in the subscription", async || {
        let get = presenced::grpc::pb::GetSubscriptionRequest { subscription_id: id.clone() };
        let read = client.get_subscription(get).await.unwrap().into_inner().subscription.unwrap();
        read.failing_since_time.is_some() && read.last_error == "HTTP 503 Service Unavailable: out of order"
    })
    .await;
    fixture.server.stop().await;
}

async fn a_handshake_that_fails_is_refused_with_the_answer(engine: Engine) {
    let fixture = Fixture::with(engine, &[], |_| async { reply(200, &[], "hello") }).await;
    let refused = fixture.send(Method::POST, "/subscriptions", "", &fixture.body(&["ada"])).await;
    refused.is_refused(400, "InvalidRequest");
    let text = "Subscription validation request failed. Notification endpoint must respond with 200 OK to \
                validation request. ";
    assert!(refused.message().starts_with(text), "{}", refused.message());
    assert!(refused.message().len() > text.len(), "{}", refused.message());
    fixture.server.stop().await;
}
