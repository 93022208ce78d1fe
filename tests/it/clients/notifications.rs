//! The receivers of `docs/receivers.md`, and the official Graph SDK for Java, verify and decrypt
//! notifications.

use std::{fs, path::Path, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeySize, PrivateDecryptingKey},
};
use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use presenced::{
    clock::Clock,
    notify::{
        Certificate, Order, Outcome, ReceiverSettings, Receivers, RichContent, ServiceKey, SigningKey, Url,
        generate_signing_key, graph_body, graph_reauthorization, service_body, service_reauthorization,
        signatures,
    },
    presence::{Author, Pair, Presence, Timestamp, User},
    store::{NotificationFormat, Subscription, SubscriptionKey, SubscriptionRequest},
};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};
use uuid::Uuid;

use super::{
    FOLDER,
    running::{Running, shell},
};

const TENANT: Uuid = Uuid::from_u128(0x7e4a);
const APP: &str = "22553876-f5ab-4529-bffb-cfe50aa89f87";
const STATE: &str = "a client state";

/// What a service has for a subscriber, and the files and key of the subscriber.
struct Fixture {
    folder: TempDir,
    now: Timestamp,
    certificate: Certificate,
    key: Arc<ServiceKey>,
    signing_key: String,
    /// The URL of a service, of which only the public keys exist.
    url: String,
}

impl Fixture {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let now = Clock::new().now();
        let pkcs8 = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let private_key = KeyPair::try_from(pkcs8.as_ref()).unwrap();
        fs::write(folder.path().join("key.pem"), private_key.serialize_pem()).unwrap();
        let certificate = CertificateParams::new([]).unwrap().self_signed(&private_key).unwrap();
        let certificate = Certificate::parse(&STANDARD.encode(certificate.der()), now).unwrap();

        let key = Arc::new(ServiceKey::parse(&ServiceKey::generate(now).unwrap()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let set = serde_json::json!({ "keys": [key.jwk()] }).to_string();
        let routes = Router::new().route("/.well-known/jwks.json", get(async || set));
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self { folder, now, certificate, key, signing_key: generate_signing_key().unwrap(), url }
    }

    fn subscription(&self, client_state: &str) -> Subscription {
        Subscription {
            key: SubscriptionKey { tenant_id: TENANT, subscription_id: Uuid::from_u128(0x5b) },
            created_by: Author::default(),
            request: SubscriptionRequest {
                format: NotificationFormat::Graph,
                user_ids: None,
                resource: "communications/presences".to_owned(),
                url: String::new(),
                lifecycle_url: None,
                client_state: Some(client_state.to_owned()),
                certificate: None,
                settle_time: std::time::Duration::ZERO,
                signing_keys: Vec::new(),
            },
            created_at: self.now,
            expires_at: self.now,
            authorized: None,
            delivered_through: self.now,
            generation: 1,
            failing_since: None,
            last_error: None,
        }
    }

    /// A notification with an encrypted presence and a token that this key signed.
    fn rich(&self, key: &ServiceKey) -> Vec<u8> {
        let validation_token = &key.validation_token(TENANT, APP, self.now).unwrap();
        let rich = RichContent { certificate: &self.certificate, certificate_id: "mine", validation_token };
        graph_body(&self.subscription(STATE), [&self.presence()], Some(rich)).unwrap().json
    }

    fn presence(&self) -> Presence {
        let presence = Presence::compute("ada".parse().unwrap(), &User::default(), self.now);
        Presence { pair: Pair::OF_SESSION[1], ..presence }
    }

    /// A notification in the service's form, and its headers.
    fn signed(&self, order: Order) -> (HeaderMap, Vec<u8>) {
        let body = service_body(&self.subscription(STATE), order, [&self.presence()], self.now).unwrap();
        (self.headers(&body.json), body.json)
    }

    /// The headers of Standard Webhooks, as while one key replaces another.
    fn headers(&self, body: &[u8]) -> HeaderMap {
        let keys = [&generate_signing_key().unwrap(), &self.signing_key];
        let keys = keys.map(|key| SigningKey::parse(key).unwrap());
        let seconds = self.now.as_millis() / 1_000;
        let headers = [
            ("webhook-id", "1".to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signatures(&keys, "1", seconds, body)),
        ];
        let header = |(name, value): (&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())
        };
        headers.map(header).into_iter().collect()
    }

    fn with_variables(&self, mut command: Command) -> Command {
        command.env("PRESENCE_URL", &self.url).env("PRESENCE_TENANT", TENANT.to_string());
        command.env("PRESENCE_APP", APP).env("PRESENCE_CLIENT_STATE", STATE);
        command.env("PRESENCE_KEY_FILE", self.folder.path().join("key.pem"));
        command.env("PRESENCE_SIGNING_KEY", &self.signing_key);
        command
    }
}

/// A running receiver, and the client that sends to it.
struct Receiver {
    running: Running,
    receivers: Receivers,
    url: Url,
}

impl Receiver {
    async fn start(fixture: &Fixture, command: &str) -> Self {
        let mut running = Running::start(fixture.with_variables(shell(command, fixture.folder.path())));
        let line = running.prints("-- listening: ").await;
        let port = line.rsplit(' ').next().unwrap();
        let allowed = vec!["127.0.0.1/32".parse().unwrap()];
        let settings = ReceiverSettings { allowed, ..ReceiverSettings::default() };
        let receivers = Receivers::new(&settings).unwrap();
        let url = receivers.check_url(&format!("http://127.0.0.1:{port}/hook")).unwrap();
        Self { running, receivers, url }
    }

