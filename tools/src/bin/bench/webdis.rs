//! Requests of webdis, a web server that sends the path or the body of a request to Redis as a
//! command.

use std::io;

use crate::call::{Call, IN_A_CALL, user_id};

/// The code of a command that Redis refused, or of a missing key: webdis answers both with 200.
const FAILED: u16 = 500;
/// The time after which Redis removes a key: that of a session.
const SECONDS: u32 = 3_600;

/// The path of a call, and the body if the method is POST.
pub(crate) fn request(call: &Call) -> io::Result<(String, Option<String>)> {
    let (user, pair) = match call {
        Call::Get(user) => return Ok((format!("/GET/{}", user_id(*user)), None)),
        Call::Set(user, pair) => (*user, *pair),
        // The calls of --load, each with one user.
        Call::BatchSet(users) => match users[..] {
            [user] => (user, IN_A_CALL),
            _ => return Err(io::Error::other("a call to webdis has one user")),
        },
        _ => return Err(io::Error::other("webdis has no such call")),
    };
    let (key, (availability, activity)) = (user_id(user), pair.names());
    let value = format!(r#"{{"availability":"{availability}","activity":"{activity}"}}"#);
    Ok(("/".to_owned(), Some(format!("SETEX/{key}/{SECONDS}/{value}"))))
}

/// The code of a response that says a command failed or found no value.
pub(crate) fn failed(body: &[u8]) -> Option<u16> {
    let done = body.starts_with(br#"{"SETEX":[true,"#) || body.starts_with(br#"{"GET":""#);
    (!done).then_some(FAILED)
}
