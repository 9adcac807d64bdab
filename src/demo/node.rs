//! A node with its socket.

use super::access::Settings;
use super::content::{Content, ContentError, Event};
use super::cve::Reports;
use super::exchange::Asked;
use super::faults::{self, Body, Faults};
use super::registry::Registry;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The largest body that a node reads: blobs are held in memory.
const LARGEST_BODY: usize = 1 << 30;
/// How many requests a node remembers, and the largest body of those: a node may run for long.
const REMEMBERED: usize = 10_000;
const REMEMBERED_BODY: usize = 1 << 16;

/// How a node is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where it listens: a free port of the loopback interface unless something is said.
    pub listen: Option<SocketAddr>,
    /// Who may do what.
    pub settings: Settings,
    /// Users and their passwords.
    pub users: BTreeMap<String, String>,
    /// What scanning finds, if images are scanned; without, CVE search is disabled.
    pub cve: Option<Reports>,
    /// Chooses among orders that are all right.
    pub seed: u64,
}

/// A request that a node received.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query, as sent.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, unless it was large.
    pub body: Bytes,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    faults: Faults,
    seen: Mutex<VecDeque<Seen>>,
}

/// A zot-like registry in this process. It ends when it is dropped.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node.
    pub async fn start(setup: Setup) -> io::Result<Self> {
        let listen = setup.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            registry: Arc::new(Registry::new(&setup.settings, setup.users, setup.cve, setup.seed)),
            faults: Faults::default(),
            seen: Mutex::default(),
        });
        let stopping = CancellationToken::new();
        let task = tokio::spawn(listen_until(stopping.clone(), address, listener, Arc::clone(&shared)));
        Ok(Self { address, shared, stopping, task: Some(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What can go wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What it holds.
    #[cfg(test)]
    pub(super) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Fills it with what `holds` says it holds of some content.
    pub fn load(&self, content: &Content, holds: impl Fn(&str) -> bool) -> Result<(), ContentError> {
        self.load_events(content, |event| holds(event.repository()))
    }

    /// The same for nodes that have parts of repositories: what happened here.
    ///
    /// # Errors
    ///
    /// As [`Node::load`].
    pub fn load_events(&self, content: &Content, happened: impl Fn(Event<'_>) -> bool) -> Result<(), ContentError> {
        content.load(&self.shared.registry, happened)
    }

    /// The requests that it received since this was last asked; of very many, the latest.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock()).into()
    }

    /// Stops it, and waits until it has stopped.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Accepts connections. A node that is down has no socket; it gets its port back when it is up again.
async fn listen_until(stopping: CancellationToken, address: SocketAddr, first: TcpListener, shared: Arc<Shared>) {
    let mut listener = Some(first);
    let mut changes = shared.faults.watch();
    let mut connections = JoinSet::new();
    while !stopping.is_cancelled() {
        if shared.faults.is_down() {
            listener = None;
            connections.shutdown().await;
            tokio::select! {
                () = stopping.cancelled() => break,
                _ = changes.changed() => continue,
            }
        }
        let Some(listening) = &listener else {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            continue;
        };
        tokio::select! {
            () = stopping.cancelled() => break,
            _ = changes.changed() => {}
            Some(_) = connections.join_next() => {}
            accepted = listening.accept() => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    let shared = Arc::clone(&shared);
                    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
                    connections.spawn(async move {
                        let server = auto::Builder::new(TokioExecutor::new());
                        let _ = server.http1_only().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxedError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
    let seen = Seen {
        method: head.method.clone(),
        target: head.uri.to_string(),
        headers: head.headers.clone(),
        body: if body.len() <= REMEMBERED_BODY { body.clone() } else { Bytes::new() },
    };
    {
        let mut remembered = shared.seen.lock();
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(seen);
    }
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let fault = shared.faults.of(&asked.path);
    faults::before(fault.as_ref()).await;
    if let Some(response) = faults::instead(fault.as_ref(), &asked, &shared.registry.realm) {
        return Ok(response);
    }
    let reply = shared.registry.answer(&asked).await;
    Ok(faults::sent(reply, fault.as_ref()))
}

/// Why a body could not be read. Such a connection is closed.
type BoxedError = Box<dyn std::error::Error + Send + Sync>;
