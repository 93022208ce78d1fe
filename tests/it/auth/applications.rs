//! The sessions of a token's application: its id alone, or with a suffix.

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::{
    call::{Call, Caller, Request, all},
    start,
};
use crate::support::{
    database::Engine,
    on_every_engine,
    tokens::{APP, Signer, USER, with},
};

on_every_engine![
    a_token_may_use_the_sessions_of_its_application_and_no_others,
    a_token_names_its_application_and_its_user_in_any_spelling
];

/// The code of a success and of a refusal at the API of a call.
fn codes(call: &Call) -> [u16; 2] {
    if matches!(call.request, Request::Grpc(_)) { [0, 7] } else { [200, 403] }
}

/// The calls of both APIs that set or clear this session. In this order each of them succeeds.
fn of_session(user: &str, session: &str) -> Vec<Call> {
    all(user, session).into_iter().filter(|call| call.of_session).collect()
}

async fn a_token_may_use_the_sessions_of_its_application_and_no_others(engine: Engine) {
    let signer = Signer::new(Algorithm::EdDSA, "key");
    let (server, _keys) = start(engine, &[&signer], &[]).await;
    let caller = Caller::new(server.addresses);
    let token = format!("Bearer {}", signer.sign(&with(&json!({ "roles": ["Presence.ReadWrite.All"] }))));
    let other = "33333333-f5ab-4529-bffb-cfe50aa89f87";
    for session in [
        APP.to_owned(),
        format!("{APP}:tab-1"),
        format!("{APP}:call:2"),
        format!("{APP}:{other}"),
        format!("{{{}}}:tab", APP.to_uppercase()),
        format!("urn:uuid:{}:tab", APP.replace('-', "")),
    ] {
        for call in of_session(USER, &session) {
            let response = caller.call(&call, Some(&token)).await;
            assert_eq!(response.code, codes(&call)[0], "{session}: {}: {response:?}", call.name);
        }
    }
    for session in [
        other.to_owned(),
        format!("{other}:tab"),
        format!("{other}:{APP}"),
        format!("{APP}2"),
        format!("{APP}2:tab"),
        format!("{APP}:"),
        format!("{APP}/tab"),
        format!("{APP}%3Atab"),
        APP[..35].to_owned(),
        format!("x{APP}:tab"),
        format!(":{APP}"),
    ] {
        for call in of_session(USER, &session) {
            let response = caller.call(&call, Some(&token)).await;
            assert_eq!(response.code, codes(&call)[1], "{session}: {}: {response:?}", call.name);
            let allowed = format!("{APP}, or {APP}:SUFFIX");
            assert!(response.text.contains(&allowed), "{session}: {}: {response:?}", call.name);
        }
    }
    server.stop().await;
}

async fn a_token_names_its_application_and_its_user_in_any_spelling(engine: Engine) {
    let signer = Signer::new(Algorithm::EdDSA, "key");
    let (server, _keys) = start(engine, &[&signer], &[]).await;
    let caller = Caller::new(server.addresses);
    let token = |azp: &str, oid: &str| {
        let claims = json!({ "azp": azp, "oid": oid, "scp": "Presence.ReadWrite" });
        format!("Bearer {}", signer.sign(&with(&claims)))
    };
    let spellings =
        |id: &str| [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}")];
    for (azp, oid) in spellings(APP).iter().zip(&spellings(USER)) {
        for call in of_session(USER, APP) {
            let response = caller.call(&call, Some(&token(azp, oid))).await;
            assert_eq!(response.code, codes(&call)[0], "{azp} {oid}: {}: {response:?}", call.name);
        }
    }
    // A placeholder in a token would make one user, or one application, of many.
    for (azp, oid) in [("undefined", USER), (APP, "00000000-0000-0000-0000-000000000000"), (APP, "null")] {
        for call in of_session(USER, APP) {
            let response = caller.call(&call, Some(&token(azp, oid))).await;
            let unauthenticated = if codes(&call)[0] == 0 { 16 } else { 401 };
            assert_eq!(response.code, unauthenticated, "{azp} {oid}: {}: {response:?}", call.name);
        }
    }
    server.stop().await;
}
