//! Nodes that cost little: their answers lie in memory, and a fixed delay stands for what a registry would compute.
//!
//! One process is a whole fleet, a port for each node. It ends when its standard input does, so that it never outlives
//! who started it.

use crate::content::Content;
use crate::document::{self, Share};
use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LINK, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// The bytes of a manifest: a common size.
pub const MANIFEST: usize = 2048;

/// What a fleet of nodes is told.
#[derive(Debug, Clone, Args)]
pub struct Fleet {
    /// Nodes, a port for each.
    #[arg(long, default_value_t = 1)]
    pub nodes: usize,
    /// Repositories on all of them together.
    #[arg(long, default_value_t = 10)]
    pub repositories: usize,
    /// Images of each repository.
    #[arg(long, default_value_t = 10)]
    pub tags: usize,
    /// The bytes of a blob.
    #[arg(long, default_value_t = 1 << 20)]
    pub blob: usize,
    /// What a list takes a node before it begins to answer (ms).
    #[arg(long, default_value_t = 0)]
    pub delay: u64,
    /// The same of the last node.
    #[arg(long)]
    pub slow: Option<u64>,
}

struct Node {
    share: Share,
    delay: Duration,
    manifest: Bytes,
    blob: Bytes,
    /// Answers by the bytes of the request.
    answers: Mutex<HashMap<Bytes, (StatusCode, Bytes)>>,
    names: Vec<String>,
}

type Answer = Response<Full<Bytes>>;

/// Serves until standard input ends; prints the address of each node.
pub async fn serve(fleet: Fleet) -> Result<()> {
    let content = Content { repositories: fleet.repositories, tags: fleet.tags, nodes: fleet.nodes };
    let manifest = Bytes::from(manifest());
    let blob = Bytes::from(vec![0x5a; fleet.blob]);
    for node in 0..fleet.nodes {
        let share = Share { content, node };
        let is_slow = node + 1 == fleet.nodes;
        let delay = fleet.slow.filter(|_| is_slow).unwrap_or(fleet.delay);
        let node = Arc::new(Node {
            share,
            delay: Duration::from_millis(delay),
            manifest: manifest.clone(),
            blob: blob.clone(),
            answers: Mutex::default(),
            names: content.of_node(node).map(|repository| content.name(repository)).collect(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on http://{}", listener.local_addr()?)?;
        out.flush()?;
        tokio::spawn(accept(listener, node));
    }
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(())
}

async fn accept(listener: TcpListener, node: Arc<Node>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, node.clone()));
    }
}

async fn serve_connection(stream: TcpStream, node: Arc<Node>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(node.answer(request).await) }
    });
    // A client that goes away is no failure.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A manifest of [`MANIFEST`] bytes.
fn manifest() -> Vec<u8> {
    let mut text = json!({"schemaVersion": 2, "annotations": {"padding": ""}}).to_string();
    let padding = "x".repeat(MANIFEST.saturating_sub(text.len()));
    text.insert_str(text.len() - 3, &padding);
    text.into_bytes()
}

fn full(status: StatusCode, media_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    answer
}

impl Node {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, mut body) = request.into_parts();
        let path = head.uri.path();
        if path.starts_with("/v2/_zot/ext/search") {
            let Ok(body) = body.collect().await else {
                return full(StatusCode::BAD_REQUEST, "text/plain", Bytes::new());
            };
            return self.search(body.to_bytes()).await;
        }
        while let Some(Ok(_)) = body.frame().await {}
        if path == "/v2/_catalog" {
            return self.catalog(head.uri.query().unwrap_or_default()).await;
        }
        let is_get = head.method == Method::GET || head.method == Method::HEAD;
        let is_write = [Method::POST, Method::PATCH, Method::PUT].contains(&head.method);
        if is_get && path.contains("/manifests/") {
            full(StatusCode::OK, "application/vnd.oci.image.manifest.v1+json", self.manifest.clone())
        } else if is_get && path.contains("/blobs/") {
            full(StatusCode::OK, "application/octet-stream", self.blob.clone())
        } else if is_write && path.contains("/blobs/uploads/") {
            let mut answer = Response::new(Full::default());
            let is_end = head.method == Method::PUT;
            *answer.status_mut() = if is_end { StatusCode::CREATED } else { StatusCode::ACCEPTED };
            answer.headers_mut().insert(LOCATION, http::HeaderValue::from_static("/v2/a/blobs/uploads/1"));
            answer
        } else if path == "/v2/" {
            full(StatusCode::OK, "application/json", Bytes::from_static(b"{}"))
        } else {
            let mut answer = full(StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"404 page not found\n"));
            answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD, POST, PATCH, PUT"));
            answer
        }
    }

    async fn search(&self, body: Bytes) -> Answer {
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&body).cloned();
        let (status, text) = match known {
            Some(known) => known,
            None => {
                let request: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (status, text) = document::answer(&self.share, &request);
                let made = (StatusCode::from_u16(status).unwrap_or_default(), Bytes::from(text));
                self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(body, made.clone());
                made
            }
        };
        if status == StatusCode::OK {
            tokio::time::sleep(self.delay).await;
        }
        full(status, "application/json", text)
    }

    /// A page of the catalog, or all of it. As zot does it, there is a `Link` if the page is full.
    async fn catalog(&self, query: &str) -> Answer {
        tokio::time::sleep(self.delay).await;
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let last = parameter("last").map(|last| last.replace("%2F", "/"));
        let first = last.map_or(0, |last| self.names.partition_point(|name| *name <= last));
        let n = parameter("n").and_then(|n| n.parse().ok());
        let end = n.map_or(self.names.len(), |n: usize| first.saturating_add(n).min(self.names.len()));
        let page = &self.names[first.min(end)..end];
        let body = Bytes::from(json!({"repositories": page}).to_string());
        let length = body.len();
        let mut answer = full(StatusCode::OK, "application/json", body);
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        if let (Some(n), Some(last)) = (n.filter(|n| *n == page.len() && *n > 0), page.last()) {
            let link = format!("</v2/_catalog?n={n}&last={last}>; rel=\"next\"");
            answer.headers_mut().extend(link.parse().ok().map(|link| (LINK, link)));
        }
        answer
    }
}
