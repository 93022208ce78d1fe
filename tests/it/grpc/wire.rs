//! A gRPC client of frames and headers, for requests that no library sends.

use std::{io::Write, net::SocketAddr};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Status};

use crate::watch::PATIENCE;

/// A connection to the gRPC API, or over HTTP/2 to the HTTP API.
pub struct Wire(SendRequest<Bytes>);

/// A response that has ended.
pub struct Answer {
    pub http: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Answer {
    /// The gRPC status, from the headers or the trailers.
    pub fn status(&self) -> Status {
        Status::from_header_map(&self.headers)
            .or_else(|| Status::from_header_map(&self.trailers))
            .unwrap_or_else(|| panic!("no status: HTTP {} {:?}", self.http, self.headers))
    }

    pub fn code(&self) -> Code {
        self.status().code()
    }

    /// A header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).or_else(|| self.trailers.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub async fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    /// Sends a request of gRPC with these headers and this body, and waits for its end.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
        self.request("POST", path, &headers, body).await
    }

    /// Sends a request, of which these are all headers, and waits for the end of its response.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.send(method, path, headers, body).await.end().await
    }

    /// Opens a stream of responses.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Open {
        let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
        self.send("POST", path, &headers, body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Open {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.0.clone().ready().await.unwrap();
        let (response, mut sent) = requests.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
        if !body.is_empty() {
            sent.send_data(body.into(), true).unwrap();
        }
        let response = timeout(PATIENCE, response).await.expect("a response in time").unwrap();
        let (http, headers) = (response.status().as_u16(), response.headers().clone());
        Open { http, headers, incoming: response.into_body(), bytes: Vec::new() }
    }
}

/// A response that has begun.
pub struct Open {
    pub http: u16,
    pub headers: HeaderMap,
    incoming: RecvStream,
    bytes: Vec<u8>,
}

impl Open {
    async fn data(&mut self) -> bool {
        let Some(data) = self.incoming.data().await else { return false };
        let data = data.unwrap();
        self.incoming.flow_control().release_capacity(data.len()).unwrap();
        self.bytes.extend(data);
        true
    }

    /// The next message; `None` if the response has ended.
    pub async fn message<T: Message + Default>(&mut self) -> Option<T> {
        loop {
            if let Some((head, rest)) = self.bytes.split_at_checked(5) {
                let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
                if let Some(content) = rest.get(..length) {
                    let message = T::decode(content).unwrap();
                    self.bytes.drain(..5 + length);
                    return Some(message);
                }
            }
            if !timeout(PATIENCE, self.data()).await.expect("a message in time") {
                return None;
            }
        }
    }

    /// Reads to the end.
    pub async fn end(mut self) -> Answer {
        let end = async { while self.data().await {} };
        timeout(PATIENCE, end).await.expect("the end in time");
        let trailers = self.incoming.trailers().await.unwrap().unwrap_or_default();
        Answer { http: self.http, headers: self.headers, body: self.bytes, trailers }
    }
}

/// A message with its header.
pub fn frame(message: &impl Message) -> Vec<u8> {
    with_header(0, &message.encode_to_vec())
}

/// A message that is compressed with gzip.
pub fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    with_header(1, &encoder.finish().unwrap())
}

/// A message with this flag in its header.
pub fn with_header(flag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], content].concat()
}
