//! Requests of the HTTP API.

use std::io;

use crate::call::{Call, IN_A_CALL, Pair, user_id};

/// Builds the requests of one session id.
pub(crate) struct Graph {
    session_id: String,
}

impl Graph {
    pub(crate) fn new(session_id: &str) -> Self {
        Self { session_id: session_id.to_owned() }
    }

    /// The path of a call, and the body if the method is POST.
    pub(crate) fn request(&self, call: &Call) -> io::Result<(String, Option<String>)> {
        Ok(match call {
            Call::Set(user, pair) => (format!("/v1.0{}", set_path(*user)), Some(self.set_body(*pair))),
            Call::Clear(user) => (
                format!("/v1.0/users/{}/presence/clearPresence", user_id(*user)),
                Some(format!(r#"{{"sessionId":{:?}}}"#, self.session_id)),
            ),
            Call::BatchGet(users) => {
                let ids = users.iter().map(|user| format!("{:?}", user_id(*user))).collect::<Vec<_>>();
                let path = "/v1.0/communications/getPresencesByUserId".to_owned();
                (path, Some(format!(r#"{{"ids":[{}]}}"#, ids.join(","))))
            }
            Call::BatchSet(users) => ("/v1.0/$batch".to_owned(), Some(self.batch_body(users))),
            Call::Get(user) => (format!("/v1.0/users/{}/presence", user_id(*user)), None),
            Call::GetFull(user) => {
                let times = "lastChangeDateTime,lastActiveDateTime,historyStartDateTime";
                (
                    format!("/v1.0/users/{}/presence?$select=availability,activity,{times}", user_id(*user)),
                    None,
                )
            }
            Call::History(user) => {
                (format!("/v1.0/users/{}/presence/history?$top=1000", user_id(*user)), None)
            }
            Call::Health => return Err(io::Error::other("the HTTP API has no health call")),
        })
    }

    fn set_body(&self, pair: Pair) -> String {
        let (availability, activity) = pair.names();
        format!(
            r#"{{"sessionId":{:?},"availability":"{availability}","activity":"{activity}","expirationDuration":"PT1H"}}"#,
            self.session_id
        )
    }

    fn batch_body(&self, users: &[u32]) -> String {
        let body = self.set_body(IN_A_CALL);
        let item = |user: &u32| {
            let path = set_path(*user);
            format!(
                r#"{{"id":"{user}","method":"POST","url":"{path}","headers":{{"content-type":"application/json"}},"body":{body}}}"#
            )
        };
        format!(r#"{{"requests":[{}]}}"#, users.iter().map(item).collect::<Vec<_>>().join(","))
    }
}

/// The first status other than 200 in the response to a `$batch`.
pub(crate) fn failed_in_batch(body: &[u8]) -> Option<u16> {
    const STATUS: &str = r#""status":"#;
    let body = str::from_utf8(body).ok().filter(|body| body.starts_with(r#"{"responses":"#))?;
    let codes = body.split(STATUS).skip(1).filter_map(|rest| rest.get(..3)?.parse().ok());
    codes.into_iter().find(|code| *code != 200)
}

fn set_path(user: u32) -> String {
    format!("/users/{}/presence/setPresence", user_id(user))
}
