//! Stub nodes that answer what a test says and remember what they got, and a client that sends bytes as they are.

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onezot::config::{Config, Flags};
use onezot::server::{self, Running};

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as a node got it.
#[derive(Debug, Clone)]
pub struct Seen {
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
                        let seen = Seen { target, headers: parts.headers, body };
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

    /// An address where nothing listens.
    pub async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
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

/// The configuration of a gateway over nodes named `zot-0`, `zot-1` …, changed by `yaml`.
pub fn config(nodes: &[SocketAddr], yaml: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let flags = Flags {
        listen: vec!["127.0.0.1:0".to_owned()],
        nodes: nodes.iter().enumerate().map(|(i, address)| format!("zot-{i}=http://{address}")).collect(),
        ..Flags::default()
    };
    Config::load(Some(file.path()), [], &flags).unwrap()
}

/// Starts a gateway over `nodes`.
pub async fn gateway(nodes: &[SocketAddr], yaml: &str) -> Running {
    server::start(config(nodes, yaml)).await.unwrap()
}

/// An answer as a client got it.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request that consists of its header, and reads the answer to the end of the connection.
pub async fn get(to: SocketAddr, target: &str) -> Got {
    send(to, &format!("GET {target} HTTP/1.1\r\nHost: registry.example\r\nConnection: close\r\n\r\n")).await
}

/// Sends bytes as they are, and reads one answer to the end of the connection.
pub async fn send(to: SocketAddr, request: impl AsRef<[u8]>) -> Got {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    let _ = stream.read_to_end(&mut bytes).await;
    parse(&bytes)
}

/// Reads an answer that came whole.
pub fn parse(bytes: &[u8]) -> Got {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let header = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = header.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let chunked = headers.iter().any(|(k, v)| k.eq_ignore_ascii_case("transfer-encoding") && v == "chunked");
    let body = &bytes[end + 4..];
    Got { status, headers, body: if chunked { unchunk(body) } else { body.to_vec() } }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).unwrap_or_default();
    }
    body
}