    /// Sends a body, which the receiver accepts and prints so.
    async fn accepts(&mut self, headers: HeaderMap, body: Vec<u8>, printed: &str) {
        let outcome = self.receivers.post(&self.url, headers, Bytes::from(body)).await;
        assert_eq!(outcome, Outcome::Delivered(StatusCode::ACCEPTED), "{}", self.running.output());
        self.running.prints(printed).await;
    }

    /// Sends a body, which the receiver refuses.
    async fn refuses(&mut self, headers: HeaderMap, body: Vec<u8>) {
        let outcome = self.receivers.post(&self.url, headers, Bytes::from(body)).await;
        let refused = matches!(outcome, Outcome::Rejected { status: StatusCode::BAD_REQUEST, .. });
        assert!(refused, "{outcome}\n{}", self.running.output());
        self.running.prints("-- refused: ").await;
    }
}

async fn verifies_and_decrypts(fixture: Fixture, command: &str) {
    let mut receiver = Receiver::start(&fixture, command).await;
    let none = HeaderMap::new;
    assert_eq!(receiver.receivers.handshake(&receiver.url, "a token & more").await, Ok(()));

    let (mine, other) = (fixture.subscription(STATE), fixture.subscription("other"));
    let basic = |subscription| graph_body(subscription, [&fixture.presence()], None).unwrap().json;
    receiver.accepts(none(), basic(&mine), "ada changed").await;
    receiver.refuses(none(), basic(&other)).await;
    receiver.accepts(none(), fixture.rich(&fixture.key), "ada Busy InACall").await;
    let forger = ServiceKey::parse(&ServiceKey::generate(fixture.now).unwrap()).unwrap();
    receiver.refuses(none(), fixture.rich(&forger)).await;
    let reauthorization = graph_reauthorization(&mine).unwrap();
    receiver.accepts(none(), reauthorization, "-- reauthorizationRequired ").await;

    let [first, newer] = [(1, 9), (2, 1)].map(|(generation, count)| Order { generation, count });
    let (headers, body) = fixture.signed(newer);
    receiver.accepts(headers.clone(), body.clone(), "ada AVAILABILITY_BUSY ACTIVITY_IN_A_CALL").await;
    receiver.accepts(headers.clone(), body.clone(), "-- not newer").await;
    let (older, old_body) = fixture.signed(first);
    receiver.accepts(older, old_body, "-- not newer").await;
    receiver.refuses(headers, [&body[..], b" "].concat()).await;
    let reauthorization = service_reauthorization(&mine, fixture.now).unwrap();
    let headers = fixture.headers(&reauthorization);
    receiver.accepts(headers, reauthorization, "-- subscription.reauthorizationRequired ").await;
    receiver.running.end().await;
}

#[tokio::test]
async fn the_python_receiver_verifies_and_decrypts() {
    let fixture = Fixture::new().await;
    verifies_and_decrypts(fixture, "exec python \"$0/docs/notifications/receiver.py\" 0").await;
}

#[tokio::test]
async fn the_node_receiver_verifies_and_decrypts() {
    const COMPILE: &str = "cp \"$0\"/docs/notifications/receiver.mts . && ln -s \"$MODULES\" node_modules && \
         node_modules/.bin/tsc --strict --target es2022 --module nodenext --typeRoots node_modules/@types \
         --types node receiver.mts";
    let fixture = Fixture::new().await;
    let mut prepare = shell(COMPILE, fixture.folder.path());
    let output = prepare.env("MODULES", format!("{FOLDER}/javascript/node_modules")).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "scripts/test --all installs what this needs\n{text}");
    verifies_and_decrypts(fixture, "exec node receiver.mjs 0").await;
}

#[tokio::test]
async fn the_java_sdk_verifies_and_decrypts_unmodified() {
    let fixture = Fixture::new().await;
    let folder = fixture.folder.path();
    let build = "cp -r \"$0\"/tests/clients/java/* . && \
                 mvn -q -B -ntp compile dependency:copy-dependencies -DincludeScope=runtime";
    let output = shell(build, folder).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let forger = ServiceKey::parse(&ServiceKey::generate(fixture.now).unwrap()).unwrap();
    for (key, is_valid) in [(&*fixture.key, true), (&forger, false)] {
        fs::write(folder.join("notification.json"), fixture.rich(key)).unwrap();
        let printed = java(&fixture, folder).await;
        let expected = "-- tokens: 1\nada Busy InACall\n";
        assert_eq!(printed.ends_with(expected), is_valid, "{printed}");
        assert_eq!(printed.contains("Invalid token"), !is_valid, "{printed}");
    }
}

/// Runs the program with the notification in the folder.
async fn java(fixture: &Fixture, folder: &Path) -> String {
    let run = format!(
        "java -cp 'target/classes:target/dependency/*' Notification notification.json key.pem {TENANT} {APP} \
         {}/.well-known/jwks.json",
        fixture.url
    );
    let output = shell(&run, folder).output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
