//! Operation × caller: every cell has the code that it should, at both APIs.

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

on_every_engine![every_cell_of_the_table];

const OTHER: &str = "someone.else@example.com";
const OTHER_APP: &str = "33333333-f5ab-4529-bffb-cfe50aa89f87";

/// What a caller comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Done,
    /// Nobody knows who it is.
    Unknown,
    /// A permission is missing.
    Forbidden,
    /// It has the permission for itself alone.
    OtherUser,
}
use Cell::{Done, Forbidden, OtherUser, Unknown};

/// What each class of operations comes to, for a caller who is known: the rows
/// of Graph's tables of permissions.
type Row = [(Class, Cell); 5];

const fn row(read: Cell, many: Cell, whole: Cell, write: Cell, choice: Cell) -> Row {
    [
        (Class::Read, read),
        (Class::ReadMany, many),
        (Class::ReadWhole, whole),
        (Class::Write, write),
        (Class::WriteChoice, choice),
    ]
}

/// Callers who are known: who, their claims, whom they ask for, what comes of it.
fn known() -> Vec<(&'static str, Value, &'static str, Row)> {
    let nothing = row(Forbidden, Forbidden, Forbidden, Forbidden, Forbidden);
    let reads = row(Done, Done, Done, Forbidden, Forbidden);
    let own = row(Forbidden, Forbidden, Forbidden, Done, Done);
    let others = row(Forbidden, Forbidden, Forbidden, OtherUser, OtherUser);
    let all = row(Done, Done, Done, Done, Forbidden);
    vec![
        ("application without a role", application(&[]), OTHER, nothing),
        ("application with a foreign role", application(&["User.Read.All"]), OTHER, nothing),
        (
            "application with a user's scope",
            application(&["Presence.Read", "Presence.ReadWrite"]),
            OTHER,
            nothing,
        ),
        ("application that reads", application(&["Presence.Read.All"]), OTHER, reads),
        ("application that writes", application(&["Presence.ReadWrite.All"]), OTHER, all),
        ("application, its own oid", application(&["Presence.ReadWrite.All"]), USER, all),
        ("user without a scope", delegated("User.Read openid"), USER, nothing),
        ("user with an empty scope", delegated(""), USER, nothing),
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
        ("user with an application's role as scope", delegated("Presence.ReadWrite.All"), USER, nothing),
        (
            "user with a role beside the scope",
            with(&json!({ "scp": "openid", "roles": ["Presence.ReadWrite.All"], "oid": USER })),
            USER,
            nothing,
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
    ]
}

/// Tokens that let nobody in, of a caller who may do all.
fn refused(signers: &[Signer]) -> Vec<(&'static str, Option<String>)> {
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
    let right = signers[0].sign(&all());
    let (front, _) = right.rsplit_once('.').unwrap();
    let signature = right.rsplit('.').next().unwrap();
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
        ("no JWT", bearer("opaque".to_owned())),
        ("two parts", bearer("e30.e30".to_owned())),
        ("expired", signed(&changed("exp", (now - 61).into()))),
        ("without an end", signed(&changed("exp", Value::Null))),
        ("an end that is a text", signed(&changed("exp", "2030".into()))),
        ("not yet in force", signed(&changed("nbf", (now + 61).into()))),
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
        ("HMAC with nothing", hmac(b"", "")),
        (
            "an algorithm of another key",
            bearer(unsigned(&header("RS256", &signers[0].id), &all(), &[1; 256])),
        ),
        ("an unknown key", bearer(Signer::new(Algorithm::EdDSA, "unknown").sign(&all()))),
        ("critical extensions", bearer(signers[0].sign_with(&critical, &all()))),
        ("no tenant", signed(&changed("tid", Value::Null))),
        ("a tenant that is no GUID", signed(&changed("tid", "contoso".into()))),
        (
            "a user's token for something else",
            signed(&with(&json!({ "roles": ["Presence.ReadWrite.All"], "idtyp": "user" }))),
        ),
        ("a user without an id", signed(&with(&json!({ "scp": "Presence.ReadWrite" })))),
        ("an application of blanks", signed(&changed("azp", "a b".into()))),
    ]
}

