//! Subscriptions to change notifications, from the call that makes one to the receiver.

mod authorized;
mod delivery;
mod input;
mod shapes;

use presenced::grpc::pb::{
    CreateSubscriptionRequest, CreateSubscriptionResponse, presence_service_client::PresenceServiceClient,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{
    graph::JsonResponse,
    support::{
        authority::Authority,
        client::{Api, Client as ApiClient},
        database::Engine,
        receiver::{Received, Receiver, Reply, accept},
        server::Server,
        wait::eventually,
    },
};

/// A service that may send to this machine, and a receiver.
pub struct Fixture {
    pub server: Server,
    pub receiver: Receiver,
    http: Client,
    _folder: TempDir,
}

impl Fixture {
    /// A receiver that accepts everything.
    pub async fn new(engine: Engine) -> Self {
        Self::with(engine, &[], accept).await
    }

    /// A service with more flags, and a receiver that replies so.
    pub async fn with<F, R>(engine: Engine, flags: &[&str], reply: F) -> Self
    where
        F: Fn(&Received) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let file = folder.path().join("ca.crt");
        std::fs::write(&file, authority.pem()).unwrap();
        let receiver = Receiver::start("127.0.0.1:0", &authority, &["127.0.0.1"], &["h2"], reply).await;
        let allowed = ["--subscription-allow", "127.0.0.1/32", "--subscription-ca", file.to_str().unwrap()];
        let server = Server::start_with(engine, &[&allowed[..], flags].concat()).await;
        Self { server, receiver, http: Client::new(), _folder: folder }
    }

    /// The URL of the receiver.
    pub fn url(&self) -> String {
        format!("https://{}/notify?code=secret", self.receiver.address)
    }

    pub fn api(&self) -> ApiClient {
        let addresses = self.server.addresses;
        ApiClient::new(Api::Http, addresses.grpc, addresses.http)
    }

    pub async fn grpc(&self) -> PresenceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.addresses.grpc)).unwrap();
        PresenceServiceClient::new(endpoint.connect().await.unwrap())
    }

    pub async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> JsonResponse {
        let url = format!("{}/v1.0{path}", self.server.graph());
        let mut request = self.http.request(method, url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        JsonResponse::read(request.send().await.unwrap()).await
    }

    /// The body of a valid subscription to users; to everybody if there are none.
    pub fn body(&self, users: &[&str]) -> Value {
        let ids: Vec<_> = users.iter().map(|user| format!("'{user}'")).collect();
        let resource = match users {
            [] => "communications/presences".to_owned(),
            [user] => format!("/communications/presences/{user}"),
            _ => format!("/communications/presences?$filter=id in ({})", ids.join(",")),
        };
        json!({
            "changeType": "updated",
            "notificationUrl": self.url(),
            "resource": resource,
            "expirationDateTime": "2026-11-22T03:40:00Z",
            "clientState": "state",
        })
    }

    /// Makes a subscription through Graph's API, and returns its id.
    pub async fn subscribe(&self, users: &[&str]) -> String {
        let created = self.send(Method::POST, "/subscriptions", "", &self.body(users)).await;
        assert_eq!(created.status, 201, "{}", created.body);
        created.body["id"].as_str().unwrap().to_owned()
    }

    /// Makes a subscription through the gRPC API.
    pub async fn subscribe_grpc(
        &self,
        request: CreateSubscriptionRequest,
    ) -> Result<CreateSubscriptionResponse, Status> {
        let request = CreateSubscriptionRequest { url: self.url(), ..request };
        Ok(self.grpc().await.create_subscription(request).await?.into_inner())
    }

    /// The notifications so far, without handshakes.
    pub fn notifications(&self) -> Vec<Received> {
        let is_handshake =
            |received: &Received| received.uri.query().unwrap_or_default().contains("validationToken");
        self.receiver.received().into_iter().filter(|received| !is_handshake(received)).collect()
    }

    /// The bodies of the notifications so far.
    pub fn bodies(&self) -> Vec<Value> {
        let parse = |received: &Received| serde_json::from_slice(&received.body).unwrap();
        self.notifications().iter().map(parse).collect()
    }

    /// Waits until the receiver has this number of notifications.
    pub async fn received(&self, number: usize) -> Vec<Value> {
        eventually("the notifications arrive", async || self.notifications().len() >= number).await;
        let bodies = self.bodies();
        assert_eq!(bodies.len(), number, "{bodies:#?}");
        bodies
    }
}
