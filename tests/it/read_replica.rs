//! Reads that may be old, from a hot standby.

use std::time::Duration;

use presenced::{
    admin,
    app::{Addresses, App},
    clock::{Clock, Stopwatch},
    grpc::pb::{
        BatchGetPresencesRequest, ExplainPresenceRequest, GetPresenceRequest,
        presence_service_client::PresenceServiceClient,
    },
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use crate::{
    support::{
        client::{Api, Client, Outcome, words},
        database::{Cluster, Engine, TestDatabase},
        process::nobody,
        proxy::{Network, Proxy},
        server::{settings, start},
    },
    watch::{PATIENCE, connect, metric},
};

const HEADER: &str = "presence-read";

/// Reads of one service that ask for a replica.
struct Reader {
    addresses: Addresses,
    grpc: PresenceServiceClient<Channel>,
}

impl Reader {
    async fn new(app: &App) -> Self {
        let addresses = app.addresses();
        Self { addresses, grpc: PresenceServiceClient::new(connect(addresses).await) }
    }

    fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(HEADER, MetadataValue::from_static("replica"));
        request
    }

    async fn http(&self, path: &str, body: Option<Value>) -> String {
        let (http, url) = (reqwest::Client::new(), format!("http://{}/v1.0{path}", self.addresses.http));
        let request = match body {
            Some(body) => http.post(url).json(&body),
            None => http.get(url),
        };
        request.header(HEADER, "replica").send().await.unwrap().text().await.unwrap()
    }

    /// What a user is shown as.
    async fn get(&self, user: &str) -> String {
        let request = Self::request(GetPresenceRequest { user_id: user.to_owned() });
        words(&self.grpc.clone().get_presence(request).await.unwrap().into_inner().presence.unwrap())
    }

    async fn comes_to_get(&self, expected: &str) {
        let user = expected.split(' ').next().unwrap();
        let comes = async {
            while self.get(user).await != expected {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, comes).await.expect("the replica follows");
    }

    async fn comes_to_be_up(&self, up: u64) {
        let comes = async {
            while metric(self.addresses, "presence_read_replica_up").await != up {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, comes).await.expect("the loop notices");
    }

    /// Every read that may be old shows `u` with this availability, and no other user.
    async fn all_show(&self, availability: &str) {
        assert!(self.get("u").await.starts_with(&format!("u {availability}/")));
        let request = Self::request(BatchGetPresencesRequest { user_ids: vec!["u".to_owned()] });
        let answer = self.grpc.clone().batch_get_presences(request).await.unwrap().into_inner();
        assert!(words(&answer.presences[0]).starts_with(&format!("u {availability}/")));

        let shows = format!(r#""availability":"{availability}""#);
        let ids = json!({ "ids": ["u"] });
        let batch = json!({ "requests": [{ "id": "1", "method": "GET", "url": "/users/u/presence" }] });
        for (path, body) in [
            ("/users/u/presence", None),
            ("/communications/getPresencesByUserId", Some(ids)),
            ("/communications/presences", None),
            ("/$batch", Some(batch)),
        ] {
            let text = self.http(path, body).await;
            assert!(text.contains(&shows) && !text.contains(r#""id":"new""#), "{path}: {text}");
        }
        assert_eq!(self.http("/communications/presences/$count", None).await, "1");
    }
}

fn client(app: &App, api: Api) -> Client {
    Client::new(api, app.addresses().grpc, app.addresses().http)
}

fn shown(presence: &str) -> Outcome {
    Outcome::Presences(vec![presence.to_owned()])
}

#[tokio::test]
async fn only_who_asks_for_it_reads_what_the_replica_shows() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let standby = Cluster::standby();
    let url = standby.url_of(&database);
    let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::System).await;
    let (reader, client) = (Reader::new(&app).await, client(&app, Api::Http));
    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    reader.comes_to_get("u Busy/InACall").await;
    reader.comes_to_be_up(1).await;

    // The replica stands still.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("select pg_wal_replay_pause()").execute(&mut connection).await.unwrap();
    let paused = async {
        let state = "select pg_get_wal_replay_pause_state()";
        while sqlx::query_scalar::<_, String>(state).fetch_one(&mut connection).await.unwrap() != "paused" {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, paused).await.expect("replay pauses");
    assert_eq!(client.set("u", "app", "DoNotDisturb/Presenting", "PT1H").await, Outcome::Done);
    assert_eq!(client.set("new", "app", "Away/Away", "PT1H").await, Outcome::Done);

    reader.all_show("Busy").await;
    for api in [Api::Grpc, Api::Http] {
        let client = self::client(&app, api);
        assert_eq!(client.get("u").await, shown("u DoNotDisturb/Presenting"));
        assert_eq!(client.batch_get(&["new"]).await, shown("new Away/Away"));
    }
    let explain = Reader::request(ExplainPresenceRequest { user_id: "u".to_owned() });
    let explained = reader.grpc.clone().explain_presence(explain).await.unwrap().into_inner();
    assert_eq!(words(&explained.presence.unwrap()), "u DoNotDisturb/Presenting", "it is never old");

    sqlx::query("select pg_wal_replay_resume()").execute(&mut connection).await.unwrap();
    reader.comes_to_get("u DoNotDisturb/Presenting").await;
    assert!(app.stop(Duration::from_secs(10), std::future::pending()).await);
}

#[tokio::test]
async fn while_the_replica_is_away_the_database_answers_for_it() {
    let database = TestDatabase::new(Engine::Postgres).await;
    // A replica that shows something else: it is another database.
    let other = TestDatabase::new(Engine::Postgres).await;
    let old = start(&settings(&other.url, &[]), Clock::System).await;
    assert_eq!(client(&old, Api::Grpc).set("u", "app", "Away/Away", "PT1H").await, Outcome::Done);
    let (proxy, url) = Proxy::to(&other.url).await;
    let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::System).await;
    let (reader, client) = (Reader::new(&app).await, client(&app, Api::Grpc));
    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    for network in [Network::Cut, Network::Hung] {
        reader.comes_to_be_up(1).await;
        assert_eq!(reader.get("u").await, "u Away/Away");
        proxy.set(network);
        let stopwatch = Stopwatch::start();
        assert_eq!(reader.get("u").await, "u Busy/InACall");
        assert!(stopwatch.elapsed() < Duration::from_secs(3), "{:?}", stopwatch.elapsed());
        reader.comes_to_be_up(0).await;
        let stopwatch = Stopwatch::start();
        assert_eq!(reader.get("u").await, "u Busy/InACall");
        assert!(
            stopwatch.elapsed() < Duration::from_secs(1),
            "nobody waits for it: {:?}",
            stopwatch.elapsed()
        );
        admin::healthcheck(app.addresses().admin).await.expect("it is ready without");
        proxy.set(Network::Up);
    }
    assert!(metric(app.addresses(), "presence_read_replica_fallbacks_total").await >= 4);
    assert!(metric(app.addresses(), "presence_read_replica_reads_total").await >= 2);
}

#[tokio::test]
async fn a_replica_that_is_not_there_holds_up_no_start() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let url = format!("postgres://presence@{}/presence", nobody());
    let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::System).await;
    assert_eq!(Reader::new(&app).await.get("u").await, "u Offline/Offline");
}
