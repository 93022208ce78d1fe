//! An HTTP/2 client that leaves windows, bodies and resets to its caller.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use prost::Message;
use tokio::{net::TcpStream, task::JoinHandle};

/// The users of a large response.
const USERS: usize = 650;

/// A connection, which is closed when this is dropped.
pub(crate) struct Http2 {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Http2 {
    /// Opens a connection whose responses have this window.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut builder = Builder::new();
        builder
            .initial_window_size(window)
            .initial_max_send_streams(10_000)
            // Otherwise this library ends a connection with some 160 responses that were late for a
            // cancelled request. Clients in other languages do not.
            .max_local_error_reset_streams(None)
            .data_frame_budget(usize::MAX);
        let (requests, connection) = builder.handshake(stream).await.ok()?;
        let driver = tokio::spawn(async {
            let _ = connection.await;
        });
        Some(Self { requests, driver })
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Begins a request whose body the caller sends.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests.clone().ready().await?.send_request(request, false)
    }

    /// Begins a call of gRPC with a message, the only one if the call `ends` with it.
    pub(crate) async fn call(
        &self,
        request: Request<()>,
        message: &impl Message,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let (response, mut send) = self.begin(request).await?;
        send.send_data(framed(message), ends)?;
        Ok((response, send))
    }

    /// Sends a request. Returns the response without its body.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        body: Bytes,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let (response, mut send) = self.begin(request).await?;
        send.send_data(body, true)?;
        response.await
    }

    /// Sends a small request, whose response has no body. Returns its status.
    pub(crate) async fn set(&self, user: &str) -> Result<u16, h2::Error> {
        let body = br#"{"sessionId":"app","availability":"Busy","activity":"InACall"}"#;
        let request = post(&format!("/v1.0/users/{user}/presence/setPresence"), "application/json");
        Ok(self.send(request, Bytes::from_static(body)).await?.status().as_u16())
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A POST request.
pub(crate) fn post(path: &str, content_type: &str) -> Request<()> {
    let request = Request::post(format!("http://localhost{path}")).header("content-type", content_type);
    request.body(()).unwrap()
}

/// A call of a method of gRPC.
pub(crate) fn grpc(method: &str) -> Request<()> {
    post(&format!("/presence.v1.PresenceService/{method}"), "application/grpc")
}

/// A message as gRPC sends it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// Reads a response of gRPC to its end. Returns the status.
pub(crate) async fn grpc_status(response: ResponseFuture) -> Result<String, h2::Error> {
    let response = response.await?;
    let status = |headers: &HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
    if let Some(status) = status(response.headers()) {
        return Ok(status);
    }
    let mut body = response.into_body();
    while let Some(part) = body.data().await {
        let length = part?.len();
        body.flow_control().release_capacity(length)?;
    }
    let trailers = body.trailers().await?;
    Ok(trailers.as_ref().and_then(status).unwrap_or_else(|| "missing".to_owned()))
}

/// A request for a large response, and its body.
pub(crate) fn get_all() -> (Request<()>, Bytes) {
    let ids: Vec<_> = (0..USERS).map(|user| format!(r#""00000000-0000-4000-8000-{user:012}""#)).collect();
    let body = format!(r#"{{"ids":[{}]}}"#, ids.join(","));
    (post("/v1.0/communications/getPresencesByUserId", "application/json"), body.into())
}
