//! Random bodies with one property respelt, misspelt, dropped or doubled: no input is dropped in
//! silence.

use std::{collections::BTreeMap, fmt::Write};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::Value;

use crate::support::{database::Engine, number, server::Server};

/// A JSON value. Objects may have a property twice.
#[derive(Clone, Debug)]
enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    /// Any other value as text.
    Other(String),
}

/// The change of one property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Respelt,
    Misspelt,
    Dropped,
    Doubled,
}

/// A request to an action, whose texts have `USER` in place of the user.
#[derive(Debug)]
struct Case {
    path: &'static str,
    original: String,
    changed: String,
    change: Change,
    /// The path to the changed property, as it is spelt.
    name: String,
}

/// The part of a response that matters.
#[derive(Debug)]
struct Outcome {
    status: u64,
    ignored: String,
    /// The body of a read.
    read: Value,
}

fn text(text: &str) -> Json {
    Json::Other(format!("{text:?}"))
}

fn object<const N: usize>(properties: [(&str, Json); N]) -> Json {
    Json::Object(properties.map(|(name, value)| (name.to_owned(), value)).into())
}

impl Json {
    fn write(&self, json: &mut String) {
        match self {
            Self::Other(text) => json.push_str(text),
            Self::List(values) => {
                json.push('[');
                for (index, value) in values.iter().enumerate() {
                    json.push_str(if index > 0 { "," } else { "" });
                    value.write(json);
                }
                json.push(']');
            }
            Self::Object(properties) => {
                json.push('{');
                for (index, (name, value)) in properties.iter().enumerate() {
                    write!(json, "{}{name:?}:", if index > 0 { "," } else { "" }).unwrap();
                    value.write(json);
                }
                json.push('}');
            }
        }
    }

