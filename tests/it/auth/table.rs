//! Every operation with every kind of caller returns the expected code, at both APIs.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{
    call::{Call, Caller, Class, Request, all},
    start,
};
use crate::support::{
    database::Engine,
    on_every_engine,
    server::START,
    tokens::{APP, ISSUER, Signer, TENANT, USER, application, delegated, key_set, unsigned, with},
};

on_every_engine![every_operation_returns_the_expected_code_to_every_caller];

const OTHER: &str = "someone.else@example.com";
const OTHER_APP: &str = "33333333-f5ab-4529-bffb-cfe50aa89f87";

/// The expected result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Done,
    /// The token is missing or invalid.
    Unauthenticated,
    /// The token lacks the permission.
    Forbidden,
    /// The token has the permission for its own user only.
    OtherUser,
}
use Cell::{Done, Forbidden, OtherUser, Unauthenticated};

/// The expected result of each class of operations for an authenticated caller: one row of
/// Graph's tables of permissions.
type Row = [(Class, Cell); 9];

/// The row of a caller who is no administrator, and so may clear what it may set.
const fn row(read: Cell, many: Cell, whole: Cell, write: Cell, choice: Cell) -> Row {
    let other = if matches!(write, Done) { Forbidden } else { write };
    [
        (Class::Read, read),
        (Class::ReadMany, many),
        (Class::ReadWhole, whole),
        (Class::Write, write),
        (Class::WriteChoice, choice),
        (Class::Clear, write),
        (Class::ClearOther, other),
        (Class::Manage, Forbidden),
        (Class::Subscriptions, many),
    ]
}

/// The row of an administrator, who may inspect, clear, export and erase everything.
const fn administrator(read: Cell, many: Cell, write: Cell, choice: Cell) -> Row {
    [
        (Class::Read, read),
        (Class::ReadMany, many),
        (Class::ReadWhole, Done),
        (Class::Write, write),
        (Class::WriteChoice, choice),
        (Class::Clear, Done),
        (Class::ClearOther, Done),
        (Class::Manage, Done),
        (Class::Subscriptions, Done),
    ]
}

/// Authenticated callers: a description, the claims, the user of the calls, and the results.
fn authenticated() -> Vec<(&'static str, Value, &'static str, Row)> {
    let none = row(Forbidden, Forbidden, Forbidden, Forbidden, Forbidden);
    let reads = row(Done, Done, Done, Forbidden, Forbidden);
    let own = row(Forbidden, Forbidden, Forbidden, Done, Done);
    let others = row(Forbidden, Forbidden, Forbidden, OtherUser, OtherUser);
    let all = row(Done, Done, Done, Done, Forbidden);
    let manages = administrator(Forbidden, Forbidden, Forbidden, Forbidden);
    vec![
        ("application without a role", application(&[]), OTHER, none),
        ("application with a foreign role", application(&["User.Read.All"]), OTHER, none),
        (
            "application with a user's scope",
            application(&["Presence.Read", "Presence.ReadWrite"]),
            OTHER,
            none,
        ),
        ("application that reads", application(&["Presence.Read.All"]), OTHER, reads),
        ("application that writes", application(&["Presence.ReadWrite.All"]), OTHER, all),
        ("application, its own oid", application(&["Presence.ReadWrite.All"]), USER, all),
        ("user without a scope", delegated("User.Read openid"), USER, none),
        ("user with an empty scope", delegated(""), USER, none),
        (
            "user who reads, own",
            delegated("Presence.Read"),
            USER,
            row(Done, Forbidden, Done, Forbidden, Forbidden),
        ),
        (
            "user who reads, other",
            delegated("Presence.Read"),
            OTHER,
            row(Forbidden, Forbidden, OtherUser, Forbidden, Forbidden),
        ),
        ("user who reads all, own", delegated("Presence.Read.All"), USER, reads),
        (
            "user who reads all, other",
            delegated("Presence.Read.All"),
            OTHER,
            row(Done, Done, OtherUser, Forbidden, Forbidden),
        ),
        ("user who writes, own", delegated("Presence.ReadWrite"), USER, own),
        ("user who writes, other", delegated("Presence.ReadWrite"), OTHER, others),
        ("user with an application's role as scope", delegated("Presence.ReadWrite.All"), USER, none),
        (
            "user with a role beside the scope",
            with(&json!({ "scp": "openid", "roles": ["Presence.ReadWrite.All"], "oid": USER })),
            USER,
            none,
        ),
        (
            "user who reads all and writes, own",
            delegated("Presence.Read.All Presence.ReadWrite"),
            USER,
            row(Done, Done, Done, Done, Done),
        ),
        (
            "user in capitals",
            with(
                &json!({ "scp": ["Presence.ReadWrite"], "oid": USER.to_uppercase(), "aud": ["x", "api://presence"] }),
            ),
            USER,
            own,
        ),
        ("application that manages", application(&["Presence.Manage.All"]), OTHER, manages),
        (
            "application that manages and writes",
            application(&["Presence.Manage.All", "Presence.ReadWrite.All"]),
            OTHER,
            administrator(Done, Done, Done, Forbidden),
        ),
        ("user who manages, own", delegated("Presence.Manage.All"), USER, manages),
        ("user who manages, other", delegated("Presence.Manage.All"), OTHER, manages),
        (
            "user who manages, reads all and writes, own",
            delegated("Presence.Manage.All Presence.Read.All Presence.ReadWrite"),
            USER,
            administrator(Done, Done, Done, Done),
        ),
        (
            "user who manages, reads all and writes, other",
            delegated("Presence.Manage.All Presence.Read.All Presence.ReadWrite"),
            OTHER,
            administrator(Done, Done, OtherUser, OtherUser),
        ),
        (
            "user with the role of an administrator beside the scope",
            with(&json!({ "scp": "openid", "roles": ["Presence.Manage.All"], "oid": USER })),
            OTHER,
            none,
        ),
    ]
}

