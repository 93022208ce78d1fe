//! Messages of the gRPC API.

use presenced_tools::pb;
use prost::Message;

use crate::call::{Call, IN_A_CALL, Pair, user_id};

/// The path and the framed request message of a call.
pub(crate) fn message(call: &Call, session_id: &str) -> (&'static str, Vec<u8>) {
    match call {
        Call::Set(user, pair) => {
            ("/presence.v1.PresenceService/SetPresence", framed(&set(*user, *pair, session_id)))
        }
        Call::Get(user) => (
            "/presence.v1.PresenceService/GetPresence",
            framed(&pb::GetPresenceRequest { user_id: user_id(*user), ..Default::default() }),
        ),
        Call::GetFull(user) => (
            "/presence.v1.PresenceService/GetPresence",
            framed(&pb::GetPresenceRequest { user_id: user_id(*user), view: pb::PresenceView::Full.into() }),
        ),
        Call::History(user) => (
            "/presence.v1.PresenceService/ListPresenceHistory",
            framed(&pb::ListPresenceHistoryRequest {
                user_id: user_id(*user),
                page_size: 1_000,
                ..Default::default()
            }),
        ),
        Call::Clear(user) => (
            "/presence.v1.PresenceService/ClearPresence",
            framed(&pb::ClearPresenceRequest {
                user_id: user_id(*user),
                session_id: session_id.to_owned(),
                observed_time: None,
            }),
        ),
        Call::BatchSet(users) => (
            "/presence.v1.PresenceService/BatchSetPresences",
            framed(&pb::BatchSetPresencesRequest {
                requests: users.iter().map(|user| set(*user, IN_A_CALL, session_id)).collect(),
            }),
        ),
        Call::BatchGet(users) => (
            "/presence.v1.PresenceService/BatchGetPresences",
            framed(&pb::BatchGetPresencesRequest {
                user_ids: users.iter().map(|user| user_id(*user)).collect(),
                ..Default::default()
            }),
        ),
        Call::Health => ("/grpc.health.v1.Health/Check", framed(&())),
    }
}

fn set(user: u32, pair: Pair, session_id: &str) -> pb::SetPresenceRequest {
    pb::SetPresenceRequest {
        user_id: user_id(user),
        session_id: session_id.to_owned(),
        availability: pair.availability.into(),
        activity: pair.activity.into(),
        expiration_duration: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    }
}

/// A message with the prefix of gRPC: not compressed, and its length.
fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(5 + length);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}
