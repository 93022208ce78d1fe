//! Security headers, CORS, and pages of other origins.

use reqwest::{Client, Method, Response};

use crate::{
    auth::Guarded,
    support::{database::Engine, server::Server},
};

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
    for name in ["request-id", "presence-ignored", "preference-applied", "presence-users-read"] {
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

/// The status of a request that names this host.
async fn status_of(url: &str, host: &str) -> u16 {
    let origin = format!("http://{host}");
    let request = Client::new().get(url).header("host", host).header("origin", origin);
    request.send().await.unwrap().status().as_u16()
}

/// A page's name can lead to its server first, and to this machine later (DNS rebinding). For the
/// browser both are one origin.
#[tokio::test]
async fn on_loopback_without_authentication_only_local_hosts_are_served() {
    let server = Server::start_with(Engine::Sqlite, &["--allowed-hosts", "presence.example.com,Box"]).await;
    let own = Server::start(Engine::Sqlite).await;
    let path = "/v1.0/users/a/presence";
    for (host, local, named) in [
        ("evil.example", 421, 421),
        ("evil.example:8080", 421, 421),
        ("localhost.evil.example", 421, 421),
        ("127.0.0.1.evil.example", 421, 421),
        ("notlocalhost", 421, 421),
        ("presence.example.com", 421, 200),
        ("PRESENCE.example.com.:80", 421, 200),
        ("box", 421, 200),
        ("x.presence.example.com", 421, 421),
        ("localhost", 200, 200),
        ("LOCALHOST:8080", 200, 200),
        ("app.localhost:3000", 200, 200),
        ("127.0.0.1", 200, 200),
        ("192.168.1.1:8080", 200, 200),
        ("[::1]:8080", 200, 200),
    ] {
        assert_eq!(status_of(&format!("{}{path}", own.graph()), host).await, local, "{host}");
        assert_eq!(status_of(&format!("{}{path}", server.graph()), host).await, named, "{host}");
    }
    // Every path, gRPC-Web, and the admin API.
    for path in ["/openapi.json", "/docs/index.html", "/nowhere"] {
        assert_eq!(status_of(&format!("{}{path}", own.graph()), "evil.example").await, 421, "{path}");
    }
    let url = format!("{}/presence.v1.PresenceService/GetPresence", own.graph());
    let web = Client::new().post(url).header("content-type", "application/grpc-web+proto");
    let web = web.header("host", "evil.example").header("origin", "http://evil.example");
    let refused = web.body(vec![0; 5]).send().await.unwrap();
    assert_eq!(refused.status(), 421);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "MisdirectedRequest");
    assert!(body["error"]["message"].as_str().unwrap().contains("--allowed-hosts"), "{body}");
    for (host, status) in [("evil.example", 421), ("localhost:9090", 200), ("127.0.0.1", 200)] {
        for path in ["metrics", "readyz", "livez"] {
            let url = format!("http://{}/{path}", own.addresses.admin);
            assert_eq!(status_of(&url, host).await, status, "{path} of {host}");
        }
    }
    // Over HTTP/2 the host is the authority.
    let http2 = Client::builder().http2_prior_knowledge().resolve("evil.example", own.addresses.http);
    let url = format!("http://evil.example:{}{path}", own.addresses.http.port());
    assert_eq!(http2.build().unwrap().get(url).send().await.unwrap().status(), 421);
    server.stop().await;
    own.stop().await;
}

#[tokio::test]
async fn with_authentication_or_for_other_machines_every_host_is_served() {
    let server = Server::start_tuned(Engine::Sqlite, &["--allow-insecure"], |settings| {
        (settings.http_addr, settings.admin_addr) = (([0; 4], 0).into(), ([0; 4], 0).into());
    })
    .await;
    let (http, admin) = (server.addresses.http.port(), server.addresses.admin.port());
    let url = format!("http://127.0.0.1:{http}/v1.0/users/a/presence");
    assert_eq!(status_of(&url, "presence.internal").await, 200);
    let url = format!("http://127.0.0.1:{admin}/metrics");
    assert_eq!(status_of(&url, "presence.internal").await, 200);
    server.stop().await;
    let guarded = Guarded::start(Engine::Sqlite, &[]).await;
    let url = format!("{}/v1.0/users/a/presence", guarded.server.graph());
    assert_eq!(status_of(&url, "presence.internal").await, 401);
    guarded.server.stop().await;
}
