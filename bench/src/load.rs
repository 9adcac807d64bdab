//! Clients: so many connections, so many requests, one after the other on each.

use crate::stats;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes longer than that.
const MOST: Duration = Duration::from_secs(120);

/// A request to be sent many times.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The body, and its media type.
    pub body: Option<(Bytes, &'static str)>,
}

impl Call {
    /// A request without a body.
    pub fn bare(method: Method, target: &str) -> Call {
        Call { method, target: target.to_owned(), body: None }
    }

    /// A GraphQL request.
    pub fn document(text: &str) -> Call {
        let body = Bytes::from(serde_json::json!({"query": text}).to_string());
        let target = "/v2/_zot/ext/search".to_owned();
        Call { method: Method::POST, target, body: Some((body, "application/json")) }
    }
}

/// A connection that is kept.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        let stream = timeout(MOST, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, address })
    }

    /// Whether the other side has not closed it, as far as is known.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    async fn send(&mut self, call: &Call) -> Result<Incoming> {
        let request = Request::builder().method(&call.method).uri(&call.target).header(HOST, self.address.to_string());
        let request = match &call.body {
            Some((body, media_type)) => request.header(CONTENT_TYPE, *media_type).body(Full::new(body.clone()))?,
            None => request.body(Full::default())?,
        };
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&text[..text.len().min(500)]).into_owned();
            bail!("{} {} at {}: {status} {text}", call.method, call.target, self.address);
        }
        Ok(answer.into_body())
    }

    /// Sends a request and returns the body of the answer.
    pub async fn fetch(&mut self, call: &Call) -> Result<Bytes> {
        timeout(MOST, async { Ok(self.send(call).await?.collect().await?.to_bytes()) }).await?
    }

    /// Sends a request, reads the answer, and counts its bytes.
    pub async fn drain(&mut self, call: &Call) -> Result<usize> {
        timeout(MOST, async {
            let mut body = self.send(call).await?;
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            Ok(bytes)
        })
        .await?
    }
}

/// What became of many requests.
#[derive(Debug, Default)]
pub struct Load {
    /// How many were answered.
    pub requests: usize,
    /// How long all of them took.
    pub elapsed: Duration,
    /// The median of what each took.
    pub p50: Duration,
    /// The time within which 99 of 100 were answered.
    pub p99: Duration,
    /// The bytes of one answer, if they were counted.
    pub bytes: usize,
    /// The bytes of all answers.
    pub received: u64,
}

/// Sends `requests` requests over `connections` connections, which are opened before the clock starts.
pub async fn run(address: SocketAddr, call: &Call, connections: usize, requests: usize) -> Result<Load> {
    let opened = try_join_all((0..connections).map(|_| Connection::open(address))).await?;
    let left = Arc::new(AtomicUsize::new(requests));
    let began = Instant::now();
    let clients = opened.into_iter().map(|mut connection| {
        let (left, call) = (left.clone(), call.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut bytes = 0;
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let sent = Instant::now();
                bytes = connection.drain(&call).await?;
                times.push(sent.elapsed().as_secs_f64());
            }
            Ok::<_, anyhow::Error>((times, bytes))
        })
    });
    let mut load = Load::default();
    let mut times = Vec::with_capacity(requests);
    for client in try_join_all(clients).await? {
        let (some, bytes) = client?;
        load.bytes = load.bytes.max(bytes);
        load.received += (bytes * some.len()) as u64;
        times.extend(some);
    }
    load.elapsed = began.elapsed();
    load.requests = times.len();
    times.sort_by(f64::total_cmp);
    let part = |part| stats::at(&times, part).map(Duration::from_secs_f64).context("no request was sent");
    (load.p50, load.p99) = (part(0.5)?, part(0.99)?);
    Ok(load)
}
