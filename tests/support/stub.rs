//! Stub nodes that answer what a test says and remember what they got.

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as a node got it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: http::Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// The only value of a header; `None` if it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} came twice");
        Some(value)
    }
}

/// A node on a free port of the loopback; it ends when it is dropped.
pub struct Stub {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with a status and a body.
pub fn reply(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

impl Stub {
    /// A node that gives each request to `answer`.
    pub async fn new(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answer = Arc::new(answer);
        let record = seen.clone();
        let task = tokio::spawn(async move {
            // Connections end with the node: a node that is down has none.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, record) = (answer.clone(), record.clone());
                connections.spawn(async move {
                    let service = service_fn(|request: http::Request<Incoming>| async {
                        let (parts, body) = request.into_parts();
                        let target = parts.uri.path_and_query().map_or("*", |target| target.as_str()).to_owned();
                        // A client that breaks off has sent nothing that counts.
                        let body = body.collect().await?.to_bytes();
                        let seen = Seen { method: parts.method, target, headers: parts.headers, body };
                        let response = answer(&seen);
                        record.lock().unwrap().push(seen);
                        Ok::<_, hyper::Error>(response)
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Stub { address, seen, task }
    }

    /// A node that gives each connection to `serve`; the number of the connection, from 0, comes with it.
    pub async fn raw<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Stub
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, number));
            }
        });
        Stub { address, seen: Arc::default(), task }
    }

    /// What the node got so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads the header of one request, and leaves the rest.
pub async fn read_header(stream: &mut TcpStream) -> Option<String> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(header).unwrap())
}
