//! The HTTP API, or webdis, over HTTP/1.1, one call at a time.

use std::io::{self, Write as _};

use crate::{
    call::Call,
    graph::{self, Graph},
    webdis,
};

/// The most headers of a response.
const HEADERS_MAX: usize = 64;

/// The requests of one API.
pub(crate) enum Requests {
    Graph(Graph),
    Webdis,
}

/// The client's side of one connection.
pub(crate) struct Http1 {
    /// The header lines that all requests share.
    headers: String,
    requests: Requests,
}

impl Http1 {
    pub(crate) fn new(authority: &str, token: Option<&str>, requests: Requests) -> Self {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        Self { headers: format!("host: {authority}\r\n{token}content-type: application/json\r\n"), requests }
    }

    /// Appends the request of a call to `out`.
    pub(crate) fn send(&self, call: &Call, out: &mut Vec<u8>) -> io::Result<()> {
        let headers = &self.headers;
        let request = match &self.requests {
            Requests::Graph(graph) => graph.request(call)?,
            Requests::Webdis => webdis::request(call)?,
        };
        match request {
            (path, None) => write!(out, "GET {path} HTTP/1.1\r\n{headers}\r\n"),
            (path, Some(body)) => {
                let length = body.len();
                write!(out, "POST {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}")
            }
        }
    }

    /// Parses the complete responses in `bytes`, and appends their codes to `ended`. Returns the
    /// number of parsed bytes.
    pub(crate) fn receive(&self, bytes: &[u8], ended: &mut Vec<(u32, u16)>) -> io::Result<usize> {
        let mut read = 0;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response
                .parse(rest)
                .map_err(|error| io::Error::other(format!("the response is not HTTP/1.1: {error}")))?;
            let (httparse::Status::Complete(head), Some(code)) = (parsed, response.code) else {
                return Ok(read);
            };
            let length =
                response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length
                .and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok())
                .ok_or_else(|| io::Error::other("the response has no content-length"))?;
            if rest.len() < head + length {
                return Ok(read);
            }
            let body = rest.get(head..head + length).unwrap_or_default();
            read += head + length;
            let failed = match &self.requests {
                Requests::Graph(_) => graph::failed_in_batch(body),
                Requests::Webdis => webdis::failed(body),
            };
            ended.push((0, failed.unwrap_or(code)));
        }
    }
}
