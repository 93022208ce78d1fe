//! A receiver of notifications: an HTTPS server on this test's runtime, which speaks HTTP/1 and HTTP/2.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a receiver returns.
pub type Reply = Response<Full<Bytes>>;

/// A running receiver.
pub struct Receiver {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Starts a receiver at this address, with a certificate for these names, which speaks these
    /// protocols (ALPN).
    pub async fn start<F, R>(
        address: &str,
        authority: &Authority,
        names: &[&str],
        protocols: &[&str],
        reply: F,
    ) -> Self
    where
        F: Fn(&Received) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let (certificate, key) = authority.issue_for(names);
        let key = PrivateKeyDer::try_from(key).unwrap();
        let chain = vec![CertificateDer::from(certificate)];
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, received) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Received>>>::default());
        let (count, keep) = (Arc::clone(&connections), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(acceptor.clone(), socket, Arc::clone(&keep), reply.clone()));
            }
        });
        Self { address, connections, received }
    }

    /// The number of connections that were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve<F, R>(acceptor: TlsAcceptor, socket: TcpStream, keep: Arc<Mutex<Vec<Received>>>, reply: F)
where
    F: Fn(&Received) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    // A client that does not trust the certificate breaks off.
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: Request<Incoming>| {
        let (keep, reply) = (Arc::clone(&keep), reply.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let received = Received { method: parts.method, uri: parts.uri, headers: parts.headers, body };
            let reply = reply(&received);
            keep.lock().unwrap().push(received);
            Ok::<_, Infallible>(reply.await)
        }
    });
    // A client may close the connection at any time.
    let _ = if is_http2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    };
}

/// A reply with this status, header and body.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

/// Returns the token of a handshake, and 202 to a notification.
pub fn accept(received: &Received) -> Ready<Reply> {
    let query = received.uri.query().unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "validationToken");
    ready(match token {
        Some((_, token)) => reply(200, &[("content-type", "text/plain")], token.into_owned()),
        None => reply(202, &[], ""),
    })
}
