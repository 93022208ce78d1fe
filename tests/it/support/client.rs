//! A client of either API, for tests that run the same calls through both.

use std::{net::SocketAddr, time::Duration};

use presenced::{
    grpc::pb::{
        BatchGetPresencesRequest, ClearAutomaticLocationRequest, ClearLocationRequest, ClearPresenceRequest,
        ClearUserPreferredPresenceRequest, GetPresenceRequest, SetAutomaticLocationRequest,
        SetManualLocationRequest, SetPresenceRequest, SetStatusMessageRequest,
        SetUserPreferredPresenceRequest, WorkLocationType, presence_service_client::PresenceServiceClient,
    },
    presence::{Timestamp, parse_duration, parse_zoned_time},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use super::{contract, words::number_of};

pub use super::words::{activity_number, availability_number, json_words, word, words};

/// The API that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Grpc,
    Http,
}

/// The result of a call, in a form that both APIs share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// For each user: the id, availability and activity, and the status message and work
    /// location if they are set, as in `u Busy/InACall "Hi" Office@desk-1 Manual`.
    Presences(Vec<String>),
    /// The number of users, and that of users that were read for it.
    Counted(i64, i64),
    NotFound,
    /// The names of the invalid fields, in order, as the proto spells them.
    Invalid(Vec<String>),
    Unavailable,
    /// The session reflects a later observation.
    Stale,
    /// The user has too many live sessions.
    NoRoom,
}

/// A connection to one server, through one API.
#[derive(Clone)]
pub enum Client {
    Grpc(PresenceServiceClient<Channel>),
    Http(reqwest::Client, String),
}

impl Client {
    /// Makes a client that connects on its first call.
    pub fn new(api: Api, grpc: SocketAddr, http: SocketAddr) -> Self {
        match api {
            Api::Grpc => {
                let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
                Self::Grpc(PresenceServiceClient::new(channel))
            }
            Api::Http => Self::Http(reqwest::Client::new(), format!("http://{http}/v1.0")),
        }
    }

    /// Sets a session. An empty argument is not sent. The duration is in ISO 8601.
    pub async fn set(&self, user: &str, session: &str, pair: &str, expiration: &str) -> Outcome {
        self.set_with((user, session, pair), expiration, None, "").await
    }

    /// Like [`Self::set`], with a time of observation.
    pub async fn set_observed(
        &self,
        user: &str,
        session: &str,
        pair: &str,
        expiration: &str,
        observed: Option<Timestamp>,
    ) -> Outcome {
        self.set_with((user, session, pair), expiration, observed, "").await
    }

    /// Sets a session with a text for an hour.
    pub async fn set_text(&self, user: &str, session: &str, pair: &str, text: &str) -> Outcome {
        self.set_with((user, session, pair), "PT1H", None, text).await
    }

    async fn set_with(
        &self,
        (user, session, pair): (&str, &str, &str),
        expiration: &str,
        observed: Option<Timestamp>,
        text: &str,
    ) -> Outcome {
        let (availability, activity) = pair.split_once('/').unwrap_or((pair, ""));
        match self {
            Self::Grpc(client) => {
                let request = SetPresenceRequest {
                    user_id: user.to_owned(),
                    session_id: session.to_owned(),
                    availability: availability_number(availability),
                    activity: activity_number(activity),
                    expiration_duration: proto_duration(expiration),
                    observed_time: observed.map(proto_time),
                    message: text.to_owned(),
                };
                done(client.clone().set_presence(request).await)
            }
            Self::Http(http, base) => {
                let body = given(&[
                    ("sessionId", session),
                    ("availability", availability),
                    ("activity", activity),
                    ("expirationDuration", expiration),
                    ("observedDateTime", &observed.map(|at| at.to_string()).unwrap_or_default()),
                    ("message", text),
                ]);
                act(http, base, user, "setPresence", &body).await
            }
        }
    }

    /// Sets the preferred presence. An empty argument is not sent.
    pub async fn prefer(&self, user: &str, pair: &str, expiration: &str) -> Outcome {
        let (availability, activity) = pair.split_once('/').unwrap_or((pair, ""));
        match self {
            Self::Grpc(client) => {
                let request = SetUserPreferredPresenceRequest {
                    user_id: user.to_owned(),
                    availability: availability_number(availability),
                    activity: activity_number(activity),
                    expiration_duration: proto_duration(expiration),
                };
                done(client.clone().set_user_preferred_presence(request).await)
            }
            Self::Http(http, base) => {
                let fields = [
                    ("availability", availability),
                    ("activity", activity),
                    ("expirationDuration", expiration),
                ];
                act(http, base, user, "setUserPreferredPresence", &given(&fields)).await
            }
        }
    }