    fn text(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    /// Adds the way to each object in this value: the indexes of properties and elements.
    fn objects(&self, way: &[usize], ways: &mut Vec<Vec<usize>>) {
        let nested: Vec<&Self> = match self {
            Self::Other(_) => return,
            Self::List(values) => values.iter().collect(),
            Self::Object(properties) => {
                ways.push(way.to_vec());
                properties.iter().map(|(_, value)| value).collect()
            }
        };
        for (index, value) in nested.into_iter().enumerate() {
            value.objects(&[way, &[index]].concat(), ways);
        }
    }

    /// The properties of an object, and its name in errors.
    fn object_at(&mut self, way: &[usize], name: String) -> (&mut Vec<(String, Self)>, String) {
        match (self, way) {
            (Self::Object(properties), []) => (properties, name),
            (Self::Object(properties), [index, way @ ..]) => {
                let (property, value) = &mut properties[*index];
                let name = match property.as_str() {
                    // The body of an item is read by the item's operation.
                    "body" => String::new(),
                    _ if name.is_empty() => property.clone(),
                    _ => format!("{name}.{property}"),
                };
                value.object_at(way, name)
            }
            (Self::List(values), [index, way @ ..]) => {
                values[*index].object_at(way, format!("{name}[{index}]"))
            }
            (other, _) => panic!("no object: {other:?}"),
        }
    }
}

/// A random request.
fn request(random: &mut Rng) -> (&'static str, Json) {
    let actions = [
        "setPresence",
        "clearPresence",
        "setUserPreferredPresence",
        "setStatusMessage",
        "setManualLocation",
        "setAutomaticLocation",
        "getPresencesByUserId",
        "clearUserPreferredPresence",
        "clearLocation",
        "clearAutomaticLocation",
        "$batch",
    ];
    let action = random.choice(actions).unwrap();
    (action, body(action, random))
}

fn body(action: &str, random: &mut Rng) -> Json {
    let duration = |random: &mut Rng| text(&format!("PT{}M", random.u8(1..120)));
    let mut body = match action {
        "setPresence" => object([
            ("sessionId", text("app")),
            ("availability", text("Busy")),
            ("activity", text(random.choice(["InACall", "InAConferenceCall", "Other"]).unwrap())),
            ("expirationDuration", duration(random)),
        ]),
        "clearPresence" => object([("sessionId", text("app"))]),
        "setUserPreferredPresence" => object([
            ("availability", text("Away")),
            ("activity", text("Away")),
            ("expirationDuration", duration(random)),
        ]),
        "setStatusMessage" => {
            let message = object([("content", text("Hi")), ("contentType", text("text"))]);
            let ends =
                object([("dateTime", text("2036-11-22T06:00:00")), ("timeZone", text("Europe/Berlin"))]);
            object([("statusMessage", object([("message", message), ("expiryDateTime", ends)]))])
        }
        "setManualLocation" | "setAutomaticLocation" => {
            object([("workLocationType", text("remote")), ("placeId", text("place"))])
        }
        "getPresencesByUserId" => object([("ids", Json::List(vec![text("USER")]))]),
        "$batch" => {
            let action = random.choice(["setPresence", "setStatusMessage", "setManualLocation"]).unwrap();
            object([(
                "requests",
                Json::List(vec![object([
                    ("id", text("1")),
                    ("method", text("POST")),
                    ("url", text(&format!("/users/USER/presence/{action}"))),
                    ("headers", Json::Other(r#"{"Content-Type":"application/json"}"#.to_owned())),
                    ("dependsOn", Json::List(Vec::new())),
                    ("body", self::body(action, random)),
                ])]),
            )])
        }
        _ => object([]),
    };
    if let Json::Object(properties) = &mut body {
        random.shuffle(properties);
    }
    body
}

/// Flips the case of at least one letter.
fn respell(name: &str, random: &mut Rng) -> String {
    loop {
        let flip = |letter: char| match random.bool() {
            true if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
            true => letter.to_ascii_lowercase(),
            false => letter,
        };
        let respelt: String = name.chars().map(flip).collect();
        if respelt != name {
            return respelt;
        }
    }
}

/// Changes one letter, so that the name is that of no property.
fn misspell(name: &str, random: &mut Rng) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = random.usize(..letters.len());
    match random.u8(..3) {
        0 => letters.insert(at, random.lowercase()),
        1 if letters.len() > 2 => drop(letters.remove(at)),
        _ => letters[at] = random.choice(['_', '-', '0', 'x', '$']).unwrap(),
    }
    let misspelt: String = letters.into_iter().collect();
    if misspelt.eq_ignore_ascii_case(name) { format!("{name}x") } else { misspelt }
}

fn case(random: &mut Rng) -> Case {
    let (path, mut body) = request(random);
    let original = body.text();
    let mut objects = Vec::new();
    body.objects(&[], &mut objects);
    let (properties, path_to) = body.object_at(&random.choice(objects).unwrap(), String::new());
    let mut change =
        random.choice([Change::Respelt, Change::Misspelt, Change::Dropped, Change::Doubled]).unwrap();
    if properties.is_empty() {
        change = Change::Misspelt;
        properties.push(("nothing".to_owned(), Json::Other("1".to_owned())));
    }
    let at = random.usize(..properties.len());
    let mut name = properties[at].0.clone();
    match change {
        Change::Dropped => drop(properties.remove(at)),
        Change::Doubled => {
            let twin = (respell(&name, random), properties[at].1.clone());
            properties.insert(random.usize(..=properties.len()), twin);
        }
        Change::Respelt => properties[at].0 = respell(&name, random),
        Change::Misspelt => properties[at].0 = misspell(&name, random),
    }
    if change == Change::Misspelt {
        name.clone_from(&properties[at].0);
    }
    let name = if path_to.is_empty() { name } else { format!("{path_to}.{name}") };
    Case { path, original, changed: body.text(), change, name }
}

/// Sends a body for a user. The outcome of a batch is that of its item, if it has run.
/// Sends a body. On a busy machine the database may be unavailable for a moment.
async fn send(http: &Client, root: &str, case: &Case, body: &str, user: &str, strict: bool) -> Outcome {
    loop {
        let outcome = send_once(http, root, case, body, user, strict).await;
        if outcome.status != 503 {
            return outcome;
        }
    }
}

async fn send_once(http: &Client, root: &str, case: &Case, body: &str, user: &str, strict: bool) -> Outcome {
    let path = match case.path {
        "$batch" => "$batch".to_owned(),
        "getPresencesByUserId" => "communications/getPresencesByUserId".to_owned(),
        action => format!("users/{user}/presence/{action}"),
    };
    let mut request = http.post(format!("{root}/v1.0/{path}")).body(body.replace("USER", user));
    if strict {
        request = request.header("prefer", "handling=strict");
    }
    let response = request.send().await.unwrap();
    let mut status = u64::from(response.status().as_u16());
    let header = response.headers().get("presence-ignored").map(|names| names.to_str().unwrap().to_owned());
    let mut ignored = header.unwrap_or_default();
    let text = response.text().await.unwrap();
    let mut read: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    if case.path == "$batch" && status == 200 {
        let item = &read["responses"][0];
        status = item["status"].as_u64().unwrap();
        ignored.push_str(item["headers"]["presence-ignored"].as_str().unwrap_or_default());
        read = Value::Null;
    } else if status != 200 {
        read = Value::Null;
    }
    Outcome { status, ignored, read }
}

/// Everything that is stored of a user, without its id.
async fn stored(http: &Client, root: &str, user: &str) -> String {
    let path = format!("{root}/v1.0/users/{user}/presence/explain");
    let mut response = http.get(&path).send().await.unwrap();
    while response.status() == 503 {
        response = http.get(&path).send().await.unwrap();
    }
    let mut read: Value = response.json().await.unwrap();
    assert_eq!(read["presence"]["id"], user);
    let presence = read["presence"].as_object_mut().unwrap();
    // The history begins with the first cleanup, and a write that was repeated after a 503 moves the
    // number.
    presence.remove("historyStartDateTime");
    presence.remove("sequenceNumber");
    // Its text names the start of the history; the other properties have the same facts.
    read.as_object_mut().unwrap().remove("explanation");
    read.to_string().replace(user, "USER")
}

async fn check(http: &Client, root: &str, case: &Case, number: usize) -> (Change, u64) {
    let (changed, original) = (format!("changed-{number}"), format!("original-{number}"));
    let strict = send(http, root, case, &case.changed, &format!("strict-{number}"), true).await;
    let outcome = send(http, root, case, &case.changed, &changed, false).await;
    assert_eq!(strict.ignored, "", "strict handling ignores nothing: {case:?}");
    match case.change {
        Change::Misspelt => {
            assert_eq!(outcome.ignored, case.name, "{case:?}");
            assert_eq!(strict.status, 400, "{case:?}");
        }
        Change::Doubled => {
            assert_eq!((outcome.status, strict.status), (400, 400), "{case:?}");
            assert_eq!(outcome.ignored, "", "{case:?}");
        }
        Change::Dropped => {
            assert_eq!((outcome.status, &*outcome.ignored), (strict.status, ""), "{case:?}");
        }
        Change::Respelt => {
            let as_written = send(http, root, case, &case.original, &original, false).await;
            assert_eq!((outcome.status, &*outcome.ignored), (as_written.status, ""), "{case:?}");
            assert_eq!(outcome.status, strict.status, "{case:?}");
            let read = |outcome: &Outcome, user: &str| outcome.read.to_string().replace(user, "USER");
            assert_eq!(read(&outcome, &changed), read(&as_written, &original), "{case:?}");
            let both = (stored(http, root, &changed).await, stored(http, root, &original).await);
            assert_eq!(both.0, both.1, "{case:?}");
        }
    }
    (case.change, outcome.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_with_a_changed_property_is_ignored_in_silence() {
    let cases = number("PRESENCE_TEST_BODY_CASES", 10_000);
    let seed = u64::try_from(number("PRESENCE_TEST_BODY_SEED", fastrand::usize(..))).unwrap();
    println!("PRESENCE_TEST_BODY_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let server = Server::start(Engine::Sqlite).await;
    let (http, root) = (Client::new(), server.graph());
    let cases: Vec<_> = (0..cases).map(|_| case(&mut random)).collect();
    let checks = stream::iter(cases.iter().enumerate());
    let checks = checks.map(|(index, case)| check(&http, &root, case, index));
    let outcomes: Vec<_> = checks.buffer_unordered(32).collect().await;
    let mut numbers = BTreeMap::<_, usize>::new();
    for outcome in outcomes {
        *numbers.entry(outcome).or_default() += 1;
    }
    println!("{} bodies, of which by change and status: {numbers:?}", cases.len());
    server.stop().await;
}