/// The claims of another token with the signature of this.
fn changed_payload(front: &str, signature: &str) -> String {
    let (header, _) = front.split_once('.').unwrap();
    let other = unsigned(&json!({}), &application(&["Presence.Read.All"]), b"");
    format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
}

async fn every_cell_of_the_table(engine: Engine) {
    let signers = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::PS256];
    let signers = signers.map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let (server, _keys) = start(engine, &signers.each_ref(), &[]).await;
    let caller = Caller::new(server.addresses);
    let mut cells: BTreeMap<String, usize> = BTreeMap::new();

    let refused = refused(&signers);
    for (who, authorization) in &refused {
        for call in all(USER, APP) {
            check(&caller, who, &call, authorization.as_deref(), Unknown).await;
            *cells.entry(format!("{Unknown:?}")).or_default() += 1;
        }
    }
    // Each caller's token is signed in another way.
    let admin = format!("Bearer {}", signers[0].sign(&application(&["Presence.ReadWrite.All"])));
    for (index, (who, claims, user, row)) in known().into_iter().enumerate() {
        let token = format!("Bearer {}", signers[index % signers.len()].sign(&claims));
        for call in all(user, APP) {
            let (_, cell) = row.into_iter().find(|(class, _)| *class == call.class).unwrap();
            open_session(&caller, user, &admin).await;
            check(&caller, who, &call, Some(&token), cell).await;
            *cells.entry(format!("{cell:?}")).or_default() += 1;
        }
        // Another application's session is left alone, whatever the permission.
        for call in all(user, OTHER_APP).into_iter().filter(|call| call.of_session) {
            let (_, cell) = row.into_iter().find(|(class, _)| *class == call.class).unwrap();
            let cell = if cell == Done { Forbidden } else { cell };
            check(&caller, who, &call, Some(&token), cell).await;
            *cells.entry(format!("{cell:?}")).or_default() += 1;
        }
    }
    let callers = refused.len() + known().len();
    let sum: usize = cells.values().sum();
    println!("{engine:?}: {callers} callers, {} calls, {sum} cells: {cells:?}", all(USER, APP).len());
    server.stop().await;
}

/// So that there is one to clear.
async fn open_session(caller: &Caller, user: &str, admin: &str) {
    let set = all(user, APP).remove(0);
    assert_eq!(caller.call(&set, Some(admin)).await.code, 0);
}

async fn check(caller: &Caller, who: &str, call: &Call, authorization: Option<&str>, expected: Cell) {
    let grpc = matches!(call.request, Request::Grpc(_));
    let codes: &[u16] = match (grpc, expected) {
        (true, Done) => &[0],
        (true, Unknown) => &[16],
        (true, Forbidden | OtherUser) => &[7],
        // 200, or 204 where there is no content.
        (false, Done) => &[200],
        (false, Unknown | OtherUser) => &[401],
        (false, Forbidden) => &[403],
    };
    let answered = caller.call(call, authorization).await;
    let place = format!("{who}: {}: {answered:?}", call.name);
    assert!(codes.contains(&answered.code), "{place}");
    if expected == Done {
        return;
    }
    assert!(!answered.text.is_empty(), "{place}");
    // Nothing of the token, or of what was expected of it, is told.
    for secret in [TENANT, ISSUER].into_iter().chain(authorization.filter(|text| text.len() > 20)) {
        assert!(!answered.text.contains(secret), "{place}");
    }
    if !grpc {
        let body: Value = serde_json::from_str(&answered.text).expect(&place);
        let code = match expected {
            Unknown => "InvalidAuthenticationToken",
            OtherUser => "Unauthorized",
            _ => "Forbidden",
        };
        assert_eq!(body["error"]["code"], code, "{place}");
        assert_eq!(answered.code == 401, answered.www_authenticate.is_some(), "{place}");
    }
    if expected == Forbidden {
        assert!(answered.text.contains("Presence.") || answered.text.contains("session id"), "{place}");
    }
}
