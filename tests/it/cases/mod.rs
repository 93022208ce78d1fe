//! The table of API cases: each runs through both APIs and both engines.
//!
//! A case is a script of lines. The clock stands still unless a line moves it.

mod sessions;
mod users;

use std::time::Duration;

use crate::support::{
    client::{Api, Client, Outcome},
    database::Engine,
    on_every_engine,
    server::Server,
};

on_every_engine![
    every_case_through_grpc,
    every_case_through_graph,
    a_write_through_one_api_is_seen_through_the_other
];

/// A line of a case.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// set USER SESSION PAIR EXPIRATION → what comes of it.
    Set(&'static str, &'static str, &'static str, &'static str, Want),
    /// clear USER SESSION → what comes of it.
    Clear(&'static str, &'static str, Want),
    /// get USER → what it shows.
    Get(&'static str, Want),
    /// get USERS → what they show.
    BatchGet(&'static [&'static str], Want),
    /// prefer USER PAIR EXPIRATION → what comes of it.
    Prefer(&'static str, &'static str, &'static str, Want),
    /// clear the preference of USER → what comes of it.
    ClearPreferred(&'static str, Want),
    /// say USER TEXT END → what comes of it.
    Say(&'static str, &'static str, &'static str, Want),
    /// the user's choice: USER LOCATION → what comes of it.
    Manual(&'static str, &'static str, Want),
    /// what something found out: USER LOCATION → what comes of it.
    Automatic(&'static str, &'static str, Want),
    /// clear the automatic location of USER → what comes of it.
    ClearAutomatic(&'static str, Want),
    /// clear both locations of USER → what comes of it.
    ClearLocation(&'static str, Want),
    /// So many milliseconds pass.
    Pass(u64),
}

/// What a call comes to.
#[derive(Clone, Copy, Debug)]
enum Want {
    Done,
    /// What one user shows.
    Shows(&'static str),
    /// What each user shows, with its id.
    Each(&'static [&'static str]),
    NotFound,
    /// The wrong fields, as the proto spells them.
    Invalid(&'static [&'static str]),
}

use Line::{
    Automatic, BatchGet, Clear, ClearAutomatic, ClearLocation, ClearPreferred, Get, Manual, Pass, Prefer,
    Say, Set,
};
use Want::{Done, Each, Invalid, NotFound, Shows};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const USER: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";
const APP: &str = "22553876-f5ab-4529-bffb-cfe50aa89f87";
/// 128 characters, the longest id.
const LONGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                       0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx";

async fn every_case_through_grpc(engine: Engine) {
    run_all(engine, Api::Grpc).await;
}

async fn every_case_through_graph(engine: Engine) {
    run_all(engine, Api::Http).await;
}

/// Each case on a database of its own.
async fn run_all(engine: Engine, api: Api) {
    for (name, lines) in sessions::CASES.iter().chain(users::CASES) {
        let server = Server::start(engine).await;
        let client = Client::new(api, server.addresses.grpc, server.addresses.http);
        for line in *lines {
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
        Clear(user, session, want) => (client.clear(user, session).await, user, want),
        Get(user, want) => (client.get(user).await, user, want),
        BatchGet(users, want) => (client.batch_get(users).await, "", want),
        Prefer(user, pair, expiration, want) => (client.prefer(user, pair, expiration).await, user, want),
        ClearPreferred(user, want) => (client.clear_preferred(user).await, user, want),
        Say(user, content, ends, want) => (client.say(user, content, ends).await, user, want),
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
        NotFound => Outcome::NotFound,
        Invalid(fields) => Outcome::Invalid(texts(fields)),
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