/// Missing and invalid tokens of a caller with every permission.
fn unauthenticated(signers: &[Signer]) -> Vec<(&'static str, Option<String>)> {
    let all = || application(&["Presence.ReadWrite.All"]);
    let changed = |name: &str, value: Value| {
        let mut claims = all();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    };
    let bearer = |token: String| Some(format!("Bearer {token}"));
    let signed = |claims: &Value| bearer(signers[0].sign(claims));
    let now = START.as_millis() / 1_000;
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "typ": "JWT" });
    let valid = signers[0].sign(&all());
    let (front, _) = valid.rsplit_once('.').unwrap();
    let signature = valid.rsplit('.').next().unwrap();
    let hmac = |secret: &[u8], kid: &str| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        bearer(encode(&header, &all(), &EncodingKey::from_secret(secret)).unwrap())
    };
    let critical = Header {
        kid: Some(signers[0].id.clone()),
        crit: Some(vec!["exp".to_owned()]),
        ..Header::new(signers[0].algorithm)
    };
    let forger = Signer::new(signers[0].algorithm, &signers[0].id);
    let x = signers[0].jwk["x"].as_str().unwrap().as_bytes();
    vec![
        ("no token", None),
        ("an empty token", bearer(String::new())),
        ("another scheme", Some("Basic YTpi".to_owned())),
        ("not a JWT", bearer("opaque".to_owned())),
        ("two parts", bearer("e30.e30".to_owned())),
        ("expired", signed(&changed("exp", (now - 61).into()))),
        ("without an expiry", signed(&changed("exp", Value::Null))),
        ("an expiry that is a text", signed(&changed("exp", "2030".into()))),
        ("not valid yet", signed(&changed("nbf", (now + 61).into()))),
        ("another issuer", signed(&changed("iss", "https://evil.example.com".into()))),
        ("no issuer", signed(&changed("iss", Value::Null))),
        ("another audience", signed(&changed("aud", "api://other".into()))),
        ("no audience", signed(&changed("aud", Value::Null))),
        ("several wrong audiences", signed(&changed("aud", json!(["a", "b"])))),
        ("another key of the same id", bearer(forger.sign(&all()))),
        ("a changed claim", bearer(changed_payload(front, signature))),
        ("no signature", bearer(format!("{front}."))),
        ("alg none", bearer(unsigned(&header("none", &signers[0].id), &all(), b""))),
        ("alg None", bearer(unsigned(&header("None", &signers[0].id), &all(), b""))),
        ("alg none with a signature", bearer(unsigned(&header("none", &signers[0].id), &all(), &[1; 64]))),
        ("HMAC with the public key", hmac(x, &signers[0].id)),
        ("HMAC with the key set", hmac(key_set(&[&signers[0]]).as_bytes(), &signers[0].id)),
        ("HMAC with an empty secret", hmac(b"", "")),
        (
            "an algorithm of another key",
            bearer(unsigned(&header("RS256", &signers[0].id), &all(), &[1; 256])),
        ),
        ("an unknown key", bearer(Signer::new(Algorithm::EdDSA, "unknown").sign(&all()))),
        ("critical extensions", bearer(signers[0].sign_with(&critical, &all()))),
        ("no tenant", signed(&changed("tid", Value::Null))),
        ("a tenant that is not a GUID", signed(&changed("tid", "contoso".into()))),
        (
            "a user's token for something else",
            signed(&with(&json!({ "roles": ["Presence.ReadWrite.All"], "idtyp": "user" }))),
        ),
        ("a user without an id", signed(&with(&json!({ "scp": "Presence.ReadWrite" })))),
        ("an application with a blank", signed(&changed("azp", "a b".into()))),
    ]
}

