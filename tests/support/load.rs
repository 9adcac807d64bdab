//! Clients that read and push all the time, and count what fails.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onezot::demo::{Node, Sample};
use onezot::fleet::Placement;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// How many clients there are at a time.
const CLIENTS: usize = 6;
/// Long enough that only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

/// Nodes with sample content on the first three of them, and the names of the repositories.
pub async fn fleet(count: u64) -> (Vec<Node>, Vec<String>) {
    let sample = Sample::new().unwrap();
    let mut nodes = Vec::new();
    for index in 0..count {
        let node = Node::start(sample.setup(index).unwrap()).await.unwrap();
        let holds = |repository: &str| Placement::default().owner(repository, 3).node as u64 == index;
        node.load(&sample.content, holds).unwrap();
        nodes.push(node);
    }
    let mut repositories: Vec<String> = sample.content.pushes.iter().map(|push| push.repository.clone()).collect();
    repositories.sort();
    repositories.dedup();
    (nodes, repositories)
}

/// What became of it.
pub struct Outcome {
    pub requests: usize,
    pub failures: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.requests, self.failures.len())
    }
}

struct Shared {
    to: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    repositories: Vec<String>,
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins to send requests for these repositories.
    pub async fn start(to: SocketAddr, repositories: Vec<String>) -> Load {
        let shared = Arc::new(Shared {
            to,
            client: Client::builder(TokioExecutor::new()).build_http(),
            repositories,
            requests: AtomicUsize::new(0),
            failures: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let shared = shared.clone();
            clients.spawn(async move {
                for round in number.. {
                    if shared.is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    shared.visit(number, round).await;
                }
            });
        }
        Load { shared, clients }
    }

    /// Waits until so many more requests have been answered.
    pub async fn goes_on(&self, more: usize) {
        let begin = self.shared.requests.load(Ordering::Relaxed);
        let wait = async {
            while self.shared.requests.load(Ordering::Relaxed) < begin + more {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(HANG, wait).await.is_ok(), "no answers any more");
    }

    /// Ends it: every client finishes what it does.
    pub async fn stop(mut self) -> Outcome {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let failures = std::mem::take(&mut *self.shared.failures.lock().unwrap());
        Outcome { requests: self.shared.requests.load(Ordering::Relaxed), failures }
    }
}

impl Shared {
    /// What a client does in one round: reads of one repository, a list of all, and a push of a blob.
    async fn visit(&self, number: usize, round: usize) {
        let repository = &self.repositories[round * 7 % self.repositories.len()];
        self.get(&format!("/v2/{repository}/tags/list"), &format!("{{\"name\":\"{repository}\"")).await;
        let list = self.get("/v2/_catalog", "{\"repositories\":[").await;
        let names: usize = list.map_or(0, |list| (list.matches('"').count() / 2).saturating_sub(1));
        if names != self.repositories.len() {
            self.failed(format!("a catalog of {names} repositories, not of {}", self.repositories.len()));
        }
        let document = "/v2/_zot/ext/search?query=%7BRepoListWithNewestImage%7BPage%7BTotalCount%7D%7D%7D";
        let count = self.repositories.len();
        self.get(document, &format!("{{\"data\":{{\"RepoListWithNewestImage\":{{\"Page\":{{\"TotalCount\":{count}}}"))
            .await;
        self.push(repository, format!("blob {number} {round}").repeat(500).into()).await;
    }

    fn failed(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    async fn send(&self, method: Method, target: &str, body: Bytes) -> Option<(StatusCode, Option<String>, String)> {
        let uri = if target.starts_with('/') { format!("http://{}{target}", self.to) } else { target.to_owned() };
        let request = Request::builder().method(method.clone()).uri(uri).body(Full::new(body)).unwrap();
        let answered = async {
            let answer = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
            let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            Ok::<_, String>((status, location, String::from_utf8_lossy(&body).into_owned()))
        };
        let answered = tokio::time::timeout(HANG, answered).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        self.requests.fetch_add(1, Ordering::Relaxed);
        answered.map_err(|error| self.failed(format!("{method} {target}: {error}"))).ok()
    }

    async fn get(&self, target: &str, begins: &str) -> Option<String> {
        let (status, _, body) = self.send(Method::GET, target, Bytes::new()).await?;
        if status != StatusCode::OK || !body.starts_with(begins) {
            self.failed(format!("GET {target}: {status} {body:.200}"));
        }
        Some(body)
    }

    /// An upload of two requests, whose session may see several gateways, and a look at what came of it.
    async fn push(&self, repository: &str, blob: Bytes) -> Option<()> {
        let digest: String = Sha256::digest(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let (status, location, body) = self.send(Method::POST, &uploads, Bytes::new()).await?;
        let Some(location) = location.filter(|_| status == StatusCode::ACCEPTED) else {
            self.failed(format!("POST {uploads}: {status} {body:.200}"));
            return None;
        };
        let separator = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{separator}digest=sha256:{digest}");
        let (status, _, body) = self.send(Method::PUT, &target, blob.clone()).await?;
        if status != StatusCode::CREATED {
            self.failed(format!("PUT {target}: {status} {body:.200}"));
        }
        let text = String::from_utf8(blob.to_vec()).unwrap();
        self.get(&format!("/v2/{repository}/blobs/sha256:{digest}"), &text).await.map(drop)
    }
}
