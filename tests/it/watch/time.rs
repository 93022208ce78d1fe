//! Streams send the changes that time alone makes, at their instants to the millisecond.

use std::time::Duration;

use presenced::clock::Clock;

use super::{Watcher, client};
use crate::support::{
    client::{Client, Outcome::Done},
    database::Engine,
    on_every_engine,
    server::{START, Server},
};

on_every_engine![
    fades_and_the_expiry_are_sent_at_their_instants,
    a_refresh_moves_the_instants,
    a_preference_and_a_message_end_at_their_instants,
    another_text_is_sent_when_time_changes_the_deciding_session,
    many_users_that_expire_at_once_are_all_sent,
];

const TICK: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Moves the clock to `after` the start, and checks that the stream sends nothing until one
/// millisecond before.
pub(super) async fn nothing_before(server: &Server, client: &Client, watcher: &mut Watcher, after: Duration) {
    let now = Clock::Manual(server.clock.clone()).now().as_millis();
    let left = (START + after).as_millis() - now - 1;
    server.clock.advance(Duration::from_millis(u64::try_from(left).unwrap()));
    // A read of the fence follows all reads that were due before.
    for content in ["before", ""] {
        assert_eq!(client.say("fence", content, "").await, Done);
        let shown = if content.is_empty() { String::new() } else { format!(" {content:?}") };
        assert_eq!(watcher.next().await, format!("fence Offline/Offline{shown}"), "1 ms before {after:?}");
    }
    server.clock.advance(TICK);
}

async fn fades_and_the_expiry_are_sent_at_their_instants(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Available/Available", "PT1H").await, Done);
    let shown = ["a Available/Available", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "fence"], &shown).await;
    for (minutes, shown) in
        [(5, "a Available/AvailableInactive"), (10, "a Away/Away"), (60, "a Offline/Offline")]
    {
        nothing_before(&server, &client, &mut watcher, minutes * MINUTE).await;
        assert_eq!(watcher.next().await, shown);
    }
    server.stop().await;
}

async fn a_refresh_moves_the_instants(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Available/Available", "PT6M").await, Done);
    let shown = ["a Available/Available", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "fence"], &shown).await;
    for minutes in 1..=12 {
        // Without the refreshes it would fade or end at minutes 5, 6, 9, 10 and 12.
        server.clock.advance(MINUTE);
        if minutes % 4 == 0 {
            assert_eq!(client.set("a", "app", "Available/Available", "PT6M").await, Done);
        }
    }
    nothing_before(&server, &client, &mut watcher, 17 * MINUTE).await;
    assert_eq!(watcher.next().await, "a Available/AvailableInactive");
    nothing_before(&server, &client, &mut watcher, 18 * MINUTE).await;
    assert_eq!(watcher.next().await, "a Offline/Offline");
    server.stop().await;
}

async fn a_preference_and_a_message_end_at_their_instants(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    assert_eq!(client.set("a", "app", "Busy/InACall", "PT4H").await, Done);
    assert_eq!(client.prefer("a", "Away/Away", "PT2H").await, Done);
    assert_eq!(client.say("a", "Hi", "2026-11-22T03:50:00").await, Done);
    let shown = ["a Away/Away \"Hi\"", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "fence"], &shown).await;
    nothing_before(&server, &client, &mut watcher, 60 * MINUTE).await;
    assert_eq!(watcher.next().await, "a Away/Away");
    nothing_before(&server, &client, &mut watcher, 120 * MINUTE).await;
    assert_eq!(watcher.next().await, "a Busy/InACall");
    nothing_before(&server, &client, &mut watcher, 240 * MINUTE).await;
    assert_eq!(watcher.next().await, "a Offline/Offline");
    server.stop().await;
}

async fn another_text_is_sent_when_time_changes_the_deciding_session(engine: Engine) {
    let server = Server::start(engine).await;
    let client = client(&server);
    let set = async |session| {
        assert_eq!(client.set_text("a", session, "Available/Available", session).await, Done);
        server.clock.advance(MINUTE);
    };
    set("desk").await;
    set("phone").await;
    set("desk").await;
    let shown = ["a Available/Available \"phone\"", "fence Offline/Offline"];
    let mut watcher = Watcher::of(server.addresses, &["a", "fence"], &shown).await;
    for (minutes, shown) in [
        // Here the pair stays.
        (6, "a Available/Available \"desk\""),
        (7, "a Available/AvailableInactive \"phone\""),
        (11, "a Available/AvailableInactive \"desk\""),
        (12, "a Away/Away \"phone\""),
        (61, "a Away/Away \"desk\""),
        (62, "a Offline/Offline"),
    ] {
        nothing_before(&server, &client, &mut watcher, minutes * MINUTE).await;
        assert_eq!(watcher.next().await, shown);
    }
    server.stop().await;
}

async fn many_users_that_expire_at_once_are_all_sent(engine: Engine) {
    let server = Server::start(engine).await;
    let users: Vec<String> = (0..1_000).map(|user| format!("u{user:03}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    super::set_all(server.addresses, &users, "Busy/InACall").await;
    let mut watcher = Watcher::open(server.addresses, &users).await;
    let busy: Vec<_> = users.iter().map(|user| format!("{user} Busy/InACall")).collect();
    assert_eq!(watcher.snapshot().await, busy);
    server.clock.advance(60 * MINUTE);
    let mut offline = Vec::new();
    while offline.len() < users.len() {
        offline.push(watcher.next().await);
    }
    offline.sort();
    let expected: Vec<_> = users.iter().map(|user| format!("{user} Offline/Offline")).collect();
    assert_eq!(offline, expected);
    server.stop().await;
}
