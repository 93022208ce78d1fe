//! The history of a user, at both APIs: what was shown, explanations of the past, times in
//! presences, and erasing and exporting.

mod erase;
mod explain;
mod list;
mod permissions;
mod refusals;
mod views;

use std::{fmt::Write as _, time::Duration};

use presenced::{
    app::Addresses,
    grpc::pb::{
        HistoryPart, HistorySpan, ListPresenceHistoryRequest, ListPresenceHistoryResponse, Presence,
        WorkLocation, presence_service_client::PresenceServiceClient,
    },
};
use reqwest::Client as HttpClient;
use serde_json::Value;
use tonic::{Status, transport::Channel};

use crate::{
    graph::{JsonResponse, TestApi},
    support::{
        client::{Api, Client, Outcome, encode, word},
        contract,
        database::Engine,
        server::{START, Server},
    },
};

const MINUTE: Duration = Duration::from_mins(1);

async fn start(engine: Engine) -> TestApi {
    start_with(engine, &[]).await
}

async fn start_with(engine: Engine, flags: &[&str]) -> TestApi {
    TestApi { server: Server::start_with(engine, flags).await, http: HttpClient::new() }
}

fn grpc(addresses: Addresses) -> PresenceServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", addresses.grpc)).unwrap();
    PresenceServiceClient::new(channel.connect_lazy())
}

fn client(server: &Server) -> Client {
    Client::new(Api::Grpc, server.addresses.grpc, server.addresses.http)
}

async fn set(server: &Server, user: &str, session: &str, pair: &str, expiration: &str) {
    assert_eq!(client(server).set(user, session, pair, expiration).await, Outcome::Done);
}

/// The time at this number of minutes after the start, in a message.
fn at(minutes: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: START.as_millis() / 1_000 + minutes * 60, nanos: 0 }
}

/// The same in a query option.
fn text(minutes: i64) -> String {
    jiff::Timestamp::from_second(at(minutes).seconds).unwrap().to_string()
}

/// The minutes from the start until a time; empty if the time is missing.
fn minutes(time: Option<&prost_types::Timestamp>) -> String {
    time.map_or_else(String::new, |time| {
        let millis = time.seconds * 1_000 + i64::from(time.nanos / 1_000_000) - START.as_millis();
        #[expect(clippy::cast_precision_loss, reason = "tests take less than a year")]
        let minutes = millis as f64 / 60_000.0;
        minutes.to_string()
    })
}

fn json_minutes(value: &Value) -> String {
    minutes(json_time(value).as_ref())
}

fn json_time(value: &Value) -> Option<prost_types::Timestamp> {
    value.as_str().map(|text| {
        let time: jiff::Timestamp = text.parse().unwrap();
        prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
    })
}

/// The change time, the last active time and the start of the history, in minutes.
fn times(presence: &Presence) -> [String; 3] {
    let start = history_start(presence.history_start_time.as_ref());
    [minutes(presence.change_time.as_ref()), minutes(presence.last_active_time.as_ref()), start]
}

fn json_times(presence: &Value) -> [String; 3] {
    let start = history_start(json_time(&presence["historyStartDateTime"]).as_ref());
    [json_minutes(&presence["lastChangeDateTime"]), json_minutes(&presence["lastActiveDateTime"]), start]
}

/// The start of the history in minutes. It is empty if nothing that the test did was removed, whether
/// or not the service's own first cleanup, which runs a few seconds after its start, has moved it.
fn history_start(time: Option<&prost_types::Timestamp>) -> String {
    minutes(time.filter(|time| time.seconds * 1_000 >= START.as_millis()))
}

/// A request for history. Times are minutes from the start; an absent value is not sent.
#[derive(Clone, Debug, Default)]
struct Query<'a> {
    user: &'a str,
    from: Option<i64>,
    to: Option<i64>,
    parts: &'a [&'a str],
    size: i32,
    token: String,
}

impl Query<'_> {
    fn message(&self) -> ListPresenceHistoryRequest {
        let part = |name: &&str| {
            let name = format!("HISTORY_PART_{}", name.to_uppercase());
            HistoryPart::from_str_name(&name).unwrap().into()
        };
        ListPresenceHistoryRequest {
            user_id: self.user.to_owned(),
            from: self.from.map(at),
            to: self.to.map(at),
            parts: self.parts.iter().map(part).collect(),
            page_size: self.size,
            page_token: self.token.clone(),
        }
    }

    /// The path and query of the same request over HTTP.
    fn path(&self) -> String {
        let mut options = form_urlencoded::Serializer::new(String::new());
        for (name, minutes) in [("from", self.from), ("to", self.to)] {
            if let Some(minutes) = minutes {
                options.append_pair(name, &text(minutes));
            }
        }
        if !self.parts.is_empty() {
            options.append_pair("parts", &self.parts.join(","));
        }
        if self.size != 0 {
            options.append_pair("$top", &self.size.to_string());
        }
        if !self.token.is_empty() {
            options.append_pair("$skiptoken", &self.token);
        }
        format!("/v1.0/users/{}/presence/history?{}", encode(self.user), options.finish())
    }
}

/// A page in a form that both APIs share.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// As in `Busy/InACall 1..31`, newest first; a missing time is empty.
    shown: Vec<String>,
    causes: Vec<String>,
    /// The spans of each interval: see [`span`].
    spans: Vec<Vec<String>>,
    token: String,
    /// The start of the history in minutes; empty if missing.
    start: String,
}

