//! Reads from a hot standby, which may return old data.

use std::{net::TcpListener, time::Duration};

use presenced::{
    admin,
    app::{Addresses, App, Drain},
    clock::{Clock, Stopwatch},
    grpc::pb::{
        BatchGetPresencesRequest, CountPresencesRequest, ExplainPresenceRequest, GetPresenceRequest,
        ListPresencesRequest, presence_service_client::PresenceServiceClient,
    },
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use crate::{
    support::{
        client::{Api, Client, Outcome, words},
        database::{Cluster, Engine, TestDatabase},
        metrics,
        process::unused_address,
        proxy::{Network, Proxy},
        server::{settings, start},
        wait::eventually,
    },
    watch::connect,
};

const HEADER: &str = "presence-read";

/// A client of one service whose reads prefer the read replica.
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

    /// The user's presence, for example `u Busy/InACall`.
    async fn get(&self, user: &str) -> String {
        let request = Self::request(GetPresenceRequest { user_id: user.to_owned(), ..Default::default() });
        words(&self.grpc.clone().get_presence(request).await.unwrap().into_inner().presence.unwrap())
    }

    /// Waits until the replica has this presence.
    async fn gets_eventually(&self, expected: &str) {
        let user = expected.split(' ').next().unwrap();
        let what = format!("the replica returns {expected:?}");
        eventually(&what, async || self.get(user).await == expected).await;
    }

    async fn metric(&self, name: &str) -> f64 {
        metrics::value(self.addresses.admin, name).await
    }

    /// Waits until the service has noticed whether the replica works.
    async fn notices_that_the_replica_is(&self, up: bool) {
        let value = f64::from(u8::from(up));
        let noticed = async || (self.metric("presence_read_replica_up").await - value).abs() < f64::EPSILON;
        eventually(&format!("presence_read_replica_up is {value}"), noticed).await;
    }

    /// Every operation that can read from the replica returns `u` with this availability,
    /// and no other user.
    async fn all_operations_return(&self, availability: &str) {
        assert!(self.get("u").await.starts_with(&format!("u {availability}/")));
        let request =
            Self::request(BatchGetPresencesRequest { user_ids: vec!["u".to_owned()], ..Default::default() });
        let batch = self.grpc.clone().batch_get_presences(request).await.unwrap().into_inner();
        assert!(words(&batch.presences[0]).starts_with(&format!("u {availability}/")));
        let list = Self::request(ListPresencesRequest::default());
        let list = self.grpc.clone().list_presences(list).await.unwrap().into_inner();
        assert_eq!(list.presences, batch.presences);
        let count = Self::request(CountPresencesRequest::default());
        let count = self.grpc.clone().count_presences(count).await.unwrap().into_inner();
        assert_eq!((count.count, count.users_read), (1, 1));

        let shows = format!(r#""availability":"{availability}""#);
        let ids = json!({ "ids": ["u"] });
        let batch = json!({ "requests": [{ "id": "1", "method": "GET", "url": "/users/u/presence" }] });
        for (path, body) in [
            ("/users/u/presence", None),
            ("/communications/getPresencesByUserId", Some(ids)),
            ("/communications/presences", None),
            (&format!("/communications/presences?$filter=availability eq '{availability}'"), None),
            ("/$batch", Some(batch)),
        ] {
            let text = self.http(path, body).await;
            assert!(text.contains(&shows) && !text.contains(r#""id":"new""#), "{path}: {text}");
        }
        let count = "/communications/presences/$count";
        assert_eq!(self.http(count, None).await, "1");
        let filter = format!("{count}?$filter=availability eq '{availability}'");
        assert_eq!(self.http(&filter, None).await, "1");
    }
}

fn client(app: &App, api: Api) -> Client {
    Client::new(api, app.addresses().grpc, app.addresses().http)
}

fn shown(presence: &str) -> Outcome {
    Outcome::Presences(vec![presence.to_owned()])
}

#[tokio::test]
async fn only_calls_that_ask_for_the_replica_read_from_it() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let standby = Cluster::standby();
    let url = standby.url_of(&database);
    let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::new()).await;
    let (reader, client) = (Reader::new(&app).await, client(&app, Api::Http));
    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    reader.gets_eventually("u Busy/InACall").await;
    reader.notices_that_the_replica_is(true).await;

    // The replica applies no more changes.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("select pg_wal_replay_pause()").execute(&mut connection).await.unwrap();
    let state = "select pg_get_wal_replay_pause_state()";
    let paused =
        async || sqlx::query_scalar::<_, String>(state).fetch_one(&mut connection).await.unwrap() == "paused";
    eventually("the replica pauses its replay", paused).await;
    assert_eq!(client.set("u", "app", "DoNotDisturb/Presenting", "PT1H").await, Outcome::Done);
    assert_eq!(client.set("new", "app", "Away/Away", "PT1H").await, Outcome::Done);

    reader.all_operations_return("Busy").await;
    for api in [Api::Grpc, Api::Http] {
        let client = self::client(&app, api);
        assert_eq!(client.get("u").await, shown("u DoNotDisturb/Presenting"));
        assert_eq!(client.batch_get(&["new"]).await, shown("new Away/Away"));
    }
    let explain = Reader::request(ExplainPresenceRequest { user_id: "u".to_owned(), ..Default::default() });
    let explained = reader.grpc.clone().explain_presence(explain).await.unwrap().into_inner();
    assert_eq!(words(&explained.presence.unwrap()), "u DoNotDisturb/Presenting", "reads the database");

    sqlx::query("select pg_wal_replay_resume()").execute(&mut connection).await.unwrap();
    reader.gets_eventually("u DoNotDisturb/Presenting").await;
    assert_eq!(app.stop(Duration::from_secs(10), std::future::pending()).await, Drain::Complete);
}

#[tokio::test]
async fn while_the_replica_is_unreachable_reads_go_to_the_database() {
    let database = TestDatabase::new(Engine::Postgres).await;
    // In place of a replica, another database with other content.
    let other = TestDatabase::new(Engine::Postgres).await;
    let old = start(&settings(&other.url, &[]), Clock::new()).await;
    assert_eq!(client(&old, Api::Grpc).set("u", "app", "Away/Away", "PT1H").await, Outcome::Done);
    let (proxy, url) = Proxy::to(&other.url).await;
    let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::new()).await;
    let (reader, client) = (Reader::new(&app).await, client(&app, Api::Grpc));
    assert_eq!(client.set("u", "app", "Busy/InACall", "PT1H").await, Outcome::Done);
    for network in [Network::Cut, Network::Hung] {
        reader.notices_that_the_replica_is(true).await;
        assert_eq!(reader.get("u").await, "u Away/Away");
        proxy.set(network);
        let stopwatch = Stopwatch::start();
        assert_eq!(reader.get("u").await, "u Busy/InACall");
        assert!(stopwatch.elapsed() < Duration::from_secs(3), "{:?}", stopwatch.elapsed());
        reader.notices_that_the_replica_is(false).await;
        let stopwatch = Stopwatch::start();
        assert_eq!(reader.get("u").await, "u Busy/InACall");
        assert!(
            stopwatch.elapsed() < Duration::from_secs(1),
            "no read waits for the replica: {:?}",
            stopwatch.elapsed()
        );
        admin::healthcheck(app.addresses().admin).await.expect("the service is ready without its replica");
        proxy.set(Network::Up);
    }
    assert!(reader.metric("presence_read_replica_fallbacks_total").await >= 4.0);
    assert!(reader.metric("presence_read_replica_reads_total").await >= 2.0);
}

#[tokio::test]
async fn a_missing_replica_does_not_delay_the_start() {
    let database = TestDatabase::new(Engine::Postgres).await;
    // The system accepts connections to it, and nothing responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [unused_address(), silent.local_addr().unwrap().to_string()] {
        let url = format!("postgres://presence@{address}/presence");
        let stopwatch = Stopwatch::start();
        let app = start(&settings(&database.url, &["--database-read-url", &url]), Clock::new()).await;
        // A start that waited for the silent replica would take 5 s longer.
        assert!(stopwatch.elapsed() < Duration::from_secs(5), "{:?}", stopwatch.elapsed());
        assert_eq!(Reader::new(&app).await.get("u").await, "u Offline/Offline");
    }
}
