//! Tenants are isolated; and the claims of a token that name the caller.

use presenced::grpc::pb::{
    BatchGetPresencesRequest, ClearPresenceRequest, ExplainPresenceRequest, GetPresenceRequest,
    ListPresencesRequest, presence_service_client::PresenceServiceClient,
};
use reqwest::Client;
use serde_json::{Value, json};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt;

use super::Guarded;
use crate::support::{
    client::words,
    database::Engine,
    lists::token_of,
    on_every_engine,
    tokens::{APP, OTHER_TENANT, TENANT, USER, application, delegated, with},
};

on_every_engine![a_tenant_cannot_see_or_change_another_tenants_data];

/// A client of both APIs with a token.
struct TokenClient {
    token: String,
    http: Client,
    base: String,
    grpc: PresenceServiceClient<Channel>,
}

impl TokenClient {
    fn new(guarded: &Guarded, claims: &Value) -> Self {
        let channel = Channel::from_shared(format!("http://{}", guarded.server.addresses.grpc)).unwrap();
        Self {
            token: format!("Bearer {}", guarded.signer.sign(claims)),
            http: Client::new(),
            base: format!("{}/v1.0", guarded.server.graph()),
            grpc: PresenceServiceClient::new(channel.connect_lazy()),
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.base));
        read(request.header("authorization", &self.token).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        read(request.header("authorization", &self.token).send().await.unwrap()).await
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        request
    }
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The claims of an administrator who may set nothing.
fn administrator(tenant: &str) -> Value {
    with(&json!({ "tid": tenant, "azp": "console", "roles": ["Presence.Manage.All"] }))
}

/// Clears what [`actions`] set and an administrator may clear; returns the three statuses.
async fn clear_all(client: &TokenClient) -> [u16; 3] {
    let presence = format!("/users/{USER}/presence");
    let silence = json!({ "statusMessage": { "message": { "content": "" } } });
    let mut statuses = [0; 3];
    let clears = [
        ("clearPresence", json!({ "sessionId": APP })),
        ("clearUserPreferredPresence", Value::Null),
        ("setStatusMessage", silence),
    ];
    for (status, (action, body)) in statuses.iter_mut().zip(clears) {
        *status = client.post(&format!("{presence}/{action}"), &body).await.0;
    }
    statuses
}

fn of_tenant(tenant: &str) -> Value {
    with(&json!({ "tid": tenant, "roles": ["Presence.ReadWrite.All"] }))
}

fn actions() -> [(&'static str, Value); 4] {
    [
        ("setPresence", json!({ "sessionId": APP, "availability": "Busy", "activity": "InACall" })),
        ("setUserPreferredPresence", json!({ "availability": "Away", "activity": "Away" })),
        ("setStatusMessage", json!({ "statusMessage": { "message": { "content": "Hi" } } })),
        ("setAutomaticLocation", json!({ "workLocationType": "office" })),
    ]
}

async fn a_tenant_cannot_see_or_change_another_tenants_data(engine: Engine) {
    let guarded = Guarded::start(engine, &[]).await;
    let [mine, other] = [TENANT, OTHER_TENANT].map(|tenant| TokenClient::new(&guarded, &of_tenant(tenant)));
    let presence = format!("/users/{USER}/presence");
    for (action, body) in actions() {
        assert_eq!(mine.post(&format!("{presence}/{action}"), &body).await.0, 200);
    }

    // The other tenant's user with the same id has no data.
    let unset = other.get(&presence).await.1;
    assert_eq!((&unset["availability"], &unset["statusMessage"]), (&json!("Offline"), &Value::Null));
    assert_eq!(
        (&unset["workLocation"]["source"], &unset["sequenceNumber"]),
        (&json!("none"), &json!("A0000000000000"))
    );
    let ids = json!({ "ids": [USER] });
    let many = other.post("/communications/getPresencesByUserId", &ids).await.1;
    assert_eq!(many["value"][0]["availability"], "Offline");
    assert_eq!(other.get("/communications/presences").await.1["value"], json!([]));
    assert_eq!(other.get("/communications/presences/$count").await.1, 0);
    assert_eq!(other.post(&format!("{presence}/clearPresence"), &json!({ "sessionId": APP })).await.0, 404);
    for action in ["clearUserPreferredPresence", "clearAutomaticLocation"] {
        assert_eq!(other.post(&format!("{presence}/{action}"), &Value::Null).await.0, 200);
    }
    let mut grpc = other.grpc.clone();
    let (user_id, session_id) = (USER.to_owned(), APP.to_owned());
    let explained = grpc.explain_presence(
        other.request(ExplainPresenceRequest { user_id: user_id.clone(), ..Default::default() }),
    );
    assert!(explained.await.unwrap().into_inner().sessions.is_empty());
    let many =
        other.request(BatchGetPresencesRequest { user_ids: vec![user_id.clone()], ..Default::default() });
    let many = grpc.batch_get_presences(many).await.unwrap().into_inner();
    assert_eq!(words(&many.presences[0]), format!("{USER} Offline/Offline"));
    let clear =
        other.request(ClearPresenceRequest { user_id: user_id.clone(), session_id, observed_time: None });
    assert_eq!(grpc.clear_presence(clear).await.unwrap_err().code(), Code::NotFound);

    // An item of a batch uses its own token, or else the batch's.
    let item =
        |id: &str, headers: Value| json!({ "id": id, "method": "GET", "url": presence, "headers": headers });
    let items = [item("1", json!({})), item("2", json!({ "Authorization": other.token }))];
    let batch = mine.post("/$batch", &json!({ "requests": items })).await.1;
    let shown = |index: usize| batch["responses"][index]["body"]["availability"].as_str();
    assert_eq!((shown(0), shown(1)), (Some("Away"), Some("Offline")));

    // A write by the other tenant does not change this tenant's user.
    let (_, busy) = &actions()[0];
    let mut set = busy.clone();
    (set["availability"], set["activity"]) = (json!("DoNotDisturb"), json!("Presenting"));
    assert_eq!(other.post(&format!("{presence}/setPresence"), &set).await.0, 200);
    let mut mine_grpc = mine.grpc.clone();
    let got = mine_grpc
        .get_presence(mine.request(GetPresenceRequest { user_id, ..Default::default() }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(words(&got.presence.unwrap()), format!("{USER} Away/Away \"Hi\" Office Automatic"));
    assert_eq!(mine.get("/communications/presences/$count").await.1, 1);

    // The token of a page is of one tenant.
    for client in [&mine, &other] {
        assert_eq!(client.post("/users/second/presence/setPresence", &set).await.0, 200);
    }
    let list = "/communications/presences?$top=1";
    let token = token_of(&mine.get(list).await.1);
    let page = format!("{list}&$skiptoken={token}");
    let (status, second) = mine.get(&page).await;
    assert_eq!((status, &second["value"][0]["id"]), (200, &json!("second")));
    let (status, refused) = other.get(&page).await;
    assert_eq!((status, &refused["error"]["details"][0]["target"]), (400, &json!("$skiptoken")));
    let page = ListPresencesRequest { page_token: token, ..Default::default() };
    mine_grpc.list_presences(mine.request(page.clone())).await.unwrap();
    let refused = grpc.list_presences(other.request(page)).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "page_token");
    guarded.server.stop().await;
}

#[tokio::test]
async fn an_administrator_inspects_and_clears_what_others_set_in_its_own_tenant_only() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let setter = TokenClient::new(&guarded, &of_tenant(TENANT));
    let [mine, other] =
        [TENANT, OTHER_TENANT].map(|tenant| TokenClient::new(&guarded, &administrator(tenant)));
    let presence = format!("/users/{USER}/presence");
    for (action, body) in actions() {
        assert_eq!(setter.post(&format!("{presence}/{action}"), &body).await.0, 200);
    }
    let sessions = async |client: &TokenClient| {
        let request =
            client.request(ExplainPresenceRequest { user_id: USER.to_owned(), ..Default::default() });
        client.grpc.clone().explain_presence(request).await.unwrap().into_inner().sessions.len()
    };
    let shown = async || {
        let shown = setter.get(&presence).await.1;
        (shown["availability"].clone(), shown["statusMessage"]["message"]["content"].clone())
    };

    // The other tenant's user with the same id has nothing to clear.
    assert_eq!(sessions(&other).await, 0);
    assert_eq!(clear_all(&other).await, [404, 200, 200]);
    assert_eq!(shown().await, (json!("Away"), json!("Hi")));

    assert_eq!(sessions(&mine).await, 1);
    assert_eq!(clear_all(&mine).await, [200, 200, 200]);
    assert_eq!(shown().await, (json!("Offline"), Value::Null));
    guarded.server.stop().await;
}

#[tokio::test]
async fn me_is_the_user_of_the_token() {
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let user = TokenClient::new(&guarded, &delegated("Presence.ReadWrite Presence.Read.All"));
    let ends = json!({ "dateTime": "2026-11-23T17:30:00", "timeZone": "UTC" });
    let message = json!({ "message": { "content": "Hi" }, "expiryDateTime": ends });
    for (action, body) in
        actions().into_iter().chain([("setManualLocation", json!({ "workLocationType": "remote" }))])
    {
        assert_eq!(user.post(&format!("/me/presence/{action}"), &body).await.0, 200, "{action}");
    }
    let say = json!({ "statusMessage": message });
    assert_eq!(user.post("/me/presence/setStatusMessage", &say).await.0, 200);
    for path in ["/me/presence", &format!("/users/{USER}/presence")] {
        let own = user.get(path).await.1;
        assert_eq!(own["id"], USER);
        assert_eq!(
            own["statusMessage"]["expiryDateTime"]["dateTime"], "2026-11-23T17:30:00.0000000",
            "{path}"
        );
        assert_eq!(own["statusMessage"]["publishedDateTime"], "2026-11-22T02:50:00.0000000Z", "{path}");
    }
    let application = TokenClient::new(&guarded, &application(&["Presence.ReadWrite.All"]));
    let seen = application.get(&format!("/users/{USER}/presence")).await.1;
    assert_eq!(seen["statusMessage"], json!({ "message": { "content": "Hi", "contentType": "text" } }));
    let (status, refused) = application.get("/me/presence").await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("BadRequest")));
    guarded.server.stop().await;
}