/// The claims of another token with this signature.
fn changed_payload(front: &str, signature: &str) -> String {
    let (header, _) = front.split_once('.').unwrap();
    let other = unsigned(&json!({}), &application(&["Presence.Read.All"]), b"");
    format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
}

async fn every_operation_returns_the_expected_code_to_every_caller(engine: Engine) {
    let signers = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::PS256];
    let signers = signers.map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let (server, _keys) = start(engine, &signers.each_ref(), &[]).await;
    let caller = Caller::new(server.addresses);
    let mut cells: BTreeMap<String, usize> = BTreeMap::new();

    let unauthenticated = unauthenticated(&signers);
    for (who, authorization) in &unauthenticated {
        for call in all(USER, APP) {
            check(&caller, who, &call, authorization.as_deref(), Unauthenticated).await;
            *cells.entry(format!("{Unauthenticated:?}")).or_default() += 1;
        }
    }
    // The callers' tokens use all algorithms in turn.
    let writers = [APP, OTHER_APP].map(|azp| {
        let claims = with(&json!({ "azp": azp, "roles": ["Presence.ReadWrite.All"] }));
        (azp, format!("Bearer {}", signers[0].sign(&claims)))
    });
    for (index, (who, claims, user, row)) in authenticated().into_iter().enumerate() {
        let token = format!("Bearer {}", signers[index % signers.len()].sign(&claims));
        for call in all(user, APP) {
            let (_, cell) = row.into_iter().find(|(class, _)| *class == call.class).unwrap();
            open_sessions(&caller, user, &writers).await;
            check(&caller, who, &call, Some(&token), cell).await;
            *cells.entry(format!("{cell:?}")).or_default() += 1;
        }
        // No permission covers another application's session, except to clear it.
        for call in all(user, OTHER_APP).into_iter().filter(|call| call.of_session) {
            let (_, cell) = row.into_iter().find(|(class, _)| *class == call.class).unwrap();
            let cell = if cell == Done && call.class != Class::ClearOther { Forbidden } else { cell };
            open_sessions(&caller, user, &writers).await;
            check(&caller, who, &call, Some(&token), cell).await;
            *cells.entry(format!("{cell:?}")).or_default() += 1;
        }
    }
    let callers = unauthenticated.len() + authenticated().len();
    let sum: usize = cells.values().sum();
    println!("{engine:?}: {callers} callers, {} calls, {sum} cells: {cells:?}", all(USER, APP).len());
    server.stop().await;
}

/// Opens a session of each application, so that there is one to clear.
async fn open_sessions(caller: &Caller, user: &str, writers: &[(&str, String)]) {
    for (session, token) in writers {
        let set = all(user, session).remove(0);
        assert_eq!(caller.call(&set, Some(token)).await.code, 0);
    }
}

async fn check(caller: &Caller, who: &str, call: &Call, authorization: Option<&str>, expected: Cell) {
    let grpc = matches!(call.request, Request::Grpc(_));
    let codes: &[u16] = match (grpc, expected) {
        (true, Done) => &[0],
        (true, Unauthenticated) => &[16],
        (true, Forbidden | OtherUser) => &[7],
        (false, Done) => &[200],
        (false, Unauthenticated | OtherUser) => &[401],
        (false, Forbidden) => &[403],
    };
    let response = caller.call(call, authorization).await;
    let place = format!("{who}: {}: {response:?}", call.name);
    assert!(codes.contains(&response.code), "{place}");
    if expected == Done {
        return;
    }
    assert!(!response.text.is_empty(), "{place}");
    // The error contains no part of the token or of its expected claims.
    for secret in [TENANT, ISSUER].into_iter().chain(authorization.filter(|text| text.len() > 20)) {
        assert!(!response.text.contains(secret), "{place}");
    }
    if !grpc {
        let body: Value = serde_json::from_str(&response.text).expect(&place);
        let code = match expected {
            Unauthenticated => "InvalidAuthenticationToken",
            OtherUser => "Unauthorized",
            _ => "Forbidden",
        };
        assert_eq!(body["error"]["code"], code, "{place}");
        assert_eq!(response.code == 401, response.www_authenticate.is_some(), "{place}");
    }
    if expected == Forbidden {
        assert!(response.text.contains("Presence.") || response.text.contains("session id"), "{place}");
    }
}