impl Page {
    fn of_message(response: &ListPresenceHistoryResponse) -> Self {
        let intervals = &response.intervals;
        let shown = intervals.iter().map(|interval| {
            let (start, end) = (minutes(interval.start_time.as_ref()), minutes(interval.end_time.as_ref()));
            format!(
                "{} {start}..{end}",
                pair(interval.availability().as_str_name(), interval.activity().as_str_name())
            )
        });
        Self {
            shown: shown.collect(),
            causes: intervals.iter().map(|interval| interval.cause.clone()).collect(),
            spans: intervals.iter().map(|interval| interval.spans.iter().map(span).collect()).collect(),
            token: response.next_page_token.clone(),
            start: history_start(response.history_start_time.as_ref()),
        }
    }

    fn of_json(body: &Value) -> Self {
        let intervals = body["value"].as_array().unwrap();
        let shown = intervals.iter().map(|interval| {
            let [start, end] = ["startDateTime", "endDateTime"].map(|name| json_minutes(&interval[name]));
            format!("{} {start}..{end}", json_pair(interval))
        });
        let spans = |interval: &Value| {
            interval["spans"].as_array().map_or_else(Vec::new, |spans| spans.iter().map(json_span).collect())
        };
        let link = body["@odata.nextLink"].as_str().unwrap_or_default();
        let (_, query) = link.split_once('?').unwrap_or_default();
        let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "$skiptoken");
        Self {
            shown: shown.collect(),
            causes: intervals.iter().map(|interval| interval["cause"].as_str().unwrap().to_owned()).collect(),
            spans: intervals.iter().map(spans).collect(),
            token: token.map_or_else(String::new, |(_, token)| token.into_owned()),
            start: history_start(json_time(&body["historyStartDateTime"]).as_ref()),
        }
    }
}

fn pair(availability: &str, activity: &str) -> String {
    format!("{}/{}", word(availability, "AVAILABILITY_"), word(activity, "ACTIVITY_"))
}

fn json_pair(value: &Value) -> String {
    format!("{}/{}", value["availability"].as_str().unwrap(), value["activity"].as_str().unwrap())
}

/// A span as in `session desk Busy/InACall "bank" 0..60 @0 expired by app for u, ended by …`.
fn span(span: &HistorySpan) -> String {
    let location = |location: &Option<WorkLocation>| {
        location.as_ref().map_or_else(
            || "-".to_owned(),
            |location| {
                word(location.work_location_type().as_str_name(), "WORK_LOCATION_TYPE_").to_lowercase()
            },
        )
    };
    let part = word(span.part().as_str_name(), "HISTORY_PART_").to_lowercase();
    let value = match span.part() {
        HistoryPart::Session => {
            format!(
                "{} {}{}",
                span.session_id.as_ref().unwrap(),
                pair(span.availability().as_str_name(), span.activity().as_str_name()),
                quoted(span.content.as_deref())
            )
        }
        HistoryPart::Preference => pair(span.availability().as_str_name(), span.activity().as_str_name()),
        HistoryPart::Message => format!("{:?}", span.content.as_ref().unwrap()),
        _ => format!("{}+{}", location(&span.manual_location), location(&span.automatic_location)),
    };
    let (start, end) = (minutes(span.start_time.as_ref()), minutes(span.end_time.as_ref()));
    let mut words = format!("{part} {value} {start}..{end} @{}", minutes(span.set_time.as_ref()));
    let reason = word(span.end_reason().as_str_name(), "END_REASON_").to_lowercase();
    if reason != "unspecified" {
        write!(words, " {reason}").unwrap();
    }
    authors(
        &mut words,
        [&span.set_by_application, &span.set_by_user, &span.ended_by_application, &span.ended_by_user]
            .map(Option::as_deref),
    );
    words
}

fn json_span(span: &Value) -> String {
    let location = |name: &str| span[name]["workLocationType"].as_str().unwrap_or("-").to_lowercase();
    let part = span["part"].as_str().unwrap();
    let value = match part {
        "session" => {
            let text = quoted(span["content"].as_str());
            format!("{} {}{text}", span["sessionId"].as_str().unwrap(), json_pair(span))
        }
        "preference" => json_pair(span),
        "message" => format!("{:?}", span["content"].as_str().unwrap()),
        _ => format!("{}+{}", location("manualLocation"), location("automaticLocation")),
    };
    let [start, end, set] =
        ["startDateTime", "endDateTime", "setDateTime"].map(|name| json_minutes(&span[name]));
    let mut words = format!("{part} {value} {start}..{end} @{set}");
    if let Some(reason) = span["endReason"].as_str() {
        write!(words, " {reason}").unwrap();
    }
    let names = ["setByApplication", "setByUser", "endedByApplication", "endedByUser"];
    authors(&mut words, names.map(|name| span[name].as_str()));
    words
}

/// The text of a session, if it has one.
fn quoted(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" {text:?}"))
}

fn authors(words: &mut String, names: [Option<&str>; 4]) {
    for (label, name) in ["by", "for", "ended by", "ended for"].into_iter().zip(names) {
        if let Some(name) = name {
            write!(words, " {label} {name}").unwrap();
        }
    }
}

/// Asks both APIs, which must agree.
async fn page(api: &TestApi, query: &Query<'_>) -> Page {
    let message = list(api, query).await.unwrap();
    let response = get(api, &query.path()).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let page = Page::of_message(&message);
    assert_eq!(page, Page::of_json(&response.body), "{query:?}");
    page
}

async fn list(api: &TestApi, query: &Query<'_>) -> Result<ListPresenceHistoryResponse, Status> {
    let mut grpc = grpc(api.server.addresses);
    grpc.list_presence_history(query.message()).await.map(tonic::Response::into_inner)
}

/// Gets a path over HTTP, and checks the response against the OpenAPI document.
async fn get(api: &TestApi, path: &str) -> JsonResponse {
    let response = api.get(path).await;
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    contract::check(
        "get",
        path,
        response.status,
        response.header("content-type"),
        &response.body.to_string(),
    );
    response
}
