//! A stub of Kubernetes' API server for the EndpointSlices of one namespace: lists, and watches with bookmarks, expired
//! versions and connections that break off (Kubernetes, API Concepts, "Efficient detection of changes").

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/registry/endpointslices";
pub const TOKEN: &str = "a-token-of-the-test";

#[derive(Default)]
struct State {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// `(version, event)`.
    events: Vec<(u64, Value)>,
    /// Versions up to this one are forgotten.
    expired: u64,
    /// Queries in order.
    seen: Vec<String>,
}

pub struct ApiServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Tells watches that there is something new.
    news: watch::Sender<u64>,
    task: Option<JoinHandle<()>>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.gone();
    }
}

impl ApiServer {
    pub async fn start() -> ApiServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { version: 100, ..State::default() };
        let mut server =
            ApiServer { address, state: Arc::new(Mutex::new(state)), news: watch::channel(0).0, task: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let (state, news) = (self.state.clone(), self.news.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, news) = (state.clone(), news.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let answer = answer(&request, &state, &news);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
    }

    /// Nobody listens any more, and all connections are cut.
    pub fn gone(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// It is there again, at the same address.
    pub async fn back(&mut self) {
        self.gone();
        // The task that held the address may not have ended yet.
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        };
        self.serve(listener);
    }

    /// The same, if it is gone.
    pub async fn back_if_gone(&mut self) {
        if self.task.is_none() {
            self.back().await;
        }
    }

    /// Puts a slice there, or removes it.
    pub fn put(&self, name: &str, service: &str, slice: Option<Value>) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        let meta = json!({
            "name": name, "namespace": "registry", "resourceVersion": version.to_string(),
            "labels": {"kubernetes.io/service-name": service},
        });
        let (kind, slice) = match slice {
            Some(mut slice) => {
                slice["metadata"] = meta;
                let known = state.slices.insert(name.to_owned(), slice.clone());
                (if known.is_some() { "MODIFIED" } else { "ADDED" }, slice)
            }
            None => {
                let mut slice = state.slices.remove(name).unwrap();
                slice["metadata"] = meta;
                ("DELETED", slice)
            }
        };
        state.events.push((version, json!({"type": kind, "object": typed(slice)})));
        self.news.send_replace(version);
    }

    /// Tells watches how far they are, without anything new.
    pub fn bookmark(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        let object = typed(json!({"metadata": {"resourceVersion": version.to_string()}}));
        state.events.push((version, json!({"type": "BOOKMARK", "object": object})));
        self.news.send_replace(version);
        version
    }

    /// Forgets all versions up to now: who wants to go on from one is told that it is gone.
    pub fn expire(&self) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.expired = state.version;
        state.events.clear();
    }

    /// The queries so far, and none of them next time.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn typed(mut slice: Value) -> Value {
    slice["apiVersion"] = json!("discovery.k8s.io/v1");
    slice["kind"] = json!("EndpointSlice");
    slice["addressType"] = json!("IPv4");
    if slice["endpoints"].is_null() {
        slice["endpoints"] = json!([]);
    }
    slice
}

type Body = BoxBody<Bytes, Infallible>;

fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason,
        "code": code})
}

fn answer(request: &Request<Incoming>, state: &Arc<Mutex<State>>, news: &watch::Sender<u64>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if token != Some(&format!("Bearer {TOKEN}")) {
        return whole(StatusCode::UNAUTHORIZED, &failure(401, "Unauthorized"));
    }
    if request.uri().path() != PATH {
        return whole(StatusCode::NOT_FOUND, &failure(404, "NotFound"));
    }
    let parameters: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let selector = parameters.get("labelSelector").cloned().unwrap_or_default();
    let is_selected = move |object: &Value| {
        let service = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
        selector == format!("kubernetes.io/service-name={service}")
    };
    let mut locked = state.lock().unwrap();
    locked.seen.push(query);
    if parameters.get("watch").is_none_or(|watch| watch != "true" && watch != "1") {
        let items: Vec<Value> = locked.slices.values().filter(|slice| is_selected(slice)).cloned().collect();
        let meta = json!({"resourceVersion": locked.version.to_string()});
        let items: Vec<Value> = items.into_iter().map(typed).collect();
        return whole(
            StatusCode::OK,
            &json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "metadata": meta, "items": items}),
        );
    }
    let from: u64 = parameters["resourceVersion"].parse().unwrap();
    let bookmarks = parameters.get("allowWatchBookmarks").is_some_and(|allow| allow == "true");
    if from < locked.expired {
        let event = json!({"type": "ERROR", "object": failure(410, "Expired")});
        return whole(StatusCode::OK, &event);
    }
    drop(locked);
    // Events from there on, and then those to come.
    let pieces = stream::unfold((from, state.clone(), news.subscribe()), move |(mut at, state, mut news)| {
        let is_selected = is_selected.clone();
        async move {
            loop {
                news.borrow_and_update();
                let mut lines = String::new();
                for (version, event) in &state.lock().unwrap().events {
                    let is_bookmark = event["type"] == "BOOKMARK";
                    if *version > at && if is_bookmark { bookmarks } else { is_selected(&event["object"]) } {
                        lines.push_str(&format!("{event}\n"));
                    }
                }
                at = at.max(state.lock().unwrap().version);
                if !lines.is_empty() {
                    return Some((Bytes::from(lines), (at, state, news)));
                }
                news.changed().await.ok()?;
            }
        }
    });
    let body = BodyExt::boxed(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))));
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}
