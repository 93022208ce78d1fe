//! The HTTP API: everything that the gRPC API does not have.

mod batch;
mod manners;
mod openapi;
mod properties;
mod shapes;
mod unknown;

use reqwest::{Client, Method, Response, header::HeaderMap};
use serde_json::Value;

use crate::support::{database::Engine, server::Server};

pub const USER: &str = "fa8bf3dc-eca7-46b7-bad1-db199b62afc3";
pub const ODATA_JSON: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
pub const SET: &str = r#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;

/// A server on SQLite and a client.
pub struct TestApi {
    pub server: Server,
    pub http: Client,
}

/// A response with its body as JSON.
pub struct JsonResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl JsonResponse {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        Self { status, headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap()
    }

    /// The names of the invalid fields.
    pub fn targets(&self) -> Vec<&str> {
        let details = self.body["error"]["details"].as_array().unwrap();
        details.iter().map(|detail| detail["target"].as_str().unwrap()).collect()
    }

    /// Checks that the response is an error in Graph's shape with this status and code.
    #[track_caller]
    pub fn is_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["error"]["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(!self.message().is_empty());
        let inner = &self.body["error"]["innerError"];
        assert_eq!(inner["date"], "2026-11-22T02:50:00");
        assert_eq!(inner["request-id"].as_str(), self.header("request-id"));
        assert_eq!(inner["client-request-id"].as_str(), self.header("client-request-id"));
    }
}

impl TestApi {
    pub async fn new() -> Self {
        Self { server: Server::start(Engine::Sqlite).await, http: Client::new() }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> JsonResponse {
        let mut request = self.http.request(method, format!("{}{path}", self.server.graph())).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        JsonResponse::read(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> JsonResponse {
        self.send(Method::GET, path, &[], "").await
    }

    /// Posts an action on the presence of [`USER`].
    pub async fn act(&self, action: &str, body: &Value) -> JsonResponse {
        self.post(&format!("/v1.0/users/{USER}/presence/{action}"), body.to_string()).await
    }

    /// The presence of [`USER`].
    pub async fn presence(&self) -> Value {
        self.get(&format!("/v1.0/users/{USER}/presence")).await.body
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> JsonResponse {
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    pub async fn set_presence(&self, body: impl Into<reqwest::Body>) -> JsonResponse {
        self.post(&format!("/v1.0/users/{USER}/presence/setPresence"), body).await
    }
}
