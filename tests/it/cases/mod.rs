//! The table of API cases. Each case runs through both APIs and on both engines.
//!
//! A case is a script of lines. Only the line `Pass` moves the clock.

mod ids;
mod lists;
mod observed;
mod sessions;
mod texts;
mod users;

use std::time::Duration;

use crate::support::{
    client::{Api, Client, Outcome},
    database::Engine,
    on_every_engine,
    server::{START, Server},
};

on_every_engine![
    every_case_through_grpc,
    every_case_through_http,
    a_write_through_one_api_is_seen_through_the_other
];

/// A line of a case.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Set USER SESSION PAIR EXPIRATION → outcome.
    Set(&'static str, &'static str, &'static str, &'static str, Want),
    /// Set USER SESSION PAIR TEXT for an hour → outcome.
    SetText(&'static str, &'static str, &'static str, &'static str, Want),
    /// Clear USER SESSION → outcome.
    Clear(&'static str, &'static str, Want),
    /// Set USER SESSION PAIR for an hour, observed at this number of milliseconds after the start
    /// → outcome.
    SetObserved(&'static str, &'static str, &'static str, u64, Want),
    /// Clear USER SESSION, observed at this number of milliseconds after the start → outcome.
    ClearObserved(&'static str, &'static str, u64, Want),
    /// Set sessions of USER for an hour, 1 ms after each other: PREFIX1 to PREFIX and this number.
    SetMany(&'static str, &'static str, usize),
    /// Get USER → outcome.
    Get(&'static str, Want),
    /// Get USERS → outcome.
    BatchGet(&'static [&'static str], Want),
    /// List all users who are shown with one of AVAILABILITIES, or all, in pages of this size → outcome.
    List(&'static [&'static str], i32, Want),
    /// Count the users who are shown with one of AVAILABILITIES, or all → outcome.
    Count(&'static [&'static str], Want),
    /// Set the preferred presence: USER PAIR EXPIRATION → outcome.
    Prefer(&'static str, &'static str, &'static str, Want),
    /// Clear the preferred presence of USER → outcome.
    ClearPreferred(&'static str, Want),
    /// Set the status message: USER TEXT EXPIRY → outcome.
    Message(&'static str, &'static str, &'static str, Want),
    /// Set the manual location: USER LOCATION → outcome.
    Manual(&'static str, &'static str, Want),
    /// Set the automatic location: USER LOCATION → outcome.
    Automatic(&'static str, &'static str, Want),
    /// Clear the automatic location of USER → outcome.
    ClearAutomatic(&'static str, Want),
    /// Clear both locations of USER → outcome.
    ClearLocation(&'static str, Want),
    /// Move the clock by this number of milliseconds.
    Pass(u64),
}

/// The expected outcome of a call.
#[derive(Clone, Copy, Debug)]
enum Want {
    Done,
    /// The presence of one user.
    Shows(&'static str),
    /// The user id and the presence of each user.
    Each(&'static [&'static str]),
    /// The number of users, and that of users that were read for it.
    Counts(i64, i64),
    NotFound,
    /// The invalid fields, in the spelling of the proto.
    Invalid(&'static [&'static str]),
    /// The session reflects a later observation.
    Stale,
    /// The user has too many live sessions.
    NoRoom,
}

use Line::{
    Automatic, BatchGet, Clear, ClearAutomatic, ClearLocation, ClearObserved, ClearPreferred, Count, Get,
    List, Manual, Message, Pass, Prefer, Set, SetMany, SetObserved, SetText,
};
use Want::{Counts, Done, Each, Invalid, NoRoom, NotFound, Shows, Stale};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const USER: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";
const APP: &str = "22553876-f5ab-4529-bffb-cfe50aa89f87";
/// The longest id: 128 characters.
const LONGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                       0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx";

async fn every_case_through_grpc(engine: Engine) {
    run_all(engine, Api::Grpc).await;
}

async fn every_case_through_http(engine: Engine) {
    run_all(engine, Api::Http).await;
}

/// Runs each case on a database of its own.
async fn run_all(engine: Engine, api: Api) {
    let cases =
        [sessions::CASES, users::CASES, texts::CASES, ids::CASES, observed::CASES, lists::CASES].concat();
    for (name, lines) in cases {
        let server = Server::start(engine).await;
        let client = Client::new(api, server.addresses.grpc, server.addresses.http);
        for line in lines {
            run(&server, &client, *line, name).await;
        }
        drop(client);
        server.stop().await;
    }
}

async fn run(server: &Server, client: &Client, line: Line, case: &str) {
    let (outcome, user, want) = match line {
        Pass(millis) => return server.clock.advance(Duration::from_millis(millis)),
        Set(user, session, pair, expiration, want) => {
            (client.set(user, session, pair, expiration).await, user, want)
        }
        SetText(user, session, pair, text, want) => {
            (client.set_text(user, session, pair, text).await, user, want)
        }
        Clear(user, session, want) => (client.clear(user, session).await, user, want),
        SetObserved(user, session, pair, millis, want) => {
            let observed = Some(START + Duration::from_millis(millis));
            (client.set_observed(user, session, pair, "PT1H", observed).await, user, want)
        }
        ClearObserved(user, session, millis, want) => {
            let observed = Some(START + Duration::from_millis(millis));
            (client.clear_observed(user, session, observed).await, user, want)
        }
        SetMany(user, prefix, sessions) => {
            for number in 1..=sessions {
                server.clock.advance(Duration::from_millis(1));
                let outcome = client.set(user, &format!("{prefix}{number}"), "Busy/InACall", "PT1H").await;
                assert_eq!(outcome, Outcome::Done, "{case}: {prefix}{number}");
            }
            return;
        }
        Get(user, want) => (client.get(user).await, user, want),
        BatchGet(users, want) => (client.batch_get(users).await, "", want),
        List(shown_as, size, want) => (client.list_all(shown_as, size).await.0, "", want),
        Count(shown_as, want) => (client.count(shown_as).await, "", want),
        Prefer(user, pair, expiration, want) => (client.prefer(user, pair, expiration).await, user, want),
        ClearPreferred(user, want) => (client.clear_preferred(user).await, user, want),
        Message(user, content, ends, want) => (client.say(user, content, ends).await, user, want),
        Manual(user, location, want) => (client.locate(user, location, true).await, user, want),
        Automatic(user, location, want) => (client.locate(user, location, false).await, user, want),
        ClearAutomatic(user, want) => (client.clear_location(user, false).await, user, want),
        ClearLocation(user, want) => (client.clear_location(user, true).await, user, want),
    };
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let want = match want {
        Done => Outcome::Done,
        Shows(pair) => Outcome::Presences(vec![format!("{user} {pair}")]),
        Each(presences) => Outcome::Presences(texts(presences)),
        Counts(count, read) => Outcome::Counted(count, read),
        NotFound => Outcome::NotFound,
        Invalid(fields) => Outcome::Invalid(texts(fields)),
        Stale => Outcome::Stale,
        NoRoom => Outcome::NoRoom,
    };
    assert_eq!(outcome, want, "{case}: {line:?}");
}

async fn a_write_through_one_api_is_seen_through_the_other(engine: Engine) {
    let server = Server::start(engine).await;
    let [grpc, graph] =
        [Api::Grpc, Api::Http].map(|api| Client::new(api, server.addresses.grpc, server.addresses.http));
    assert_eq!(grpc.set(USER, APP, "Busy/InACall", "PT1H").await, Outcome::Done);
    assert_eq!(graph.get(USER).await, Outcome::Presences(vec![format!("{USER} Busy/InACall")]));
    assert_eq!(graph.clear(USER, APP).await, Outcome::Done);
    assert_eq!(grpc.clear(USER, APP).await, Outcome::NotFound);
}
