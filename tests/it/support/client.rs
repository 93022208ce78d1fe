//! A user of the service at either door, for tests that do not care which.

use std::{net::SocketAddr, time::Duration};

use presenced::{
    grpc::pb::{
        self, Activity, Availability, BatchGetPresencesRequest, ClearPresenceRequest, GetPresenceRequest,
        SetPresenceRequest, presence_service_client::PresenceServiceClient,
    },
    presence::parse_duration,
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// Which door to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    Graph,
}

/// What came of a call, in words that both doors share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// `id availability/activity` of each user.
    Presences(Vec<String>),
    NotFound,
    /// The names of the wrong fields, as the proto spells them, in order.
    Invalid(Vec<String>),
    Unavailable,
}

/// A connection to one server through one door.
#[derive(Clone)]
pub enum Client {
    Grpc(PresenceServiceClient<Channel>),
    Graph(reqwest::Client, String),
}

impl Client {
    /// Connects on the first call.
    pub fn new(door: Door, grpc: SocketAddr, http: SocketAddr) -> Self {
        match door {
            Door::Grpc => {
                let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
                Self::Grpc(PresenceServiceClient::new(channel))
            }
            Door::Graph => Self::Graph(reqwest::Client::new(), format!("http://{http}/v1.0")),
        }
    }

    /// Sets a session; `""` is not given, a duration is in ISO 8601.
    pub async fn set(&self, user: &str, session: &str, pair: &str, expiration: &str) -> Outcome {
        let (availability, activity) = pair.split_once('/').unwrap_or((pair, ""));
        match self {
            Self::Grpc(client) => {
                let request = SetPresenceRequest {
                    user_id: user.to_owned(),
                    session_id: session.to_owned(),
                    availability: availability_number(availability),
                    activity: activity_number(activity),
                    expiration_duration: proto_duration(expiration),
                };
                done(client.clone().set_presence(request).await)
            }
            Self::Graph(http, base) => {
                let mut body = json!({});
                for (name, value) in [
                    ("sessionId", session),
                    ("availability", availability),
                    ("activity", activity),
                    ("expirationDuration", expiration),
                ] {
                    if !value.is_empty() {
                        body[name] = value.into();
                    }
                }
                post(http, &format!("{base}/users/{}/presence/setPresence", encode(user)), &body).await
            }
        }
    }

    pub async fn clear(&self, user: &str, session: &str) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let request =
                    ClearPresenceRequest { user_id: user.to_owned(), session_id: session.to_owned() };
                done(client.clone().clear_presence(request).await)
            }
            Self::Graph(http, base) => {
                let body = if session.is_empty() { json!({}) } else { json!({ "sessionId": session }) };
                post(http, &format!("{base}/users/{}/presence/clearPresence", encode(user)), &body).await
            }
        }
    }

    pub async fn get(&self, user: &str) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let request = GetPresenceRequest { user_id: user.to_owned() };
                match client.clone().get_presence(request).await {
                    Ok(answer) => {
                        Outcome::Presences(answer.into_inner().presence.iter().map(words).collect())
                    }
                    Err(status) => refused(&status),
                }
            }
            Self::Graph(http, base) => {
                let answer =
                    http.get(format!("{base}/users/{}/presence", encode(user))).send().await.unwrap();
                outcome(answer).await
            }
        }
    }

    pub async fn batch_get(&self, users: &[&str]) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let user_ids = users.iter().map(ToString::to_string).collect();
                match client.clone().batch_get_presences(BatchGetPresencesRequest { user_ids }).await {
                    Ok(answer) => {
                        Outcome::Presences(answer.into_inner().presences.iter().map(words).collect())
                    }
                    Err(status) => refused(&status),
                }
            }
            Self::Graph(http, base) => {
                let body = json!({ "ids": users });
                post(http, &format!("{base}/communications/getPresencesByUserId"), &body).await
            }
        }
    }
}