    pub async fn clear_preferred(&self, user: &str) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let request = ClearUserPreferredPresenceRequest { user_id: user.to_owned() };
                done(client.clone().clear_user_preferred_presence(request).await)
            }
            Self::Http(http, base) => act(http, base, user, "clearUserPreferredPresence", &json!({})).await,
        }
    }

    /// Sets a status message that expires at a time in UTC, or never if that is empty.
    pub async fn say(&self, user: &str, content: &str, ends: &str) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let expire_time =
                    (!ends.is_empty()).then(|| proto_time(parse_zoned_time(ends, None).unwrap()));
                let request = SetStatusMessageRequest {
                    user_id: user.to_owned(),
                    content: content.to_owned(),
                    expire_time,
                };
                done(client.clone().set_status_message(request).await)
            }
            Self::Http(http, base) => {
                let mut message = json!({ "message": { "content": content, "contentType": "text" } });
                if !ends.is_empty() {
                    message["expiryDateTime"] = json!({ "dateTime": ends, "timeZone": "UTC" });
                }
                act(http, base, user, "setStatusMessage", &json!({ "statusMessage": message })).await
            }
        }
    }

    /// Sets the manual or the automatic location, for example `Office@desk-1`.
    pub async fn locate(&self, user: &str, location: &str, manual: bool) -> Outcome {
        let (kind, place) = location.split_once('@').unwrap_or((location, ""));
        match self {
            Self::Grpc(client) => {
                let kinds = (1..99).filter_map(|number| WorkLocationType::try_from(number).ok());
                let kinds = kinds.map(|value| (value.into(), value.as_str_name()));
                let (user_id, place_id) = (user.to_owned(), place.to_owned());
                let work_location_type = number_of(kind, kinds, "WORK_LOCATION_TYPE_");
                if manual {
                    let request = SetManualLocationRequest { user_id, work_location_type, place_id };
                    done(client.clone().set_manual_location(request).await)
                } else {
                    let request = SetAutomaticLocationRequest { user_id, work_location_type, place_id };
                    done(client.clone().set_automatic_location(request).await)
                }
            }
            Self::Http(http, base) => {
                let action = if manual { "setManualLocation" } else { "setAutomaticLocation" };
                act(http, base, user, action, &given(&[("workLocationType", kind), ("placeId", place)])).await
            }
        }
    }

    /// Clears both locations, or only the automatic one.
    pub async fn clear_location(&self, user: &str, both: bool) -> Outcome {
        let user_id = user.to_owned();
        match self {
            Self::Grpc(client) if both => {
                done(client.clone().clear_location(ClearLocationRequest { user_id }).await)
            }
            Self::Grpc(client) => {
                done(client.clone().clear_automatic_location(ClearAutomaticLocationRequest { user_id }).await)
            }
            Self::Http(http, base) => {
                let action = if both { "clearLocation" } else { "clearAutomaticLocation" };
                act(http, base, user, action, &json!({})).await
            }
        }
    }

    pub async fn clear(&self, user: &str, session: &str) -> Outcome {
        self.clear_observed(user, session, None).await
    }

    /// Like [`Self::clear`], with a time of observation.
    pub async fn clear_observed(&self, user: &str, session: &str, observed: Option<Timestamp>) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let request = ClearPresenceRequest {
                    user_id: user.to_owned(),
                    session_id: session.to_owned(),
                    observed_time: observed.map(proto_time),
                };
                done(client.clone().clear_presence(request).await)
            }
            Self::Http(http, base) => {
                let observed = observed.map(|at| at.to_string()).unwrap_or_default();
                let body = given(&[("sessionId", session), ("observedDateTime", &observed)]);
                act(http, base, user, "clearPresence", &body).await
            }
        }
    }

    pub async fn get(&self, user: &str) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let request = GetPresenceRequest { user_id: user.to_owned(), ..Default::default() };
                match client.clone().get_presence(request).await {
                    Ok(response) => {
                        Outcome::Presences(response.into_inner().presence.iter().map(words).collect())
                    }
                    Err(status) => refused(&status),
                }
            }
            Self::Http(http, base) => {
                let url = format!("{base}/users/{}/presence", encode(user));
                read("get", http.get(url).send().await.unwrap()).await
            }
        }
    }

    pub async fn batch_get(&self, users: &[&str]) -> Outcome {
        match self {
            Self::Grpc(client) => {
                let user_ids = users.iter().map(ToString::to_string).collect();
                match client
                    .clone()
                    .batch_get_presences(BatchGetPresencesRequest { user_ids, ..Default::default() })
                    .await
                {
                    Ok(response) => {
                        Outcome::Presences(response.into_inner().presences.iter().map(words).collect())
                    }
                    Err(status) => refused(&status),
                }
            }
            Self::Http(http, base) => {
                let body = json!({ "ids": users });
                post(http, &format!("{base}/communications/getPresencesByUserId"), &body).await
            }
        }
    }
}

