//! The table of API cases: each runs through both doors and both engines.
//!
//! A case is a script of lines. The clock stands still unless a line moves it.

use std::time::Duration;

use crate::support::{
    client::{Client, Door, Outcome},
    database::Engine,
    on_every_engine,
    server::Server,
};

on_every_engine![every_case_through_grpc, every_case_through_graph, what_one_door_does_the_other_sees];

macro_rules! umlauts {
    () => {
        "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü"
    };
}

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
const DAY: u64 = 24 * 60 * MINUTE;
const USER: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";
const APP: &str = "22553876-f5ab-4529-bffb-cfe50aa89f87";
/// 128 characters, the longest id.
const LONGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                       0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx";

/// 280 characters of two bytes each.
const LONGEST_MESSAGE: &str = concat!(umlauts!(), umlauts!(), umlauts!(), umlauts!());
const MESSAGE_TOO_LONG: &str = concat!(umlauts!(), umlauts!(), umlauts!(), umlauts!(), "x");

const CASES: &[(&str, &[Line])] = &[
    (
        "the request that started it all",
        &[
            Set(USER, APP, "Busy/InACall", "PT1H", Done),
            Get(USER, Shows("Busy/InACall")),
            Clear(USER, APP, Done),
            Clear(USER, APP, NotFound),
            Get(USER, Shows("Offline/Offline")),
        ],
    ),
    (
        "every session pair is shown as it was set",
        &[
            Set("a", "app", "Available/Available", "PT1H", Done),
            Set("b", "app", "Busy/InACall", "PT1H", Done),
            Set("c", "app", "Busy/InAConferenceCall", "PT1H", Done),
            Set("d", "app", "Away/Away", "PT1H", Done),
            Set("e", "app", "DoNotDisturb/Presenting", "PT1H", Done),
            BatchGet(
                &["a", "b", "c", "d", "e", "f"],
                Each(&[
                    "a Available/Available",
                    "b Busy/InACall",
                    "c Busy/InAConferenceCall",
                    "d Away/Away",
                    "e DoNotDisturb/Presenting",
                    "f Offline/Offline",
                ]),
            ),
        ],
    ),
    (
        "an available session fades at 5 and 10 minutes and ends at its expiry",
        &[
            Set("u", "app", "Available/Available", "PT15M", Done),
            Pass(5 * MINUTE - 1),
            Get("u", Shows("Available/Available")),
            Pass(1),
            Get("u", Shows("Available/AvailableInactive")),
            Pass(5 * MINUTE - 1),
            Get("u", Shows("Available/AvailableInactive")),
            Pass(1),
            Get("u", Shows("Away/Away")),
            Pass(5 * MINUTE - 1),
            Get("u", Shows("Away/Away")),
            Pass(1),
            Get("u", Shows("Offline/Offline")),
            Clear("u", "app", NotFound),
        ],
    ),
    (
        "without a duration a session lives for 5 minutes, and expiry beats the fade",
        &[
            Set("u", "app", "Available/Available", "", Done),
            Pass(5 * MINUTE - 1),
            Get("u", Shows("Available/Available")),
            Pass(1),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "a refresh restarts both the fade and the expiry",
        &[
            Set("u", "app", "Available/Available", "PT10M", Done),
            Pass(4 * MINUTE),
            Set("u", "app", "Available/Available", "PT10M", Done),
            Pass(4 * MINUTE),
            Get("u", Shows("Available/Available")),
            Pass(2 * MINUTE),
            Get("u", Shows("Available/AvailableInactive")),
            Pass(4 * MINUTE),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "busy, away and do-not-disturb do not fade",
        &[
            Set("a", "app", "Busy/InACall", "PT4H", Done),
            Set("b", "app", "Away/Away", "PT4H", Done),
            Set("c", "app", "DoNotDisturb/Presenting", "PT4H", Done),
            Pass(240 * MINUTE - 1),
            BatchGet(&["c", "b", "a"], Each(&["c DoNotDisturb/Presenting", "b Away/Away", "a Busy/InACall"])),
            Pass(1),
            BatchGet(
                &["c", "b", "a"],
                Each(&["c Offline/Offline", "b Offline/Offline", "a Offline/Offline"]),
            ),
        ],
    ),
    (
        "do-not-disturb beats busy beats available beats away",
        &[
            Set("u", "away", "Away/Away", "PT1H", Done),
            Set("u", "available", "Available/Available", "PT1H", Done),
            Get("u", Shows("Available/Available")),
            Set("u", "busy", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InACall")),
            Set("u", "dnd", "DoNotDisturb/Presenting", "PT1H", Done),
            Get("u", Shows("DoNotDisturb/Presenting")),
            Clear("u", "dnd", Done),
            Get("u", Shows("Busy/InACall")),
            Clear("u", "busy", Done),
            Clear("u", "available", Done),
            Get("u", Shows("Away/Away")),
        ],
    ),
    (
        "inactive still beats away, until it has faded to it",
        &[
            Set("u", "away", "Away/Away", "PT1H", Done),
            Set("u", "available", "Available/Available", "PT1H", Done),
            Pass(5 * MINUTE),
            Get("u", Shows("Available/AvailableInactive")),
            Pass(5 * MINUTE),
            Get("u", Shows("Away/Away")),
        ],
    ),
    (
        "of two equals the latest change wins, and a heartbeat is no change",
        &[
            Set("u", "a", "Busy/InACall", "PT1H", Done),
            Pass(SECOND),
            Set("u", "b", "Busy/InAConferenceCall", "PT1H", Done),
            Get("u", Shows("Busy/InAConferenceCall")),
            Pass(SECOND),
            Set("u", "a", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InAConferenceCall")),
            Pass(SECOND),
            Set("u", "a", "Away/Away", "PT1H", Done),
            Set("u", "a", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "of two equals at the same instant the smaller session id wins",
        &[
            Set("u", "b", "Busy/InAConferenceCall", "PT1H", Done),
            Set("u", "a", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a session belongs to its user and its application",
        &[
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Clear("v", "app", NotFound),
            Clear("u", "other", NotFound),
            Clear("u", "APP", NotFound),
            Get("U", Shows("Offline/Offline")),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a GUID is the same in any case",
        &[
            Set("FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3", APP, "Busy/InACall", "PT1H", Done),
            BatchGet(
                &[USER, "FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3"],
                Each(&["fa8bf3dc-eca7-46b7-bad1-db199b62afc3 Busy/InACall"]),
            ),
            Clear(USER, "22553876-F5AB-4529-BFFB-CFE50AA89F87", Done),
        ],
    ),
    (
        "the words of a pair are read in any case",
        &[Set("u", "app", "busy/inacall", "PT1H", Done), Get("u", Shows("Busy/InACall"))],
    ),
    (
        "a bulk read answers each distinct id once, in the order of the request",
        &[
            Set("b", "app", "Busy/InACall", "PT1H", Done),
            BatchGet(
                &["c", "b", "c", "a", "b"],
                Each(&["c Offline/Offline", "b Busy/InACall", "a Offline/Offline"]),
            ),
        ],
    ),
    (
        "an id is any visible text",
        &[
            Set("megan@contoso.com", "Graph-MCP", "Busy/InACall", "PT1H", Done),
            Get("megan@contoso.com", Shows("Busy/InACall")),
            Set("';drop--%2F?#&", "a/b", "Away/Away", "PT1H", Done),
            Get("';drop--%2F?#&", Shows("Away/Away")),
            Set(LONGEST, LONGEST, "Busy/InACall", "PT1H", Done),
            Get(LONGEST, Shows("Busy/InACall")),
        ],
    ),
    (
        "the bounds of the duration are in range",
        &[
            Set("u", "a", "Busy/InACall", "PT5M", Done),
            Set("u", "a", "Busy/InACall", "PT4H", Done),
            Set("u", "a", "Busy/InACall", "PT240M", Done),
            Set("u", "a", "Busy/InACall", "1:00:00", Done),
        ],
    ),
    (
        "bad durations",
        &[
            Set("u", "a", "Busy/InACall", "PT4M59S", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "PT4M59.999S", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "PT4H1S", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "P1M", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "-PT5M", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "PT0S", Invalid(&["expiration_duration"])),
            Set("u", "a", "Busy/InACall", "soon", Invalid(&["expiration_duration"])),
            Set(
                "u",
                "a",
                "Busy/InACall",
                "PT1000000000000000000000000000000S",
                Invalid(&["expiration_duration"]),
            ),
            Set("u", "a", "Busy/InACall", "1 day, 0:00:00", Invalid(&["expiration_duration"])),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "bad pairs",
        &[
            Set("u", "a", "Busy/Busy", "", Invalid(&["availability"])),
            Set("u", "a", "Offline/Offline", "", Invalid(&["availability"])),
            Set("u", "a", "Available/AvailableInactive", "", Invalid(&["availability"])),
            Set("u", "a", "Available/Away", "", Invalid(&["availability"])),
            Set("u", "a", "Sleeping/Deeply", "", Invalid(&["availability", "activity"])),
            Set("u", "a", "Busy", "", Invalid(&["activity"])),
            Set("u", "a", "", "", Invalid(&["availability", "activity"])),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "bad ids",
        &[
            Set("u", "", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", "a b", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", "a\0", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", "müller", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", TOO_LONG, "Busy/InACall", "", Invalid(&["session_id"])),
            Set(TOO_LONG, "a", "Busy/InACall", "", Invalid(&["user_id"])),
            Set("a/b", "a", "Busy/InACall", "", Invalid(&["user_id"])),
            Clear("a b", "", Invalid(&["user_id", "session_id"])),
            Clear("u", "", Invalid(&["session_id"])),
            Get("a b", Invalid(&["user_id"])),
            Get("müller", Invalid(&["user_id"])),
            Get("a\0", Invalid(&["user_id"])),
            BatchGet(&[], Invalid(&["user_ids"])),
            BatchGet(
                &["a", "b c", "d", "", TOO_LONG],
                Invalid(&["user_ids[1]", "user_ids[3]", "user_ids[4]"]),
            ),
        ],
    ),
    (
        "a preferred presence overrides every session while one is live",
        &[
            Prefer("u", "Busy/Busy", "", Done),
            Get("u", Shows("Offline/Offline")),
            Set("u", "app", "DoNotDisturb/Presenting", "PT1H", Done),
            Get("u", Shows("Busy/Busy")),
            Clear("u", "app", Done),
            Get("u", Shows("Offline/Offline")),
            Set("u", "app", "Available/Available", "PT1H", Done),
            Pass(15 * MINUTE),
            Get("u", Shows("Busy/Busy")),
            ClearPreferred("u", Done),
            Get("u", Shows("Away/Away")),
        ],
    ),
    (
        "every preferred pair is shown as it was set, and the last one holds",
        &[
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Prefer("u", "Available/Available", "", Done),
            Get("u", Shows("Available/Available")),
            Prefer("u", "Busy/Busy", "", Done),
            Get("u", Shows("Busy/Busy")),
            Prefer("u", "DoNotDisturb/DoNotDisturb", "", Done),
            Get("u", Shows("DoNotDisturb/DoNotDisturb")),
            Prefer("u", "BeRightBack/BeRightBack", "", Done),
            Get("u", Shows("BeRightBack/BeRightBack")),
            Prefer("u", "Away/Away", "", Done),
            Get("u", Shows("Away/Away")),
            Prefer("u", "offline/offwork", "", Done),
            Get("u", Shows("Offline/OffWork")),
        ],
    ),
    (
        "busy and do-not-disturb are preferred for a day, the rest for seven",
        &[
            Prefer("busy", "Busy/Busy", "", Done),
            Prefer("dnd", "DoNotDisturb/DoNotDisturb", "", Done),
            Prefer("away", "Away/Away", "", Done),
            Prefer("available", "Available/Available", "", Done),
            Pass(DAY - 1),
            Set("busy", "app", "Busy/InACall", "PT1H", Done),
            Set("dnd", "app", "Busy/InACall", "PT1H", Done),
            BatchGet(&["busy", "dnd"], Each(&["busy Busy/Busy", "dnd DoNotDisturb/DoNotDisturb"])),
            Pass(1),
            BatchGet(&["busy", "dnd"], Each(&["busy Busy/InACall", "dnd Busy/InACall"])),
            Pass(6 * DAY - 1),
            Set("away", "app", "Busy/InACall", "PT1H", Done),
            Set("available", "app", "Busy/InACall", "PT1H", Done),
            BatchGet(&["away", "available"], Each(&["away Away/Away", "available Available/Available"])),
            Pass(1),
            BatchGet(&["away", "available"], Each(&["away Busy/InACall", "available Busy/InACall"])),
        ],
    ),
    (
        "a preference lasts as long as it was asked to",
        &[
            Prefer("u", "Busy/Busy", "PT1S", Done),
            Prefer("v", "Busy/Busy", "P365D", Done),
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Pass(SECOND - 1),
            Get("u", Shows("Busy/Busy")),
            Pass(1),
            Get("u", Shows("Busy/InACall")),
            Pass(365 * DAY - SECOND - 1),
            Set("v", "app", "Busy/InACall", "PT1H", Done),
            Get("v", Shows("Busy/Busy")),
            Pass(1),
            Get("v", Shows("Busy/InACall")),
        ],
    ),
    (
        "bad preferences",
        &[
            Prefer("u", "Busy/InACall", "", Invalid(&["availability"])),
            Prefer("u", "DoNotDisturb/Presenting", "", Invalid(&["availability"])),
            Prefer("u", "Offline/Offline", "", Invalid(&["availability"])),
            Prefer("u", "Busy", "", Invalid(&["activity"])),
            Prefer("u", "", "", Invalid(&["availability", "activity"])),
            Prefer(
                "u",
                "Sleeping/Deeply",
                "soon",
                Invalid(&["availability", "activity", "expiration_duration"]),
            ),
            Prefer("u", "Busy/Busy", "PT0S", Invalid(&["expiration_duration"])),
            Prefer("u", "Busy/Busy", "-PT5M", Invalid(&["expiration_duration"])),
            Prefer("u", "Busy/Busy", "P365DT1S", Invalid(&["expiration_duration"])),
            Prefer("a b", "Busy/Busy", "", Invalid(&["user_id"])),
            ClearPreferred("a b", Invalid(&["user_id"])),
            ClearPreferred("u", Done),
            ClearPreferred("u", Done),
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a status message is shown until it is replaced, taken away or ends",
        &[
            Say("u", "In the workshop", "", Done),
            Get("u", Shows("Offline/Offline \"In the workshop\"")),
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Get("u", Shows("Busy/InACall \"In the workshop\"")),
            Say("u", "Grüße \u{1f44b}\nfrom here", "2026-11-22T03:00:00", Done),
            Get("u", Shows("Busy/InACall \"Grüße \u{1f44b}\\nfrom here\"")),
            Pass(10 * MINUTE - 1),
            BatchGet(&["u"], Each(&["u Busy/InACall \"Grüße \u{1f44b}\\nfrom here\""])),
            Pass(1),
            Get("u", Shows("Busy/InACall")),
            Say("u", "again", "", Done),
            Say("u", "", "", Done),
            Get("u", Shows("Busy/InACall")),
            Say("u", "", "", Done),
            Say("u", LONGEST_MESSAGE, "", Done),
        ],
    ),
    (
        "bad status messages",
        &[
            Say("u", MESSAGE_TOO_LONG, "", Invalid(&["content"])),
            Say("u", "a\0b", "", Invalid(&["content"])),
            Say("u", "late", "2026-11-22T02:50:00", Invalid(&["expire_time"])),
            Say("u", "late", "1999-01-01T00:00:00", Invalid(&["expire_time"])),
            Say(
                "a b",
                MESSAGE_TOO_LONG,
                "1999-01-01T00:00:00",
                Invalid(&["user_id", "content", "expire_time"]),
            ),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "a manual location counts before an automatic one",
        &[
            Automatic("u", "Remote", Done),
            Get("u", Shows("Offline/Offline Remote Automatic")),
            Manual("u", "Office@eb706f15-137e-4722-b4d1-b601481d9251", Done),
            Get("u", Shows("Offline/Offline Office@eb706f15-137e-4722-b4d1-b601481d9251 Manual")),
            Automatic("u", "Office@desk-1", Done),
            Manual("u", "timeoff", Done),
            Get("u", Shows("Offline/Offline TimeOff Manual")),
            ClearAutomatic("u", Done),
            Get("u", Shows("Offline/Offline TimeOff Manual")),
            Automatic("u", "Office@desk-1", Done),
            ClearLocation("u", Done),
            Get("u", Shows("Offline/Offline")),
            ClearLocation("u", Done),
            ClearAutomatic("u", Done),
            ClearLocation("nobody", Done),
            Automatic("u", "Office@desk-1", Done),
            ClearAutomatic("u", Done),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "bad locations",
        &[
            Manual("u", "", Invalid(&["work_location_type"])),
            Manual("u", "Moon@a b", Invalid(&["work_location_type", "place_id"])),
            Automatic("a b", "Unknown", Invalid(&["user_id", "work_location_type"])),
            Automatic("u", "Office@Büro", Invalid(&["place_id"])),
            ClearAutomatic("a b", Invalid(&["user_id"])),
            ClearLocation("a b", Invalid(&["user_id"])),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "what a user set beside sessions stays apart from other users, and each part from the others",
        &[
            Prefer("u", "Away/Away", "", Done),
            Say("u", "mine", "", Done),
            Manual("u", "Office", Done),
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Set("v", "app", "Busy/InACall", "PT1H", Done),
            BatchGet(&["v", "u", "v"], Each(&["v Busy/InACall", "u Away/Away \"mine\" Office Manual"])),
            ClearPreferred("u", Done),
            Get("u", Shows("Busy/InACall \"mine\" Office Manual")),
            ClearLocation("u", Done),
            Get("u", Shows("Busy/InACall \"mine\"")),
            Say("u", "", "", Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "several wrong fields are named at once",
        &[Set(
            "a b",
            "",
            "Sleeping/Deeply",
            "soon",
            Invalid(&["user_id", "session_id", "availability", "activity", "expiration_duration"]),
        )],
    ),
];

async fn every_case_through_grpc(engine: Engine) {
    run_all(engine, Door::Grpc).await;
}

async fn every_case_through_graph(engine: Engine) {
    run_all(engine, Door::Graph).await;
}

/// Each case on a database of its own.
async fn run_all(engine: Engine, door: Door) {
    for (name, lines) in CASES {
        let server = Server::start(engine).await;
        let client = Client::new(door, server.addresses.grpc, server.addresses.http);
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

async fn what_one_door_does_the_other_sees(engine: Engine) {
    let server = Server::start(engine).await;
    let [grpc, graph] =
        [Door::Grpc, Door::Graph].map(|door| Client::new(door, server.addresses.grpc, server.addresses.http));
    assert_eq!(grpc.set(USER, APP, "Busy/InACall", "PT1H").await, Outcome::Done);
    assert_eq!(graph.get(USER).await, Outcome::Presences(vec![format!("{USER} Busy/InACall")]));
    assert_eq!(graph.clear(USER, APP).await, Outcome::Done);
    assert_eq!(grpc.clear(USER, APP).await, Outcome::NotFound);
}