/// What a user is shown as, e.g. `u Busy/InACall`.
pub fn words(presence: &pb::Presence) -> String {
    let name = |name: &str, prefix: &str| pascal(name.strip_prefix(prefix).unwrap());
    let availability = name(presence.availability().as_str_name(), "AVAILABILITY_");
    let activity = name(presence.activity().as_str_name(), "ACTIVITY_");
    format!("{} {availability}/{activity}", presence.user_id)
}

/// `IN_A_CALL` as `InACall`.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

/// 0 for nothing, 99 for a word that is none.
pub fn availability_number(word: &str) -> i32 {
    let all = (1..99).filter_map(|number| Availability::try_from(number).ok());
    number_of(word, all.map(|value| (value.into(), value.as_str_name())), "AVAILABILITY_")
}

/// 0 for nothing, 99 for a word that is none.
pub fn activity_number(word: &str) -> i32 {
    let all = (1..99).filter_map(|number| Activity::try_from(number).ok());
    number_of(word, all.map(|value| (value.into(), value.as_str_name())), "ACTIVITY_")
}

fn number_of(word: &str, mut all: impl Iterator<Item = (i32, &'static str)>, prefix: &str) -> i32 {
    if word.is_empty() {
        return 0;
    }
    let found = all.find(|(_, name)| pascal(name.strip_prefix(prefix).unwrap()).eq_ignore_ascii_case(word));
    found.map_or(99, |(number, _)| number)
}

/// What has no length, or a negative one, becomes a negative Duration: there
/// is no other way to say it.
fn proto_duration(text: &str) -> Option<prost_types::Duration> {
    if text.is_empty() {
        return None;
    }
    let negative = prost_types::Duration { seconds: -300, nanos: 0 };
    let whole = |duration: Duration| prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap(),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap(),
    };
    Some(parse_duration(text).map_or(negative, whole))
}

fn done<T>(answer: Result<tonic::Response<T>, Status>) -> Outcome {
    answer.map_or_else(|status| refused(&status), |_| Outcome::Done)
}

fn refused(status: &Status) -> Outcome {
    match status.code() {
        Code::NotFound => Outcome::NotFound,
        Code::Unavailable => Outcome::Unavailable,
        Code::InvalidArgument => {
            let fields = status.get_details_bad_request().expect("every INVALID_ARGUMENT names its fields");
            Outcome::Invalid(fields.field_violations.into_iter().map(|violation| violation.field).collect())
        }
        _ => panic!("{status:?}"),
    }
}

async fn post(http: &reqwest::Client, url: &str, body: &Value) -> Outcome {
    outcome(http.post(url).json(body).send().await.unwrap()).await
}

async fn outcome(answer: reqwest::Response) -> Outcome {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    if text.is_empty() {
        assert_eq!(status, 200, "only a success has no body");
        return Outcome::Done;
    }
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    let presence = |body: &Value| {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        format!("{} {}/{}", text("id"), text("availability"), text("activity"))
    };
    match (status, body["error"]["code"].as_str()) {
        (200, None) => match body["value"].as_array() {
            Some(presences) => Outcome::Presences(presences.iter().map(presence).collect()),
            None => Outcome::Presences(vec![presence(&body)]),
        },
        (404, Some("NotFound")) => Outcome::NotFound,
        (503, Some("serviceNotAvailable")) => Outcome::Unavailable,
        (400, Some("InvalidArgument")) => {
            let targets = body["error"]["details"].as_array().unwrap().iter();
            Outcome::Invalid(targets.map(|detail| snake(detail["target"].as_str().unwrap())).collect())
        }
        _ => panic!("{status} {body}"),
    }
}

/// Graph's name of a field as the proto spells it.
fn snake(name: &str) -> String {
    match name {
        "id" => "user_id".to_owned(),
        _ if name.starts_with("ids") => name.replacen("ids", "user_ids", 1),
        _ => name.chars().fold(String::new(), |mut snake, letter| {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
            snake
        }),
    }
}

/// A user id as a segment of a path.
pub fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
