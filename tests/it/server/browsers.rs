//! Security headers, CORS, and pages of other origins.

use reqwest::{Client, Method, Response};

use crate::support::{database::Engine, server::Server};

const ORIGIN: &str = "https://app.example.com";

async fn send(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Client::new().request(method, format!("{}{path}", server.graph()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let server = Server::start(Engine::Sqlite).await;
    for path in ["/v1.0/users/a/presence", "/v1.0/nothing", "/openapi.json", "/docs/index.html"] {
        let response = send(&server, Method::GET, path, &[]).await;
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header(&response, "x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"), "{path}");
        let policy = header(&response, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert_eq!(policy.contains("script-src"), path.starts_with("/docs"), "{path}");
        for absent in
            ["server", "x-powered-by", "via", "strict-transport-security", "access-control-allow-origin"]
        {
            assert_eq!(header(&response, absent), None, "{path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_call_and_no_others() {
    let path = "/v1.0/users/a/presence/setPresence";
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,prefer"),
        ]
    };
    let server = Server::start_with(
        Engine::Sqlite,
        &["--cors-origins", "https://other.example,https://app.example.com"],
    )
    .await;
    let allowed = send(&server, Method::OPTIONS, path, &preflight(ORIGIN)).await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(header(&allowed, "access-control-allow-headers"), Some("authorization,content-type,prefer"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), None);
    let get = send(&server, Method::GET, "/v1.0/users/a/presence", &[("origin", ORIGIN)]).await;
    assert_eq!(header(&get, "access-control-allow-origin"), Some(ORIGIN));
    let exposed = header(&get, "access-control-expose-headers").unwrap();
    for name in ["request-id", "presence-ignored", "preference-applied"] {
        assert!(exposed.split(',').any(|exposed| exposed == name), "{exposed}");
    }
    for stranger in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
        let refused = send(&server, Method::OPTIONS, path, &preflight(stranger)).await;
        assert_eq!(refused.status(), 403, "{stranger}");
        assert_eq!(header(&refused, "access-control-allow-origin"), None, "{stranger}");
    }
    server.stop().await;

    let server = Server::start(Engine::Sqlite).await;
    let refused = send(&server, Method::OPTIONS, path, &preflight(ORIGIN)).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "access-control-allow-origin")), (403, None));
    server.stop().await;
}

#[tokio::test]
async fn without_authentication_a_page_of_another_origin_cannot_call() {
    let server = Server::start(Engine::Sqlite).await;
    let path = "/v1.0/users/a/presence/clearUserPreferredPresence";
    let own = server.graph();
    // Browsers send forms without a preflight request.
    for (origin, status) in
        [("https://evil.example", 403), ("null", 403), ("http://localhost.evil.example", 403), (&*own, 200)]
    {
        let response =
            send(&server, Method::POST, path, &[("origin", origin), ("content-type", "application/json")])
                .await;
        assert_eq!(response.status(), status, "{origin}");
    }
    server.stop().await;
}

#[tokio::test]
async fn reflection_and_the_document_can_be_turned_off() {
    let server = Server::start_with(Engine::Sqlite, &["--no-reflection"]).await;
    for path in ["/openapi.json", "/docs", "/docs/index.html"] {
        assert_eq!(send(&server, Method::GET, path, &[]).await.status(), 404, "{path}");
    }
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", server.addresses.grpc)).unwrap();
    let mut reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
        channel.connect_lazy(),
    );
    let requests = futures_util::stream::iter([tonic_reflection::pb::v1::ServerReflectionRequest::default()]);
    let refused = reflection.server_reflection_info(requests).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    server.stop().await;
}
