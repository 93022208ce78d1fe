//! Lists and counts of presences: tokens of pages, filters that are refused, and what both read.

mod turns;

use std::time::Duration;

use presenced::grpc::pb::{
    CountPresencesRequest, ListPresencesRequest, PresenceView, presence_service_client::PresenceServiceClient,
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    graph::{SET, TestApi},
    support::{
        client::{Api, Client, Outcome, availability_number, encode},
        database::Engine,
        lists::token_of,
        metrics::value,
        on_every_engine,
        server::Server,
    },
};

on_every_engine![
    the_token_of_a_page_is_of_one_filter,
    a_page_of_a_filter_can_be_empty_and_others_follow,
    the_times_of_selected_presences_are_returned
];

const LIST: &str = "/v1.0/communications/presences";
const WORDS: &str = "Available, Busy, Away, BeRightBack, DoNotDisturb, Offline";

fn clients(server: &Server) -> [Client; 2] {
    [Api::Grpc, Api::Http].map(|api| Client::new(api, server.addresses.grpc, server.addresses.http))
}

fn grpc(server: &Server) -> PresenceServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", server.addresses.grpc)).unwrap();
    PresenceServiceClient::new(channel.connect_lazy())
}

async fn set_busy(client: &Client, users: &[&str]) {
    for user in users {
        assert_eq!(client.set(user, "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    }
}

async fn the_token_of_a_page_is_of_one_filter(engine: Engine) {
    let server = Server::start(engine).await;
    let clients = clients(&server);
    set_busy(&clients[0], &["a", "b", "c"]).await;
    let both = ["Busy", "Away"];
    let (_, of_all) = clients[0].list(&[], 1, "").await;
    let (_, of_one) = clients[0].list(&["Busy"], 1, "").await;
    let (_, of_both) = clients[0].list(&both, 1, "").await;
    assert!([&of_all, &of_one, &of_both].iter().all(|token| !token.is_empty()));
    let rest = || Outcome::Presences(vec!["b Busy/InACall".to_owned(), "c Busy/InACall".to_owned()]);
    for client in &clients {
        // The token of one API is one of the other, for another size, and for the same set in another
        // order.
        for (shown_as, token) in [
            (&[][..], &of_all),
            (&["Busy"], &of_one),
            (&["busy", "Busy"], &of_one),
            (&["Away", "Busy"], &of_both),
        ] {
            assert_eq!(client.list(shown_as, 2, token).await, (rest(), String::new()), "{shown_as:?}");
        }
        let changed = of_one.replacen(|_: char| true, if of_one.starts_with('A') { "B" } else { "A" }, 1);
        for (shown_as, token) in [
            (&[][..], &*of_one),
            (&["Busy"], &*of_all),
            (&["Busy"], &*of_both),
            (&["Away"], &*of_one),
            (&["Busy"], &*changed),
            (&["Busy"], &format!("{of_one}A")),
            (&[], "a"),
            (&[], "-"),
            (&[], "é\u{1F600}\"'"),
        ] {
            let (outcome, next) = client.list(shown_as, 1, token).await;
            let refused = (Outcome::Invalid(vec!["page_token".to_owned()]), String::new());
            assert_eq!((outcome, next), refused, "{shown_as:?} {token}");
        }
    }
    server.stop().await;
}

/// The number of users that were read.
async fn users_read(server: &Server) -> f64 {
    value(server.addresses.admin, "presence_batch_members_sum{statement=\"load\"}").await
}

async fn a_page_of_a_filter_can_be_empty_and_others_follow(engine: Engine) {
    let server = Server::start(engine).await;
    let clients = clients(&server);
    for user in 10..54 {
        assert_eq!(clients[0].set(&user.to_string(), "app", "Away/Away", "PT1H").await, Outcome::Done);
    }
    set_busy(&clients[0], &["54"]).await;
    for client in &clients {
        let (mut token, mut pages) = (String::new(), Vec::new());
        loop {
            let before = users_read(&server).await;
            let (outcome, next) = client.list(&["Busy"], 2, &token).await;
            pages.push((outcome, users_read(&server).await - before));
            if next.is_empty() {
                break;
            }
            token = next;
        }
        let presences =
            |presences: &[&str]| Outcome::Presences(presences.iter().map(ToString::to_string).collect());
        let empty = || (presences(&[]), 20.0);
        assert_eq!(pages, [empty(), empty(), (presences(&["54 Busy/InACall"]), 5.0)]);
        let before = users_read(&server).await;
        assert_eq!(client.count(&["Busy"]).await, Outcome::Counted(1, 45));
        assert!((users_read(&server).await - before - 45.0).abs() < f64::EPSILON);
        assert_eq!(client.count(&[]).await, Outcome::Counted(45, 45));
        assert!((users_read(&server).await - before - 45.0).abs() < f64::EPSILON, "one statement counts all");
    }
    server.stop().await;
}

async fn the_times_of_selected_presences_are_returned(engine: Engine) {
    let api = TestApi { server: Server::start(engine).await, http: reqwest::Client::new() };
    let client = &clients(&api.server)[0];
    set_busy(client, &["a", "b"]).await;
    assert_eq!(client.set("c", "app", "Away/Away", "PT1H").await, Outcome::Done);
    api.server.clock.advance(Duration::from_mins(1));
    let query = "?$select=id,lastChangeDateTime&$top=1&$filter=availability%20eq%20'Busy'";
    let page = api.get(&format!("{LIST}{query}")).await.body;
    let first = json!([{ "id": "a", "lastChangeDateTime": "2026-11-22T02:50:00.0000000Z" }]);
    assert_eq!(page["value"], first, "{page}");
    let request = ListPresencesRequest {
        availabilities: vec![availability_number("Busy")],
        view: PresenceView::Full.into(),
        ..ListPresencesRequest::default()
    };
    let page = grpc(&api.server).list_presences(request.clone()).await.unwrap().into_inner();
    let ids: Vec<_> = page.presences.iter().map(|presence| presence.user_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(page.presences.iter().all(|presence| presence.change_time.is_some()), "{page:?}");
    let basic = ListPresencesRequest { view: PresenceView::Basic.into(), ..request };
    let page = grpc(&api.server).list_presences(basic).await.unwrap().into_inner();
    assert!(page.presences.iter().all(|presence| presence.change_time.is_none()), "{page:?}");
    api.server.stop().await;
}

/// The invalid fields, each with its message.
fn fields(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

#[tokio::test]
async fn an_unknown_availability_is_refused_in_the_terms_of_the_api() {
    let api = TestApi::new().await;
    let mut grpc = grpc(&api.server);
    let names = "AVAILABILITY_AVAILABLE, AVAILABILITY_BUSY, AVAILABILITY_AWAY, AVAILABILITY_BE_RIGHT_BACK, \
                 AVAILABILITY_DO_NOT_DISTURB, AVAILABILITY_OFFLINE";
    for (numbers, problem) in [
        (vec![99], format!("must have values among {names}, got 99.")),
        (vec![2, 0], format!("must have values among {names}, got 0.")),
        (vec![-1], format!("must have values among {names}, got -1.")),
        (vec![2; 7], "must have at most 6 items, got 7.".to_owned()),
    ] {
        let expected = vec![("availabilities".to_owned(), format!("`availabilities` {problem}"))];
        let list = ListPresencesRequest { availabilities: numbers.clone(), ..Default::default() };
        assert_eq!(fields(&grpc.list_presences(list).await.unwrap_err()), expected);
        let count = CountPresencesRequest { availabilities: numbers };
        assert_eq!(fields(&grpc.count_presences(count).await.unwrap_err()), expected);
    }
    let token = ListPresencesRequest { page_token: "x".to_owned(), ..Default::default() };
    let problem = "`page_token` must be the `next_page_token` of a response to an equal request; leave it out for \
                   the first page.";
    let refused = grpc.list_presences(token).await.unwrap_err();
    assert_eq!(fields(&refused), [("page_token".to_owned(), problem.to_owned())]);
    api.server.stop().await;
}

#[tokio::test]
async fn a_filter_of_another_form_is_refused_with_both_forms() {
    let api = TestApi::new().await;
    let forms = format!(
        "`$filter` must be `availability eq 'Busy'` or `availability in ('Busy', 'Away')`, with values among {WORDS}, \
         got "
    );
    for (filter, received) in [
        ("", "\"\""),
        ("availability", "\"availability\""),
        ("availability ne 'Busy'", "\"availability ne \\'Busy\\'\""),
        ("activity eq 'InACall'", "\"activity eq \\'InACall\\'\""),
        ("availability eq Busy", "\"availability eq Busy\""),
        ("availability eq 'Sleeping'", "\"Sleeping\""),
        ("availability eq ''", "\"\""),
        ("availability in ('Busy','')", "\"\""),
        (
            "availability eq 'Busy' or availability eq 'Away'",
            "\"availability eq \\'Busy\\' or availability e…\"",
        ),
    ] {
        for path in [LIST, &format!("{LIST}/$count")] {
            let response = api.get(&format!("{path}?$filter={}", encode(filter))).await;
            response.is_refused(400, "InvalidArgument");
            assert_eq!(response.message(), format!("{forms}{received}."), "{filter}");
            assert_eq!(response.targets(), ["$filter"]);
        }
    }
    for (filter, problem) in [
        ("availability in ()", "must have at least one availability."),
        (
            "availability in ('Busy','Busy','Busy','Busy','Busy','Busy','Busy')",
            "must have at most 6 items, got 7.",
        ),
    ] {
        let response = api.get(&format!("{LIST}?$filter={}", encode(filter))).await;
        assert_eq!(response.message(), format!("`$filter` {problem}"));
    }
    api.server.stop().await;
}

#[tokio::test]
async fn a_filter_works_with_the_other_options_and_in_a_batch() {
    let api = TestApi::new().await;
    for user in ["a", "b", "c"] {
        api.post(&format!("/v1.0/users/{user}/presence/setPresence"), SET).await;
    }
    let away = r#"{"sessionId":"app","availability":"Away","activity":"Away"}"#;
    api.post("/v1.0/users/d/presence/setPresence", away).await;
    for filter in [
        "$filter=availability eq 'Busy'",
        "filter=AVAILABILITY+EQ+'busy'",
        "%24FILTER=availability%20in%20(%27Busy%27,%20%27Offline%27)",
    ] {
        for version in ["v1.0", "beta"] {
            let mut path = format!("/{version}/communications/presences?$select=id&$top=2&{filter}");
            let mut pages = Vec::new();
            loop {
                let page = api.send(Method::GET, &path, &[("prefer", "handling=strict")], "").await.body;
                pages.push(page["value"].clone());
                let Some(next) = page["@odata.nextLink"].as_str() else { break };
                path = next.strip_prefix(&api.server.graph()).unwrap().to_owned();
                assert!(
                    path.starts_with(&format!(
                        "/{version}/communications/presences?$top=2&$select=id&$filter="
                    ))
                );
                assert!(!path.contains([' ', '\'', '(']), "the link is encoded: {path}");
            }
            assert_eq!(pages, [json!([{ "id": "a" }, { "id": "b" }]), json!([{ "id": "c" }])], "{filter}");
        }
    }
    for (option, target) in [("$count=true", "$count"), ("$orderby=id", "$orderby"), ("$skip=1", "$skip")] {
        let response = api.get(&format!("{LIST}?$filter=availability eq 'Busy'&{option}")).await;
        response.is_refused(400, "InvalidArgument");
        assert_eq!(response.targets(), [target]);
        let supported = "is not supported by this operation. Supported: $select, $top, $filter, $skiptoken";
        assert!(response.message().contains(supported), "{}", response.message());
    }
    let twice =
        api.get(&format!("{LIST}?$filter=availability eq 'Busy'&filter=availability eq 'Away'")).await;
    assert_eq!(twice.message(), "`filter` is given more than once.");

    let url = |path: &str| format!("/communications/presences{path}?$filter=availability%20eq%20'Busy'");
    let urls = [url(""), url("/$count"), url("").replace("Busy", "Sleeping")];
    let items = urls.iter().enumerate();
    let items = items.map(|(id, url)| json!({ "id": id.to_string(), "method": "GET", "url": url }));
    let batch = json!({ "requests": items.collect::<Vec<Value>>() });
    let responses = api.post("/v1.0/$batch", batch.to_string()).await.body["responses"].clone();
    assert_eq!(responses[0]["body"]["value"].as_array().map(Vec::len), Some(3), "{responses}");
    assert_eq!(
        (&responses[1]["body"], &responses[1]["headers"]["presence-users-read"]),
        (&json!(3), &json!("4"))
    );
    assert_eq!(responses[2]["body"]["error"]["details"][0]["target"], "$filter");
    assert_eq!(token_of(&responses[0]["body"]), "");
    api.server.stop().await;
}
