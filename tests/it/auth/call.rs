//! Every operation of both APIs as bytes, so that one function can call each of them.

use presenced::{
    app::Addresses,
    grpc::pb::{
        Activity, Availability, BatchClearPresencesRequest, BatchGetPresencesRequest,
        BatchSetPresencesRequest, ClearPresenceRequest, GetPresenceRequest, SetManualLocationRequest,
        SetPresenceRequest, SetStatusMessageRequest, SetUserPreferredPresenceRequest, WaitForPresenceRequest,
        WorkLocationType,
    },
};
use prost::Message;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::support::tokens::APP;

/// The permission that an operation requires, by the groups of `docs/api.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Read,
    ReadMany,
    ReadWhole,
    Write,
    WriteChoice,
    Clear,
    /// Clear the session of another application.
    ClearOther,
    /// Export or erase a user.
    Manage,
    /// See and end subscriptions.
    Subscriptions,
}

/// One operation of one API, for a user.
pub struct Call {
    pub name: &'static str,
    pub class: Class,
    /// Whether the request names a session.
    pub of_session: bool,
    pub request: Request,
}

pub enum Request {
    /// The message; the method is the call's name.
    Grpc(Vec<u8>),
    /// The method, the path after the version, and the body.
    Http(Method, String, Value),
}

/// Every operation of both APIs for `user`, and for its `session` where one is named.
pub fn all(user: &str, session: &str) -> Vec<Call> {
    let mut calls = grpc(user, session);
    calls.extend(http(user, session));
    calls
}

/// The class of `ClearPresence` for a session.
fn clear(session: &str) -> Class {
    if session == APP { Class::Clear } else { Class::ClearOther }
}

fn grpc(user: &str, session: &str) -> Vec<Call> {
    let (user_id, session_id) = (user.to_owned(), session.to_owned());
    let set = SetPresenceRequest {
        user_id: user_id.clone(),
        session_id,
        availability: Availability::Busy.into(),
        activity: Activity::InACall.into(),
        expiration_duration: None,
        ..Default::default()
    };
    let prefer = SetUserPreferredPresenceRequest {
        user_id: user_id.clone(),
        availability: Availability::Busy.into(),
        activity: Activity::Busy.into(),
        expiration_duration: None,
    };
    let say = SetStatusMessageRequest { user_id: user_id.clone(), content: "Hi".into(), expire_time: None };
    let silence = SetStatusMessageRequest { content: String::new(), ..say.clone() }.encode_to_vec();
    let (work_location_type, place_id) = (WorkLocationType::Office.into(), String::new());
    let locate = SetManualLocationRequest { user_id: user_id.clone(), work_location_type, place_id };
    // Messages with a user alone, or with a user and a session, share these fields.
    let of_user = GetPresenceRequest { user_id: user_id.clone(), ..Default::default() }.encode_to_vec();
    let of_session = SetPresenceRequest { availability: 0, activity: 0, ..set.clone() }.encode_to_vec();
    let wait = WaitForPresenceRequest {
        user_ids: vec![user_id.clone()],
        availabilities: (1..=6).collect(),
        ..Default::default()
    };
    let many = BatchGetPresencesRequest { user_ids: vec![user_id], ..Default::default() }.encode_to_vec();
    // WatchPresences has the same field.
    let many_more = many.clone();
    let sets = BatchSetPresencesRequest { requests: vec![set.clone()] }.encode_to_vec();
    let clear_request = ClearPresenceRequest {
        user_id: set.user_id.clone(),
        session_id: session.to_owned(),
        observed_time: None,
    };
    let clears = BatchClearPresencesRequest { requests: vec![clear_request] }.encode_to_vec();
    let (set, prefer, say) = (set.encode_to_vec(), prefer.encode_to_vec(), say.encode_to_vec());
    let locate = locate.encode_to_vec();
    [
        ("SetPresence", Class::Write, set),
        ("ClearPresence", clear(session), of_session),
        ("GetPresence", Class::Read, of_user.clone()),
        ("BatchGetPresences", Class::ReadMany, many),
        ("BatchSetPresences", Class::Write, sets),
        ("BatchClearPresences", clear(session), clears),
        ("SetUserPreferredPresence", Class::Write, prefer),
        ("ClearUserPreferredPresence", Class::Clear, of_user.clone()),
        ("SetStatusMessage", Class::Write, say),
        ("SetStatusMessage", Class::Clear, silence),
        ("SetManualLocation", Class::WriteChoice, locate.clone()),
        ("SetAutomaticLocation", Class::Write, locate),
        ("ClearAutomaticLocation", Class::Write, of_user.clone()),
        ("ClearLocation", Class::WriteChoice, of_user.clone()),
        ("WatchPresences", Class::ReadMany, many_more),
        ("WaitForPresence", Class::ReadMany, wait.encode_to_vec()),
        ("ExplainPresence", Class::ReadWhole, of_user.clone()),
        ("ListPresenceHistory", Class::ReadWhole, of_user.clone()),
        ("ExportPresence", Class::Manage, of_user.clone()),
        ("ErasePresence", Class::Manage, of_user),
        // Their messages may be empty.
        ("ListPresences", Class::ReadMany, Vec::new()),
        ("CountPresences", Class::ReadMany, Vec::new()),
        ("ListSubscriptions", Class::Subscriptions, Vec::new()),
    ]
    .into_iter()
    .map(|(name, class, message)| {
        let of_session =
            ["SetPresence", "ClearPresence", "BatchSetPresences", "BatchClearPresences"].contains(&name);
        Call { name, class, of_session, request: Request::Grpc(message) }
    })
    .collect()
}

