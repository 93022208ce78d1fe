//! Subscriptions with access tokens: who may see them, and what happens when a token expires.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    auth::keys_file,
    support::{
        client::encode,
        database::Engine,
        on_every_engine,
        receiver::accept,
        tokens::{self, FLAGS, Signer},
    },
};
use jsonwebtoken::Algorithm;

on_every_engine![
    a_subscription_of_another_application_is_not_found,
    deliveries_pause_when_the_token_expires_and_what_is_owed_follows,
];

struct Guarded {
    fixture: Fixture,
    signer: Signer,
    _keys: tempfile::TempDir,
}

impl Guarded {
    async fn new(engine: Engine) -> Self {
        let signer = Signer::new(Algorithm::EdDSA, "key");
        let (file, keys) = keys_file(&[&signer]);
        let flags = [&FLAGS[..], &["--jwks-file", &file, "--subscription-max-age", "2h"]].concat();
        Self { fixture: Fixture::with(engine, &flags, accept).await, signer, _keys: keys }
    }

    fn token(&self, roles: &[&str], changes: &Value) -> String {
        let mut claims = tokens::application(roles);
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.signer.sign(&claims)
    }

    async fn set(&self, user: &str, pair: &str) {
        let (availability, activity) = pair.split_once('/').unwrap();
        let body = json!({
            "sessionId": tokens::APP,
            "availability": availability,
            "activity": activity,
            "expirationDuration": "PT4H",
        });
        let later = json!({ "exp": 4_102_444_800_i64 });
        let token = self.token(&["Presence.ReadWrite.All"], &later);
        let path = format!("/users/{}/presence/setPresence", encode(user));
        assert_eq!(self.fixture.send(Method::POST, &path, &token, &body).await.status, 200);
    }
}

async fn a_subscription_of_another_application_is_not_found(engine: Engine) {
    let guarded = Guarded::new(engine).await;
    let fixture = &guarded.fixture;
    let own = guarded.token(&["Presence.Read.All"], &json!({}));
    let created = fixture.send(Method::POST, "/subscriptions", &own, &fixture.body(&["ada"])).await;
    assert_eq!((created.status, &created.body["applicationId"]), (201, &json!(tokens::APP)));
    let path = format!("/subscriptions/{}", created.body["id"].as_str().unwrap());
    let other = guarded.token(&["Presence.Read.All"], &json!({ "azp": "other" }));
    let manager = guarded.token(&["Presence.Manage.All"], &json!({ "azp": "console" }));
    let none = guarded.token(&["Presence.ReadWrite"], &json!({}));
    for (token, get, listed) in [(&own, 200, 1), (&other, 404, 0), (&manager, 200, 1)] {
        assert_eq!(fixture.send(Method::GET, &path, token, &Value::Null).await.status, get);
        let list = fixture.send(Method::GET, "/subscriptions", token, &Value::Null).await;
        assert_eq!(list.body["value"].as_array().unwrap().len(), listed);
    }
    assert_eq!(fixture.send(Method::GET, &path, &none, &Value::Null).await.status, 403);
    assert_eq!(fixture.send(Method::PATCH, &path, &other, &json!({})).await.status, 404);
    assert_eq!(fixture.send(Method::PATCH, &path, &manager, &json!({})).await.status, 403);
    assert_eq!(fixture.send(Method::DELETE, &path, &other, &Value::Null).await.status, 404);
    assert_eq!(fixture.send(Method::DELETE, &path, &manager, &Value::Null).await.status, 204);
}

async fn deliveries_pause_when_the_token_expires_and_what_is_owed_follows(engine: Engine) {
    let guarded = Guarded::new(engine).await;
    let fixture = &guarded.fixture;
    let token = guarded.token(&["Presence.Read.All"], &json!({}));
    let mut body = fixture.body(&["ada"]);
    body["expirationDateTime"] = json!("2026-11-22T04:45:00Z");
    body["lifecycleNotificationUrl"] = json!(format!("https://{}/lifecycle", fixture.receiver.address));
    let created = fixture.send(Method::POST, "/subscriptions", &token, &body).await;
    let id = created.body["id"].as_str().unwrap().to_owned();
    guarded.set("ada", "Busy/InACall").await;
    fixture.received(1).await;
    // Three quarters of the token's hour.
    fixture.server.clock.advance(Duration::from_mins(46));
    let bodies = fixture.received(2).await;
    assert_eq!(bodies[1]["value"][0]["lifecycleEvent"], "reauthorizationRequired");
    assert_eq!(bodies[1]["value"][0]["subscriptionId"], id.as_str());
    assert_eq!(fixture.notifications()[1].uri.path(), "/lifecycle");
    fixture.server.clock.advance(Duration::from_mins(15));
    guarded.set("ada", "Away/Away").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.notifications().len(), 2, "nothing is sent without a token");
    let later = guarded.token(&["Presence.Read.All"], &json!({ "exp": 4_102_444_800_i64 }));
    let again = format!("/subscriptions/{id}/reauthorize");
    assert_eq!(fixture.send(Method::POST, &again, &later, &Value::Null).await.status, 204);
    let bodies = fixture.received(3).await;
    assert_eq!(bodies[2]["value"][0]["resourceData"]["id"], "ada");
}