#[tokio::test]
async fn the_policy_any_lets_an_application_use_other_session_ids() {
    let guarded = Guarded::start(Engine::Sqlite, &["--session-id-policy", "any"]).await;
    let application = TokenClient::new(&guarded, &application(&["Presence.ReadWrite.All"]));
    let set = json!({ "sessionId": "desk-phone", "availability": "Busy", "activity": "InACall" });
    assert_eq!(application.post(&format!("/users/{USER}/presence/setPresence"), &set).await.0, 200);
    guarded.server.stop().await;
}

/// The claims of a token that names no application.
fn unnamed() -> Value {
    let mut claims = application(&["Presence.ReadWrite.All"]);
    claims.as_object_mut().unwrap().remove("azp");
    claims
}

#[tokio::test]
async fn a_token_without_an_application_clears_any_session_unless_an_application_is_required() {
    for (flags, expected) in [(&[][..], 200), (&["--require-application"], 401)] {
        let guarded = Guarded::start(Engine::Sqlite, flags).await;
        let setter = TokenClient::new(&guarded, &of_tenant(TENANT));
        let (action, set) = &actions()[0];
        assert_eq!(setter.post(&format!("/users/{USER}/presence/{action}"), set).await.0, 200);
        assert_eq!(clear_all(&TokenClient::new(&guarded, &unnamed())).await[0], expected);
        guarded.server.stop().await;
    }
}

