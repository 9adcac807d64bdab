//! What an operator sees: the log, and the admin listener.

use crate::answer::{self, Answer};
use crate::config::{Log, LogFormat};
use crate::fleet::Fleet;
use crate::front::Current;
use crate::page::query_value;
use crate::plan::{self, Explained};
use crate::proxy::Gateway;
use crate::readiness;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinSet;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// How long a client of the admin listener has for the header of a request.
const ADMIN_HEADER: Duration = Duration::from_secs(10);
/// A pause after an accept that failed (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the level of the log can be changed.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is let into the log, whatever its level: below `info`, the libraries print the headers of requests, and with
/// them what clients prove themselves with. pingora's proxy prints targets with their query, too, and an error for each
/// client that leaves; what becomes of a request is told in [`crate::proxy`]. rustls warns of each client that asks for an
/// address as a name, which any client may do as often as it likes.
fn discreet() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("pingora_proxy", LevelFilter::OFF)
        .with_target("rustls", LevelFilter::ERROR)
        .with_target("onezot", LevelFilter::TRACE)
}

/// Sends the log to standard error. Once per process; later calls change nothing.
pub fn start_log(log: &Log) {
    // The level has been checked with the configuration.
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.level).unwrap_or_default());
    let filter = filter.and(discreet());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    let started = match log.format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(lines.json().with_filter(filter)).try_init(),
    };
    match started {
        Ok(()) => drop(LEVEL.set(handle)),
        Err(error) => tracing::debug!(%error, "a log is there already"),
    }
}

/// Changes what the log says, to a level that has been checked.
pub fn set_level(level: &str) {
    let Some(handle) = LEVEL.get() else { return };
    let changed = EnvFilter::try_new(level).map_err(|error| error.to_string());
    if let Err(error) = changed.and_then(|filter| handle.reload(filter).map_err(|error| error.to_string())) {
        tracing::error!(error, "the level of the log stays");
    }
}

/// Serves the admin listener, for ever.
pub async fn serve_admin(listener: TcpListener, current: Arc<Current>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used");
            return;
        }
    };
    // Connections end with the listener.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let current = current.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let answer = admin(&request, &current.gateway());
                async { Ok::<_, Infallible>(response(answer)) }
            });
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(ADMIN_HEADER);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the admin listener failed");
            }
        });
    }
}

fn admin(request: &Request<Incoming>, gateway: &Gateway) -> Answer {
    if !request.method().is_safe() {
        return answer::method_not_allowed("GET, HEAD");
    }
    match request.uri().path() {
        probe @ ("/livez" | "/readyz" | "/startupz") => health(probe, request.headers(), gateway),
        "/status" => status(gateway),
        "/explain" => explain(request.uri().query().unwrap_or_default(), gateway.fleet()),
        _ => answer::not_found(),
    }
}

/// What a probe says: text, or JSON for whoever accepts that.
fn health(probe: &str, headers: &HeaderMap, gateway: &Gateway) -> Answer {
    let (readiness, fleet) = (gateway.readiness(), gateway.fleet());
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    if accepts.flat_map(|accept| accept.split(',')).any(|range| range.trim().starts_with("application/json")) {
        return answer::readiness(&readiness.document(probe, fleet));
    }
    readiness.why_not(probe, fleet).map_or_else(answer::healthy, answer::not_ready)
}

/// The fleet as JSON: version, placement, each node with its addresses, its health and what is under way there, the queries
/// that only the nodes know, and tags that are different images on several nodes.
fn status(gateway: &Gateway) -> Answer {
    let (config, fleet) = (gateway.config(), gateway.fleet());
    let nodes: Vec<_> = fleet.nodes().iter().map(|node| readiness::of_node(node)).collect();
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "placement": fleet.placement(),
        "partial": config.partial,
        "unknown_queries": {"choice": config.unknown_queries, "seen": gateway.graphql().unknown_queries()},
        "conflicting_tags": fleet.conflicts().status(),
        "nodes": nodes,
    });
    Answer::document("application/json", document.to_string())
}

/// The plan of `?method=GET&path=/v2/…`, as `onezot explain` prints it.
fn explain(query: &str, fleet: &Fleet) -> Answer {
    let method = query_value(query, "method").unwrap_or_else(|| "GET".into());
    let (Ok(method), Some(target)) = (Method::from_bytes(method.as_bytes()), query_value(query, "path")) else {
        return answer::bad_request("explain takes ?method=GET&path=/v2/…");
    };
    let plan = plan::plan(fleet, &method, target.as_bytes());
    let text = Explained { plan: &plan, fleet, method: &method, target: &target }.to_string();
    Answer::document("text/plain; charset=utf-8", text)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
