//! Cases of ids: their spellings, the placeholders that are refused, and `--user-ids`.

use super::{
    APP, Line,
    Line::{BatchGet, Clear, ClearPreferred, Get, Manual, Message, Prefer, Set},
    USER,
    Want::{self, Done, Each, Invalid, NotFound, Shows},
    run,
};
use crate::support::{
    client::{Api, Client, Outcome},
    database::Engine,
    on_every_engine,
    server::Server,
};

on_every_engine![
    every_spelling_of_a_guid_is_one_user_and_one_session,
    placeholders_are_refused_in_each_place_of_an_id,
    user_ids_of_another_form_are_refused_by_name
];

/// Spellings of [`USER`] and [`APP`] as programs write them.
const SPELLINGS: [(&str, &str); 9] = [
    (USER, APP),
    ("FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3", "22553876-F5AB-4529-BFFB-CFE50AA89F87"),
    // .NET: Guid.ToString("N"), "B" and "P". Python: uuid.hex and uuid.urn.
    ("fa8bf3dceca746b7bad1db199b62afc3", "22553876f5ab4529bffbcfe50aa89f87"),
    ("FA8BF3DCECA746B7BAD1DB199B62AFC3", "22553876F5AB4529BFFBCFE50AA89F87"),
    ("{fa8bf3dc-eca7-46b7-bad1-db199b62afc3}", "{22553876-f5ab-4529-bffb-cfe50aa89f87}"),
    ("{FA8BF3DCECA746B7BAD1DB199B62AFC3}", "{22553876F5AB4529BFFBCFE50AA89F87}"),
    ("(fa8bf3dc-eca7-46b7-bad1-db199b62afc3)", "(22553876-f5ab-4529-bffb-cfe50aa89f87)"),
    ("urn:uuid:fa8bf3dc-eca7-46b7-bad1-db199b62afc3", "urn:uuid:22553876-f5ab-4529-bffb-cfe50aa89f87"),
    ("URN:UUID:FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3", "URN:UUID:22553876-F5AB-4529-BFFB-CFE50AA89F87"),
];

/// Texts that are no ids.
const PLACEHOLDERS: [&str; 28] = [
    "*",
    "me",
    "ME",
    "delta",
    "undefined",
    "null",
    "NULL",
    "(null)",
    "nil",
    "<nil>",
    "None",
    "NaN",
    "[object Object]",
    "[object Promise]",
    "{user-id}",
    "{userId}",
    "{id}",
    "{}",
    "{{userId}}",
    "${userId}",
    "#{user_id}",
    "{fa8bf3dc-eca7-46b7-bad1}",
    "%7Bid%7D",
    ":id",
    "<id>",
    "<user-id>",
    "00000000-0000-0000-0000-000000000000",
    "{00000000000000000000000000000000}",
];