#[tokio::test]
async fn a_required_application_may_be_in_either_claim_and_must_be_in_one() {
    let guarded = Guarded::start(Engine::Sqlite, &["--require-application"]).await;
    let path = format!("/users/{USER}/presence");
    let get = |client: &TokenClient| {
        client.request(GetPresenceRequest { user_id: USER.to_owned(), ..Default::default() })
    };
    let mut user = delegated("Presence.Read");
    user["azp"] = Value::Null;
    for claims in [unnamed(), user] {
        let client = TokenClient::new(&guarded, &claims);
        let (status, refused) = client.get(&path).await;
        assert_eq!((status, &refused["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
        assert!(refused["error"]["message"].as_str().unwrap().contains("(claim appid or azp)"), "{refused}");
        let status = client.grpc.clone().get_presence(get(&client)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.get_details_error_info().unwrap().reason, "ERROR_REASON_TOKEN_INVALID");
    }
    for claim in ["appid", "azp"] {
        let mut claims = unnamed();
        claims[claim] = APP.into();
        let client = TokenClient::new(&guarded, &claims);
        assert_eq!(client.get(&path).await.0, 200, "{claim}");
        client.grpc.clone().get_presence(get(&client)).await.unwrap();
    }
    guarded.server.stop().await;
}

#[tokio::test]
async fn a_token_without_a_tenant_belongs_to_the_default_tenant() {
    let guarded = Guarded::start(Engine::Sqlite, &["--jwt-default-tenant", TENANT]).await;
    let mut claims = application(&["Presence.ReadWrite.All"]);
    let [named, _] = [TENANT, OTHER_TENANT].map(|tenant| TokenClient::new(&guarded, &of_tenant(tenant)));
    claims.as_object_mut().unwrap().remove("tid");
    let unnamed = TokenClient::new(&guarded, &claims);
    let (_, set) = &actions()[0];
    assert_eq!(unnamed.post(&format!("/users/{USER}/presence/setPresence"), set).await.0, 200);
    assert_eq!(named.get("/communications/presences/$count").await.1, 1);
    claims["tid"] = "contoso".into();
    assert_eq!(TokenClient::new(&guarded, &claims).get("/communications/presences/$count").await.0, 401);
    guarded.server.stop().await;
}

#[tokio::test]
async fn an_application_above_its_rate_is_refused_with_a_retry_delay() {
    let guarded = Guarded::start(Engine::Sqlite, &["--rate-limit", "5/100s"]).await;
    let caller = TokenClient::new(&guarded, &application(&["Presence.Read.All"]));
    let path = format!("/users/{USER}/presence");
    // The batch and each of its items count, and both APIs share one count.
    let item = |id: &str| json!({ "id": id, "method": "GET", "url": path });
    let batch = caller.post("/$batch", &json!({ "requests": [item("1"), item("2")] })).await;
    assert_eq!((batch.0, &batch.1["responses"][1]["status"]), (200, &json!(200)));
    let mut grpc = caller.grpc.clone();
    let get = || caller.request(GetPresenceRequest { user_id: USER.to_owned(), ..Default::default() });
    for _ in 0..2 {
        grpc.get_presence(get()).await.unwrap();
    }
    let status = grpc.get_presence(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs() <= 20);
    let url = format!("{}{path}", caller.base);
    let refused = caller.http.get(url).header("authorization", &caller.token).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");

    // An application with the same id in another tenant, and another application, are not limited.
    assert_eq!(TokenClient::new(&guarded, &of_tenant(OTHER_TENANT)).get(&path).await.0, 200);
    let another = with(&json!({ "azp": "another", "roles": ["Presence.Read.All"] }));
    assert_eq!(TokenClient::new(&guarded, &another).get(&path).await.0, 200);
    guarded.server.stop().await;
}
