//! `GET /me`: the user of the access token, from its claims.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::Guarded;
use crate::{
    graph::{JsonResponse, ODATA_JSON},
    support::{
        contract,
        database::Engine,
        metrics, on_every_engine,
        server::Server,
        tokens::{USER, application, delegated, with},
    },
};

on_every_engine![me_has_the_claims_that_describe_the_user_and_no_others];

/// A client with a token.
pub struct TokenClient {
    base: String,
    http: Client,
    pub authorization: String,
}

impl TokenClient {
    pub fn new(guarded: &Guarded, claims: &Value) -> Self {
        let authorization = format!("Bearer {}", guarded.signer.sign(claims));
        Self { base: guarded.server.graph(), http: Client::new(), authorization }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> JsonResponse {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let request = request.header("authorization", &self.authorization);
        JsonResponse::read(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> JsonResponse {
        self.send(Method::GET, path, &[], &Value::Null).await
    }

    /// Reads `/me`, which must follow the OpenAPI document.
    async fn me(&self) -> Value {
        let response = self.get("/v1.0/me").await;
        let content_type = response.header("content-type");
        contract::check("get", "/v1.0/me", response.status, content_type, &response.body.to_string());
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }
}

/// The claims of a user's token with these scopes and further claims.
pub fn described(scopes: &str, claims: &Value) -> Value {
    let mut all = delegated(scopes);
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    all
}

/// The claims that describe a user, of an access token of Entra ID, and others.
pub fn megan() -> Value {
    json!({
        "name": "Megan Bowen",
        "preferred_username": "MeganB@contoso.com",
        "email": "megan.bowen@contoso.com",
        "given_name": "Megan",
        "ipaddr": "203.0.113.7",
        "groups": ["66825e03-7ef5-42da-9069-724602c31f6b"],
        "unique_name": { "secret": 1 },
    })
}

/// The number of statements that the service has sent for calls.
async fn statements(server: &Server) -> f64 {
    let text = metrics::scrape(server.addresses.admin).await;
    let counts = text.lines().filter(|line| line.starts_with("presence_statement_duration_seconds_count"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn me_has_the_claims_that_describe_the_user_and_no_others(engine: Engine) {
    let guarded = Guarded::start(engine, &[]).await;
    let before = statements(&guarded.server).await;
    let root = guarded.server.graph();
    let expected = |version: &str| {
        json!({
            "@odata.context": format!("{root}{version}/$metadata#users/$entity"),
            "id": USER,
            "displayName": "Megan Bowen",
            "userPrincipalName": "MeganB@contoso.com",
            "mail": "megan.bowen@contoso.com",
        })
    };
    // No scope of ours is needed, and the second request finds the token among the verified ones.
    for scopes in ["User.Read", "Presence.Read", ""] {
        let user = TokenClient::new(&guarded, &described(scopes, &megan()));
        for path in ["/v1.0/me", "/beta/me", "/V1.0/Me/", "/v1.0/me?$select=*"] {
            let response = user.get(path).await;
            assert_eq!(response.status, 200, "{path}: {}", response.body);
            let version = if path.starts_with("/beta") { "/beta" } else { "/v1.0" };
            assert_eq!(response.body, expected(version), "{path}");
            let headers =
                ["content-type", "cache-control", "odata-version"].map(|name| response.header(name));
            assert_eq!(headers, [Some(ODATA_JSON), Some("no-store"), Some("4.0")]);
        }
        assert_eq!(user.me().await, expected("/v1.0"));
        assert_eq!(user.send(Method::HEAD, "/v1.0/me", &[], &Value::Null).await.status, 200);
    }

    // In a batch, each item may have a token of its own.
    let user = TokenClient::new(&guarded, &described("User.Read", &megan()));
    let other = "someone.else@example.com";
    let other = TokenClient::new(&guarded, &described("User.Read", &json!({ "oid": other, "upn": other })));
    let item = |id: &str, url: &str, headers: Value| json!({ "id": id, "method": "GET", "url": url, "headers": headers });
    let items = [
        item("1", "/me", json!({})),
        item("2", "/beta/me", json!({})),
        item("3", "me?$select=id,mail", json!({ "Authorization": other.authorization })),
    ];
    let batch = user.send(Method::POST, "/v1.0/$batch", &[], &json!({ "requests": items })).await.body;
    let bodies = [0, 1, 2].map(|index| batch["responses"][index]["body"].clone());
    let context = format!("{root}/v1.0/$metadata#users(id,mail)/$entity");
    let third = json!({ "@odata.context": context, "id": "someone.else@example.com", "mail": null });
    assert_eq!(bodies, [expected("/v1.0"), expected("/beta"), third], "{batch}");

    assert!((statements(&guarded.server).await - before).abs() < f64::EPSILON, "no database was read");
    guarded.server.stop().await;
}

#[tokio::test]
async fn a_property_of_me_without_a_text_in_its_claim_is_null() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    for (claims, [name, principal, mail]) in [
        (json!({}), [None; 3]),
        (json!({ "name": "Megan", "upn": "m@contoso.com" }), [Some("Megan"), Some("m@contoso.com"), None]),
        (
            json!({ "preferred_username": "new@contoso.com", "upn": "old@contoso.com", "email": "a@b" }),
            [None, Some("new@contoso.com"), Some("a@b")],
        ),
        (json!({ "name": "", "upn": null, "email": "" }), [None; 3]),
        // A claim that only describes the user does not make the token invalid.
        (json!({ "name": ["Megan"], "preferred_username": 5, "upn": {}, "email": true }), [None; 3]),
        (json!({ "name": "\u{1F600} \"M\"\n\u{0}" }), [Some("\u{1F600} \"M\"\n\u{0}"), None, None]),
    ] {
        let user = TokenClient::new(&guarded, &described("", &claims));
        let me = user.me().await;
        let shown = ["displayName", "userPrincipalName", "mail"].map(|property| me[property].clone());
        assert_eq!(shown, [name, principal, mail].map(|text| json!(text)), "{claims}: {me}");
        assert_eq!(me.as_object().unwrap().len(), 5, "{me}");
    }
    // The id has the form in which a presence has it.
    for (oid, id) in [(USER.to_uppercase(), USER), ("Ada@Example.com".to_owned(), "ada@example.com")] {
        let user = TokenClient::new(&guarded, &described("Presence.Read", &json!({ "oid": oid })));
        assert_eq!(user.me().await["id"], id);
        assert_eq!(user.get("/v1.0/me/presence").await.body["id"], id);
    }
    guarded.server.stop().await;
}

#[tokio::test]
async fn select_reduces_me_and_names_what_no_claim_has() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let user = TokenClient::new(&guarded, &described("User.Read", &megan()));
    let context =
        |select: &str| json!(format!("{}/v1.0/$metadata#users{select}/$entity", guarded.server.graph()));
    let id = json!(USER);
    let name = json!("Megan Bowen");
    for (select, expected, ignored) in [
        ("id", json!({ "@odata.context": context("(id)"), "id": id }), None),
        (
            "DisplayName,%20id,id",
            json!({ "@odata.context": context("(displayName,id)"), "displayName": name, "id": id }),
            None,
        ),
        (
            "displayName,jobTitle,department",
            json!({ "@odata.context": context("(displayName)"), "displayName": name }),
            Some("?$select=jobTitle, ?$select=department"),
        ),
        ("photo", json!({ "@odata.context": context("") }), Some("?$select=photo")),
    ] {
        let response = user.get(&format!("/v1.0/me?$select={select}")).await;
        assert_eq!((response.status, &response.body), (200, &expected), "{select}");
        assert_eq!(response.header("presence-ignored"), ignored, "{select}");
    }
    let strict = [("prefer", "handling=strict")];
    let refused = user.send(Method::GET, "/v1.0/me?$select=id,diplayName", &strict, &Value::Null).await;
    refused.is_refused(400, "InvalidArgument");
    let expected = "`?$select=diplayName` is an unknown property; the nearest known name is `displayName`.";
    assert_eq!(refused.message(), expected);
    for query in ["$select=", "$select=id,,mail", "$select=id&select=id", "$expand=manager", "$filter=x"] {
        let refused = user.get(&format!("/v1.0/me?{query}")).await;
        refused.is_refused(400, "InvalidArgument");
    }
    let other = user.get("/v1.0/me?api-version=1").await;
    assert_eq!((other.status, other.header("presence-ignored")), (200, Some("?api-version")));
    guarded.server.stop().await;
}

#[tokio::test]
async fn me_without_a_user_is_refused_as_for_its_presence() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let unnamed = with(&json!({ "scp": "User.Read Presence.Read", "name": "Megan" }));
    for (claims, status, code, text) in [
        (application(&["Presence.Read.All"]), 400, "BadRequest", "delegated authentication flow"),
        (with(&json!({ "name": "Service", "email": "s@contoso.com" })), 400, "BadRequest", "delegated"),
        (unnamed, 401, "InvalidAuthenticationToken", "no valid user (claim oid)"),
    ] {
        let client = TokenClient::new(&guarded, &claims);
        for path in ["/v1.0/me", "/beta/me", "/v1.0/me/presence"] {
            let response = client.get(path).await;
            response.is_refused(status, code);
            assert!(response.message().contains(text), "{}", response.message());
        }
    }
    let user = TokenClient::new(&guarded, &described("User.Read", &megan()));
    for method in [Method::POST, Method::PATCH, Method::DELETE] {
        user.send(method, "/v1.0/me", &[], &json!({})).await.is_refused(405, "MethodNotAllowed");
    }
    // Only the user of the token is described.
    user.get(&format!("/v1.0/users/{USER}")).await.is_refused(404, "ResourceNotFound");
    guarded.server.stop().await;

    let server = Server::start(Engine::Sqlite).await;
    for path in ["/v1.0/me", "/beta/me?$select=id"] {
        let url = format!("{}{path}", server.graph());
        let response = JsonResponse::read(reqwest::get(url).await.unwrap()).await;
        response.is_refused(401, "InvalidAuthenticationToken");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert!(response.message().contains("authentication is off"), "{}", response.message());
    }
    server.stop().await;
}