fn http(user: &str, session: &str) -> Vec<Call> {
    let set = json!({ "sessionId": session, "availability": "Busy", "activity": "InACall" });
    let prefer = json!({ "availability": "Busy", "activity": "Busy" });
    let say = json!({ "statusMessage": { "message": { "content": "Hi", "contentType": "text" } } });
    let silence = json!({ "statusMessage": { "message": { "content": "" } } });
    let locate = json!({ "workLocationType": "office" });
    let actions = [
        ("setPresence", Class::Write, set),
        ("clearPresence", clear(session), json!({ "sessionId": session })),
        ("setUserPreferredPresence", Class::Write, prefer),
        ("clearUserPreferredPresence", Class::Clear, Value::Null),
        ("setStatusMessage", Class::Write, say),
        ("setStatusMessage", Class::Clear, silence),
        ("setManualLocation", Class::WriteChoice, locate.clone()),
        ("setAutomaticLocation", Class::Write, locate),
        ("clearAutomaticLocation", Class::Write, Value::Null),
        ("clearLocation", Class::WriteChoice, Value::Null),
        ("erase", Class::Manage, Value::Null),
    ];
    let call = |name, class, of_session, method, path: String, body| Call {
        name,
        class,
        of_session,
        request: Request::Http(method, path, body),
    };
    let mut calls: Vec<_> = actions
        .into_iter()
        .map(|(name, class, body)| {
            let of_session = body.get("sessionId").is_some();
            call(name, class, of_session, Method::POST, format!("/users/{user}/presence/{name}"), body)
        })
        .collect();
    let read = |name, class, path: &str| call(name, class, false, Method::GET, path.to_owned(), Value::Null);
    calls.push(read("get", Class::Read, &format!("/users/{user}/presence")));
    calls.push(read("get by id", Class::Read, &format!("/communications/presences/{user}")));
    for (name, class) in
        [("explain", Class::ReadWhole), ("history", Class::ReadWhole), ("export", Class::Manage)]
    {
        calls.push(read(name, class, &format!("/users/{user}/presence/{name}")));
    }
    calls.push(read("list", Class::ReadMany, "/communications/presences"));
    calls.push(read("count", Class::ReadMany, "/communications/presences/$count"));
    calls.push(read("subscriptions", Class::Subscriptions, "/subscriptions"));
    let path = format!("/communications/watchPresences?ids={user}");
    calls.push(read("watchPresences", Class::ReadMany, &path));
    let (path, ids) = ("/communications/watchPresences", json!({ "ids": [user] }));
    calls.push(call("watchPresences by body", Class::ReadMany, false, Method::POST, path.to_owned(), ids));
    let (path, ids) = ("/communications/getPresencesByUserId", json!({ "ids": [user] }));
    calls.push(call("getPresencesByUserId", Class::ReadMany, false, Method::POST, path.to_owned(), ids));
    calls
}

/// A response: the code of its API, and its body or error message.
#[derive(Debug)]
pub struct CallResponse {
    pub code: u16,
    pub text: String,
    pub www_authenticate: Option<String>,
}

/// Clients of both APIs.
pub struct Caller {
    addresses: Addresses,
    http: Client,
    http2: Client,
}

impl Caller {
    pub fn new(addresses: Addresses) -> Self {
        let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
        Self { addresses, http: Client::new(), http2 }
    }

    /// Calls with this `Authorization` header.
    pub async fn call(&self, call: &Call, authorization: Option<&str>) -> CallResponse {
        match &call.request {
            Request::Grpc(message) => {
                let path = format!("presence.v1.PresenceService/{}", call.name);
                self.grpc(&path, message, authorization).await
            }
            Request::Http(method, path, body) => {
                let url = format!("http://{}/v1.0{path}", self.addresses.http);
                let mut request = self.http.request(method.clone(), url);
                if !body.is_null() {
                    request = request.json(body);
                }
                if let Some(authorization) = authorization {
                    request = request.header("authorization", authorization);
                }
                read(request.send().await.unwrap()).await
            }
        }
    }

    /// A unary gRPC call as bytes. An error has its code in the header. The trailer, which
    /// this client does not expose, has code 0 for a success.
    pub async fn grpc(&self, path: &str, message: &[u8], authorization: Option<&str>) -> CallResponse {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&[0], &length[..], message].concat();
        let mut request = self.http2.post(format!("http://{}/{path}", self.addresses.grpc)).body(frame);
        request = request.header("content-type", "application/grpc").header("te", "trailers");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let code = header("grpc-status").map_or(0, |code| code.parse().unwrap());
        let text = header("grpc-message").unwrap_or_default().replace("%20", " ");
        CallResponse { code, text, www_authenticate: None }
    }
}

async fn read(response: Response) -> CallResponse {
    let code = response.status().as_u16();
    let www_authenticate =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    // A stream does not end.
    let stream = response.headers().get("content-type").is_some_and(|value| value == "text/event-stream");
    let text = if stream { String::new() } else { response.text().await.unwrap() };
    CallResponse { code, text, www_authenticate }
}
