//! Nodes that replay: each answers what was recorded of one server, byte for byte, and takes note of every request that
//! was not recorded.

use super::golden::{Answer, Lines, Request};
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Headers of a request on which an answer may depend: of those, a node has to receive what the client sent.
const COUNTS: [&str; 11] = [
    "accept",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "origin",
    "range",
    "x-zot-api-client",
];

/// Where Go's HTTP server stops to know the length of a body before it sends it.
const GO_BUFFER: usize = 2048;

/// What a node sees of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    method: String,
    target: String,
    headers: Lines,
    body: Vec<u8>,
}

impl Asked {
    fn new(method: &str, target: &str, lines: impl Iterator<Item = (String, String)>, body: Vec<u8>) -> Asked {
        // That there is no body may be said or not: `Content-Length: 0` and none are the same to a server (RFC 9110
        // section 8.6, and Go's).
        let counts = |(name, value): &(String, String)| {
            COUNTS.contains(&name.as_str()) && !(name == "content-length" && value == "0")
        };
        let mut headers: Lines = lines.filter(counts).collect();
        headers.sort();
        Asked { method: method.to_owned(), target: target.to_owned(), headers, body }
    }

    /// A recorded request, as a node gets it when a client sends it there.
    pub fn of(request: &Request) -> Asked {
        let body = request.body.clone().unwrap_or_default();
        Asked::new(&request.method, &request.path, request.lines().into_iter(), body)
    }

    /// The same request with another target.
    fn with_target(&self, target: &str) -> Asked {
        Asked { target: target.to_owned(), ..self.clone() }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {} {:?} {body:?}", self.method, self.target, self.headers)
    }
}

/// Where the answers come from.
enum Answers {
    /// From a recording of single requests, which may come in any order and number.
    Recorded(HashMap<Asked, Answer>),
    /// From a script: each request in its turn, once.
    Script(VecDeque<(Asked, Answer)>),
}

impl Answers {
    fn to(&mut self, asked: &Asked) -> Result<Answer, String> {
        match self {
            Answers::Recorded(answers) => {
                let found = answers.get(asked).or_else(|| {
                    stand_ins(asked).into_iter().find_map(|target| answers.get(&asked.with_target(&target)))
                });
                found.cloned().ok_or_else(|| format!("not recorded: {asked}"))
            }
            Answers::Script(steps) => match steps.front() {
                Some((expected, _)) if expected == asked => Ok(steps.pop_front().expect("there is one").1),
                Some((expected, _)) => Err(format!("{asked}\n      instead of {expected}")),
                None => Err(format!("after the last step: {asked}")),
            },
        }
    }
}

/// Queries of the catalog that mean the whole of it; the tests assert that they were all answered alike.
pub const WHOLE_CATALOG: [&str; 6] = ["", "n=-1", "n=abc", "n=", "x=1", "last="];

/// A recorded path without a route, for the one that the gateway asks for; the tests assert that all were answered alike.
pub const STANDS_FOR_NOWHERE: &str = "/v2/x";

/// Recorded targets that may stand for one that was not recorded: a gateway asks nodes for the whole catalog, and for
/// some users the whole was only recorded under a query that means the same.
fn stand_ins(asked: &Asked) -> Vec<String> {
    if asked.target == onezot::rules::NOWHERE {
        return vec![STANDS_FOR_NOWHERE.to_owned()];
    }
    if asked.method != "GET" || asked.target != "/v2/_catalog" {
        return Vec::new();
    }
    WHOLE_CATALOG[1..].iter().map(|query| format!("/v2/_catalog?{query}")).collect()
}

/// A node that replays.
pub struct Node {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    answers: Mutex<Answers>,
    failures: Mutex<Vec<String>>,
}

impl Node {
    /// A node that gives the recorded answers of one server.
    pub async fn recorded(pairs: impl IntoIterator<Item = (Request, Answer)>) -> Node {
        let answers = pairs.into_iter().map(|(request, answer)| (Asked::of(&request), answer)).collect();
        Node::start(Answers::Recorded(answers)).await
    }

    /// A node that expects exactly these requests, one after the other.
    pub async fn script(steps: impl IntoIterator<Item = (Request, Answer)>) -> Node {
        let steps = steps.into_iter().map(|(request, answer)| (Asked::of(&request), answer)).collect();
        Node::start(Answers::Script(steps)).await
    }

    async fn start(answers: Answers) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State { answers: Mutex::new(answers), failures: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Node { address, state, accepting }
    }

    /// What has gone wrong so far; each failure is told once.
    pub fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.failures.lock().expect("the lock"))
    }

    /// How many steps of the script nobody has asked for yet.
    pub fn steps_left(&self) -> usize {
        match &*self.state.answers.lock().expect("the lock") {
            Answers::Recorded(_) => 0,
            Answers::Script(steps) => steps.len(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, state.clone()));
            let mut builder = http1::Builder::new();
            // A connection that the gateway drops is no failure.
            let _ = builder.title_case_headers(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    state: Arc<State>,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let fail = |what: String| state.failures.lock().expect("the lock").push(what);
    let body = match body.collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(error) => {
            fail(format!("the body of {} {} broke off: {error}", parts.method, parts.uri));
            Vec::new()
        }
    };
    let lines = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let asked = Asked::new(parts.method.as_str(), target, lines, body);
    let answer = state.answers.lock().expect("the lock").to(&asked).unwrap_or_else(|what| {
        fail(what.clone());
        Answer { status: 599, headers: Vec::new(), body: what.into_bytes() }
    });
    Ok(response(&answer))
}

/// The recorded bytes, framed as Go does it.
fn response(answer: &Answer) -> http::Response<BoxBody<Bytes, Infallible>> {
    let known = !answer.values("content-length").is_empty();
    let bytes = Bytes::from(answer.body.clone());
    let body = if bytes.is_empty() {
        Empty::new().boxed()
    } else if known || bytes.len() <= GO_BUFFER {
        Full::new(bytes).boxed()
    } else {
        let pieces: Vec<_> = bytes.chunks(GO_BUFFER).map(|piece| Ok(Frame::data(bytes.slice_ref(piece)))).collect();
        BodyExt::boxed(StreamBody::new(stream::iter(pieces)))
    };
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(body).expect("recorded headers are headers")
}
