//! Streams send the changes that writes make.

use std::time::Duration;

use presenced::{
    app::{App, Drain},
    clock::{Clock, ManualClock},
};

use super::{Watcher, client};
use crate::support::{
    client::{Api, Client, Outcome::Done},
    database::{Engine, TestDatabase},
    on_every_engine,
    server::{START, Server, settings, start},
};

on_every_engine![
    a_stream_sends_a_snapshot_and_then_changes,
    a_stream_opened_after_a_write_shows_the_write,
    every_part_that_a_user_sets_is_sent,
    a_user_named_twice_is_sent_once,
    a_write_that_moves_no_sequence_number_is_not_sent,
    a_write_that_moves_the_sequence_number_is_sent,
];

async fn a_stream_sends_a_snapshot_and_then_changes(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let mut watcher =
        Watcher::of(server.addresses, &["a", "b"], &["a Busy/InACall", "b Offline/Offline"]).await;
    assert_eq!(client.set("b", "app", "Available/Available", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "b Available/Available");
    assert_eq!(client.set("a", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Away/Away");
    assert_eq!(client.clear("b", "app").await, Done);
    assert_eq!(watcher.next().await, "b Offline/Offline");
    server.stop().await;
}

async fn a_stream_opened_after_a_write_shows_the_write(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    // This stream makes the hub watch the user.
    let mut first = Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await;
    for pair in ["Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"].into_iter().cycle().take(30) {
        assert_eq!(client.set("a", "app", pair, "PT1H").await, Done);
        let shown = format!("a {pair}");
        Watcher::of(server.addresses, &["a"], &[&shown]).await;
        assert_eq!(first.next().await, shown);
    }
    server.stop().await;
}

async fn every_part_that_a_user_sets_is_sent(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    let mut watcher = Watcher::of(server.addresses, &["a"], &["a Offline/Offline"]).await;
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Busy/InACall");
    assert_eq!(client.prefer("a", "Away/Away", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Away/Away");
    assert_eq!(client.say("a", "Hi", "").await, Done);
    assert_eq!(watcher.next().await, "a Away/Away \"Hi\"");
    assert_eq!(client.locate("a", "Office@desk-1", true).await, Done);
    assert_eq!(watcher.next().await, "a Away/Away \"Hi\" Office@desk-1 Manual");
    assert_eq!(client.clear_location("a", true).await, Done);
    assert_eq!(watcher.next().await, "a Away/Away \"Hi\"");
    assert_eq!(client.say("a", "", "").await, Done);
    assert_eq!(watcher.next().await, "a Away/Away");
    assert_eq!(client.clear_preferred("a").await, Done);
    assert_eq!(watcher.next().await, "a Busy/InACall");
    for text in ["bank", "boss"] {
        assert_eq!(client.set_text("a", "app", "Busy/InACall", text).await, Done);
        assert_eq!(watcher.next().await, format!("a Busy/InACall {text:?}"));
    }
    server.stop().await;
}

async fn a_user_named_twice_is_sent_once(engine: Engine) {
    let server = Server::start(engine).await;
    let guid = "FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3";
    let users = ["a", guid, "a", &guid.to_lowercase(), "{FA8BF3DCECA746B7BAD1DB199B62AFC3}", "a"];
    let shown = format!("{} Offline/Offline", guid.to_lowercase());
    Watcher::of(server.addresses, &users, &["a Offline/Offline", &shown]).await;
    server.stop().await;
}

async fn a_write_that_moves_no_sequence_number_is_not_sent(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let mut watcher =
        Watcher::of(server.addresses, &["a", "fence"], &["a Busy/InACall", "fence Offline/Offline"]).await;
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT2H").await, Done);
    assert_eq!(client.clear_preferred("a").await, Done);
    assert_eq!(client.set("fence", "app", "Away/Away", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "fence Away/Away");
    // While a preferred presence applies, a text is hidden.
    assert_eq!(client.prefer("a", "Busy/Busy", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Busy/Busy");
    assert_eq!(client.set_text("a", "app", "Busy/InACall", "bank").await, Done);
    assert_eq!(client.clear("fence", "app").await, Done);
    assert_eq!(watcher.next().await, "fence Offline/Offline");
    server.stop().await;
}

/// A watcher's copy then equals a read, number included.
async fn a_write_that_moves_the_sequence_number_is_sent(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT1H").await, Done);
    let mut watcher = Watcher::of(server.addresses, &["a"], &["a Busy/InACall"]).await;
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(client.set("a", "other", "Away/Away", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Busy/InACall");
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(client.set("a", "third", "Available/Available", "PT1H").await, Done);
    assert_eq!(watcher.next().await, "a Busy/InACall");
    // The third session fades beneath the first.
    server.clock.advance(Duration::from_mins(5));
    assert_eq!(watcher.next().await, "a Busy/InACall");
    server.stop().await;
}

#[tokio::test]
async fn a_write_on_one_replica_is_sent_on_another() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let clock = Clock::Manual(ManualClock::new(START));
    let settings = settings(&database.url, &[]);
    let replicas = [start(&settings, clock.clone()).await, start(&settings, clock).await];
    let addresses = replicas.each_ref().map(App::addresses);
    let [here, there] = addresses.map(|at| Client::new(Api::Http, at.grpc, at.http));
    let mut watcher = Watcher::of(addresses[1], &["a"], &["a Offline/Offline"]).await;
    for _ in 0..10 {
        assert_eq!(here.set("a", "app", "Busy/InACall", "PT1H").await, Done);
        assert_eq!(watcher.next().await, "a Busy/InACall");
        assert_eq!(here.prefer("a", "Away/Away", "").await, Done);
        assert_eq!(watcher.next().await, "a Away/Away");
        assert_eq!(there.clear_preferred("a").await, Done);
        assert_eq!(watcher.next().await, "a Busy/InACall");
        assert_eq!(here.clear("a", "app").await, Done);
        assert_eq!(watcher.next().await, "a Offline/Offline");
    }
    for replica in replicas {
        assert_eq!(replica.stop(Duration::from_secs(10), std::future::pending()).await, Drain::Complete);
    }
}