/// Converts an ISO 8601 duration. One that is invalid becomes a negative `Duration`, since
/// a message cannot hold it.
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

/// Converts a time to a message.
pub fn proto_time(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

fn done<T>(result: Result<tonic::Response<T>, Status>) -> Outcome {
    result.map_or_else(|status| refused(&status), |_| Outcome::Done)
}

pub(super) fn refused(status: &Status) -> Outcome {
    match status.code() {
        Code::NotFound => Outcome::NotFound,
        Code::Unavailable => Outcome::Unavailable,
        Code::FailedPrecondition if reason(status) == "ERROR_REASON_STALE_WRITE" => Outcome::Stale,
        Code::ResourceExhausted if reason(status) == "ERROR_REASON_TOO_MANY_SESSIONS" => Outcome::NoRoom,
        Code::InvalidArgument => {
            let fields = status.get_details_bad_request().expect("every INVALID_ARGUMENT names its fields");
            Outcome::Invalid(fields.field_violations.into_iter().map(|violation| violation.field).collect())
        }
        _ => panic!("{status:?}"),
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error has a reason").reason
}

/// The properties that are not empty.
fn given(properties: &[(&str, &str)]) -> Value {
    let given = properties.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect::<Map<_, _>>().into()
}

/// Posts an action on a user's presence.
async fn act(http: &reqwest::Client, base: &str, user: &str, action: &str, body: &Value) -> Outcome {
    post(http, &format!("{base}/users/{}/presence/{action}", encode(user)), body).await
}

async fn post(http: &reqwest::Client, url: &str, body: &Value) -> Outcome {
    read("post", http.post(url).json(body).send().await.unwrap()).await
}

async fn read(method: &str, response: reqwest::Response) -> Outcome {
    let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    outcome(method, &path, status, content_type.as_deref(), &response.text().await.unwrap())
}

/// The outcome in a response, which is checked against the OpenAPI document.
pub(super) fn outcome(
    method: &str,
    path: &str,
    status: u16,
    content_type: Option<&str>,
    text: &str,
) -> Outcome {
    contract::check(method, path, status, content_type, text);
    if text.is_empty() {
        assert!(status == 200 || status == 204, "only a successful response has no body");
        return Outcome::Done;
    }
    let body: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{status}: {text}"));
    match (status, body["error"]["code"].as_str()) {
        (200, None) => match body["value"].as_array() {
            Some(presences) => Outcome::Presences(presences.iter().map(json_words).collect()),
            None => Outcome::Presences(vec![json_words(&body)]),
        },
        (404, Some("NotFound")) => Outcome::NotFound,
        (503, Some("serviceNotAvailable")) => Outcome::Unavailable,
        (412, Some("PreconditionFailed")) => Outcome::Stale,
        (429, Some("TooManyRequests")) if text.contains("live sessions") => Outcome::NoRoom,
        (400, Some("InvalidArgument")) => {
            let targets = body["error"]["details"].as_array().unwrap().iter();
            Outcome::Invalid(targets.map(|detail| snake(detail["target"].as_str().unwrap())).collect())
        }
        _ => panic!("{status} {body}"),
    }
}

/// Converts Graph's name of a field to the proto's.
fn snake(name: &str) -> String {
    match name {
        "id" => "user_id".to_owned(),
        "$filter" => "availabilities".to_owned(),
        "$top" => "page_size".to_owned(),
        "$skiptoken" => "page_token".to_owned(),
        "statusMessage.message.content" => "content".to_owned(),
        "statusMessage.expiryDateTime.dateTime" => "expire_time".to_owned(),
        "observedDateTime" => "observed_time".to_owned(),
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

/// Encodes a user id as a path segment.
pub fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
