//! Graph's paths over HTTP/1.1, one call at a time.

use std::io::{self, Write as _};

use super::call::{Call, user_id};

/// The headers of an answer that are looked at.
const HEADERS_MAX: usize = 64;

/// The client's side of one connection.
pub(super) struct Http {
    /// What each request has in its header.
    headers: String,
    session_id: String,
}

impl Http {
    pub(super) fn new(authority: &str, token: Option<&str>, session_id: &str) -> Self {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        Self {
            headers: format!("host: {authority}\r\n{token}content-type: application/json\r\n"),
            session_id: session_id.to_owned(),
        }
    }

    /// Writes a call.
    pub(super) fn send(&self, call: &Call, out: &mut Vec<u8>) -> io::Result<()> {
        let (path, body) = match call {
            Call::Set(user) => (format!("/v1.0{}", set_path(*user)), self.set_body()),
            Call::Clear(user) => (
                format!("/v1.0/users/{}/presence/clearPresence", user_id(*user)),
                format!(r#"{{"sessionId":{:?}}}"#, self.session_id),
            ),
            Call::BatchGet(users) => {
                let ids = users.iter().map(|user| format!("{:?}", user_id(*user))).collect::<Vec<_>>();
                let path = "/v1.0/communications/getPresencesByUserId".to_owned();
                (path, format!(r#"{{"ids":[{}]}}"#, ids.join(",")))
            }
            Call::BatchSet(users) => ("/v1.0/$batch".to_owned(), self.batch_body(users)),
            Call::Get(user) => {
                let id = user_id(*user);
                return write!(out, "GET /v1.0/users/{id}/presence HTTP/1.1\r\n{}\r\n", self.headers);
            }
            Call::Health => return Err(io::Error::other("HTTP has no call that does nothing")),
        };
        let (headers, length) = (&self.headers, body.len());
        write!(out, "POST {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}")
    }

    fn set_body(&self) -> String {
        format!(
            r#"{{"sessionId":{:?},"availability":"Busy","activity":"InACall","expirationDuration":"PT1H"}}"#,
            self.session_id
        )
    }

    fn batch_body(&self, users: &[u32]) -> String {
        let body = self.set_body();
        let item = |user: &u32| {
            let path = set_path(*user);
            format!(
                r#"{{"id":"{user}","method":"POST","url":"{path}","headers":{{"content-type":"application/json"}},"body":{body}}}"#
            )
        };
        format!(r#"{{"requests":[{}]}}"#, users.iter().map(item).collect::<Vec<_>>().join(","))
    }

    /// Reads the whole answers in `bytes` and notes their codes; says how many
    /// bytes that were.
    pub(super) fn receive(bytes: &[u8], ended: &mut Vec<(u32, u16)>) -> io::Result<usize> {
        let mut read = 0;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut answer = httparse::Response::new(&mut headers);
            let parsed = answer
                .parse(rest)
                .map_err(|error| io::Error::other(format!("an answer that is not HTTP/1.1: {error}")))?;
            let (httparse::Status::Complete(head), Some(code)) = (parsed, answer.code) else {
                return Ok(read);
            };
            let length =
                answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length
                .and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok())
                .ok_or_else(|| io::Error::other("an answer that does not say its length"))?;
            if rest.len() < head + length {
                return Ok(read);
            }
            let body = rest.get(head..head + length).unwrap_or_default();
            read += head + length;
            ended.push((0, failed_in_batch(body).unwrap_or(code)));
        }
    }
}

/// A code in the answer to a `$batch` that is not 200.
fn failed_in_batch(body: &[u8]) -> Option<u16> {
    const STATUS: &str = r#""status":"#;
    let body = str::from_utf8(body).ok().filter(|body| body.starts_with(r#"{"responses":"#))?;
    let codes = body.split(STATUS).skip(1).filter_map(|rest| rest.get(..3)?.parse().ok());
    codes.into_iter().find(|code| *code != 200)
}

fn set_path(user: u32) -> String {
    format!("/users/{}/presence/setPresence", user_id(user))
}