pub(super) const CASES: &[(&str, &[Line])] = &[
    (
        "a GUID is the same in any spelling",
        &[
            Set("FA8BF3DCECA746B7BAD1DB199B62AFC3", APP, "Busy/InACall", "PT1H", Done),
            BatchGet(
                &[USER, "{FA8BF3DC-ECA7-46B7-BAD1-DB199B62AFC3}"],
                Each(&["fa8bf3dc-eca7-46b7-bad1-db199b62afc3 Busy/InACall"]),
            ),
            Clear(USER, "22553876-F5AB-4529-BFFB-CFE50AA89F87", Done),
        ],
    ),
    (
        "a user id with an @ inside is the same in any case",
        &[
            Set("Megan@Contoso.com", "app", "Busy/InACall", "PT1H", Done),
            Get("MEGAN@CONTOSO.COM", Each(&["megan@contoso.com Busy/InACall"])),
            Clear("megan@contoso.com", "app", Done),
            Set("@Megan", "app", "Busy/InACall", "PT1H", Done),
            Get("@megan", Shows("Offline/Offline")),
            Get("@Megan", Shows("Busy/InACall")),
        ],
    ),
    (
        "of a session id only the application is normalised",
        &[
            Set("u", "{22553876-F5AB-4529-BFFB-CFE50AA89F87}:Tab:A", "Busy/InACall", "PT1H", Done),
            Clear("u", "22553876-f5ab-4529-bffb-cfe50aa89f87:tab:a", NotFound),
            Clear("u", APP, NotFound),
            Clear("u", "urn:uuid:22553876f5ab4529bffbcfe50aa89f87:Tab:A", Done),
            Set("u", "app:Megan@Contoso.com", "Busy/InACall", "PT1H", Done),
            Clear("u", "app:megan@contoso.com", NotFound),
            Clear("u", "app:Megan@Contoso.com", Done),
        ],
    ),
    (
        "a place id is a GUID in any spelling, or any text",
        &[
            Manual("u", "Office@FA8BF3DCECA746B7BAD1DB199B62AFC3", Done),
            Get("u", Each(&["u Offline/Offline Office@fa8bf3dc-eca7-46b7-bad1-db199b62afc3 Manual"])),
            Manual("u", "Office@{desk}", Done),
            Get("u", Each(&["u Offline/Offline Office@{desk} Manual"])),
        ],
    ),
    (
        "closing one of two tabs does not show the user offline",
        &[
            Set("u", "app:tab-1", "Available/Available", "PT1H", Done),
            Set("u", "app:tab-2", "Available/Available", "PT1H", Done),
            Clear("u", "app:tab-1", Done),
            Get("u", Shows("Available/Available")),
            Clear("u", "app:tab-2", Done),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "two calls of one application are two sessions",
        &[
            Set("u", "app", "Available/Available", "PT1H", Done),
            Set("u", "app:call-1", "Busy/InACall", "PT1H", Done),
            Set("u", "app:call-2", "Busy/InAConferenceCall", "PT1H", Done),
            Clear("u", "app:call-2", Done),
            Get("u", Shows("Busy/InACall")),
            Clear("u", "app:call-1", Done),
            Get("u", Shows("Available/Available")),
        ],
    ),
];

const APIS: [Api; 2] = [Api::Grpc, Api::Http];

async fn run_lines(server: &Server, api: Api, case: &str, lines: &[Line]) {
    let client = Client::new(api, server.addresses.grpc, server.addresses.http);
    for line in lines {
        run(server, &client, *line, case).await;
    }
}

async fn every_spelling_of_a_guid_is_one_user_and_one_session(engine: Engine) {
    let server = Server::start(engine).await;
    let busy = Each(&["fa8bf3dc-eca7-46b7-bad1-db199b62afc3 Busy/InACall"]);
    for api in APIS {
        for (index, (user, session)) in SPELLINGS.into_iter().enumerate() {
            let (other, other_session) = SPELLINGS[(index + 4) % SPELLINGS.len()];
            let lines = [
                Set(user, session, "Busy/InACall", "PT1H", Done),
                Get(other, busy),
                Get(user, busy),
                Clear(other, other_session, Done),
                Clear(user, session, NotFound),
            ];
            run_lines(&server, api, user, &lines).await;
        }
    }
    server.stop().await;
}

async fn placeholders_are_refused_in_each_place_of_an_id(engine: Engine) {
    let server = Server::start(engine).await;
    let user = || Invalid(&["user_id"]);
    for api in APIS {
        for placeholder in PLACEHOLDERS {
            let lines = [
                Set(placeholder, "app", "Busy/InACall", "", user()),
                Clear(placeholder, "app", user()),
                Get(placeholder, user()),
                Prefer(placeholder, "Busy/Busy", "", user()),
                ClearPreferred(placeholder, user()),
                Message(placeholder, "Hi", "", user()),
                Manual(placeholder, "Office", user()),
                Set("u", placeholder, "Busy/InACall", "", Invalid(&["session_id"])),
                Clear("u", placeholder, Invalid(&["session_id"])),
            ];
            run_lines(&server, api, placeholder, &lines).await;
            // The bulk read fails as a whole.
            let client = Client::new(api, server.addresses.grpc, server.addresses.http);
            let outcome = client.batch_get(&["u", placeholder]).await;
            assert_eq!(outcome, Outcome::Invalid(vec!["user_ids[1]".to_owned()]));
        }
        let suffixes = [
            Set("u", "app:undefined", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", "app:${tab}", "Busy/InACall", "", Invalid(&["session_id"])),
            Clear("u", "app:*", Invalid(&["session_id"])),
            Set("u", "undefined:tab", "Busy/InACall", "", Invalid(&["session_id"])),
            Set("u", "app:me", "Busy/InACall", "", Done),
        ];
        run_lines(&server, api, "suffixes", &suffixes).await;
    }
    server.stop().await;
}

async fn user_ids_of_another_form_are_refused_by_name(engine: Engine) {
    let email = "megan@contoso.com";
    for (form, allowed, refused) in [("guid", USER, email), ("email", email, USER), ("any", email, "ada")] {
        let server = Server::start_with(engine, &["--user-ids", form]).await;
        let any = form == "any";
        let want = |want: Want| if any { Done } else { want };
        for api in APIS {
            let lines = [
                Set(allowed, "app", "Busy/InACall", "", Done),
                Get(allowed, Shows("Busy/InACall")),
                Set(refused, "app", "Busy/InACall", "", want(Invalid(&["user_id"]))),
            ];
            run_lines(&server, api, form, &lines).await;
        }
        let url = format!("{}/v1.0/users/{refused}/presence", server.graph());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let rule = match form {
            "guid" => {
                "`id` must be a GUID; this service is set to --user-ids guid, got \\\"megan@contoso.com\\\"."
            }
            "email" => "`id` must be an id with an `@` inside; this service is set to --user-ids email",
            _ => "InACall",
        };
        assert!(text.contains(rule), "{text}");
        server.stop().await;
    }
}
