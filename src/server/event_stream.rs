//! Streams of events over HTTP/1. hyper would keep 32 KiB of buffers for each, although a stream sends
//! a few hundred bytes at a time for hours. So this takes the connection from hyper, and sends the
//! response itself.

use std::{
    convert::Infallible,
    future::pending,
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use axum::response::Response;
use bytes::Buf;
use http::{
    HeaderValue, Version,
    header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING},
};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    sync::Notify,
};

use super::{bodies::ResponseBody, io::TrackedIo};

/// The content type of a stream of events.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// The response of a connection that is a stream of events, once there is one. Clones share it.
#[derive(Clone, Default)]
pub(super) struct EventStream(Arc<Shared>);

#[derive(Default)]
struct Shared {
    response: Mutex<Option<EventResponse>>,
    begun: Notify,
}

/// A response that is a stream of events.
pub(super) struct EventResponse {
    version: Version,
    response: Response<ResponseBody>,
}

impl EventStream {
    /// Passes a response on to hyper, unless it is a stream of events: then hyper waits until it
    /// is dropped.
    pub(super) async fn pass(
        &self,
        version: Version,
        response: Response<ResponseBody>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let is_stream = |content: &HeaderValue| content.as_bytes().starts_with(EVENT_STREAM);
        if !response.headers().get(CONTENT_TYPE).is_some_and(is_stream) {
            return Ok(response);
        }
        *self.0.response.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(EventResponse { version, response });
        self.0.begun.notify_one();
        pending().await
    }

    /// Waits for a stream of events.
    pub(super) async fn begun(&self) -> EventResponse {
        loop {
            self.0.begun.notified().await;
            if let Some(response) = self.0.response.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return response;
            }
        }
    }
}

impl EventResponse {
    /// Sends the response until it ends, or the client ends the connection. The connection ends with
    /// the response.
    pub(super) async fn send<Io>(mut self, io: TrackedIo<Io>) -> io::Result<()>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = split(io);
        let client_ended = async {
            // A client sends nothing more; what it sends is not read as a request.
            while reader.read(&mut [0; 64]).await? > 0 {}
            Ok(())
        };
        let sent = async {
            let chunked = self.version == Version::HTTP_11;
            writer.write_all(&self.head(chunked)).await?;
            writer.flush().await?;
            while let Some(frame) = self.response.body_mut().frame().await {
                let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else { continue };
                let length = piece.remaining();
                if chunked {
                    writer.write_all(format!("{length:x}\r\n").as_bytes()).await?;
                }
                writer.write_all(piece.chunk()).await?;
                if chunked {
                    writer.write_all(b"\r\n").await?;
                }
                writer.flush().await?;
            }
            if chunked {
                writer.write_all(b"0\r\n\r\n").await?;
            }
            writer.shutdown().await
        };
        tokio::select! {
            sent = sent => sent,
            ended = client_ended => ended,
        }
    }

    /// The status line and the headers.
    fn head(&mut self, chunked: bool) -> Vec<u8> {
        let headers = self.response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if chunked {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let mut head = Vec::new();
        // Writing to a Vec does not fail.
        let _ = write!(head, "HTTP/1.1 {}\r\n", self.response.status());
        for (name, value) in self.response.headers() {
            let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
            head.extend(line.into_iter().flatten());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}
