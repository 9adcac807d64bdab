//! Asking nodes, one or many, and gathering what they say. The only fan-out I/O.
//!
//! Failure is data: what nodes failed to say is gathered beside what they said, and one function,
//! [`Gathered::judge`], decides what becomes of it.

mod connections;
mod gathered;

pub use gathered::{Failure, FailureKind, Gathered, NodeAnswer, Outcome, Reply, Verdict};

use crate::budget::{Budget, Share};
use crate::config::{Config, Partial};
use crate::fleet::{By, Denied, Fleet, Node, Pass};
use crate::onward::{self, Sender};
use crate::page;
use crate::pieces::{Outgoing, Pieces};
use crate::plan::To;
use bytes::{Bytes, BytesMut};
use connections::{Clients, FleetNames, clients};
use futures::future::join_all;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, LINK, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Error as ClientError;
use std::error::Error as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant as Began};
use tokio::time::{Instant, timeout, timeout_at};

/// How long credentials that a node accepted need no trial at one node before all are asked.
const ACCEPTED_FOR: Duration = Duration::from_secs(10);
/// How many such credentials are remembered.
const ACCEPTED_MOST: u64 = 10_000;

/// What every node of a fan-out is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The client's header, as it came.
    pub headers: HeaderMap,
    /// Who the client is.
    pub sender: Sender,
    /// The body, whole.
    pub body: Bytes,
    /// Whether it changes nothing, so that it may be sent again when its connection ended without an answer.
    pub is_read: bool,
    /// What its answers may take of the memory.
    pub share: Arc<Share>,
    /// What holds for all that is asked for it.
    pub terms: Terms,
}

impl Ask {
    /// Another request on behalf of the same client, without a body: what its own header says of one is not for this.
    pub fn without_body(&self, method: Method, target: String) -> Ask {
        let is_about_body = |name: &HeaderName| name.as_str().starts_with("content-");
        let headers = self.headers.iter().filter(|(name, _)| !is_about_body(name));
        let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (sender, share, is_read) = (self.sender.clone(), self.share.clone(), method.is_safe());
        Ask { method, target, headers, sender, body: Bytes::new(), is_read, share, terms: self.terms }
    }
}

/// What holds for all that nodes are asked for one request.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What becomes of it when a node fails.
    pub partial: Partial,
    /// When all answers must be there.
    pub until: Instant,
}

/// Whether one node goes first in a fan-out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// Always.
    Always,
    /// Unless the credentials are known to be good: a wrong password must not count N times at a directory.
    UntilAccepted,
}

/// The fan-out client: one pool of connections for all nodes.
pub struct Scatter {
    fleet: Arc<Fleet>,
    clients: Clients,
    /// How the clients resolve names.
    names: FleetNames,
    headers: Duration,
    write_answer: Duration,
    idle: Duration,
    total: Duration,
    answer_bytes: usize,
    budget: Arc<Budget>,
    accepted: moka::sync::Cache<u64, ()>,
    hasher: RandomState,
}

impl Scatter {
    /// A client for the nodes of `fleet`.
    pub fn new(config: &Config, fleet: Arc<Fleet>) -> Scatter {
        let names = FleetNames::default();
        names.add(&fleet);
        let clients = clients(config, &fleet, names.clone());
        Scatter {
            fleet,
            clients,
            names,
            headers: config.timeouts.headers,
            write_answer: config.timeouts.write_answer,
            idle: config.timeouts.idle,
            total: config.timeouts.total,
            answer_bytes: usize::try_from(config.limits.answer_bytes.as_u64()).unwrap_or(usize::MAX),
            budget: Budget::new(config.limits.total_answer_bytes.as_u64()),
            accepted: moka::sync::Cache::builder().max_capacity(ACCEPTED_MOST).time_to_live(ACCEPTED_FOR).build(),
            hasher: RandomState::new(),
        }
    }

    /// What holds for a request that begins now.
    pub fn terms(&self, partial: Partial) -> Terms {
        Terms { partial, until: Instant::now() + self.total }
    }

    /// The same for another fleet, with the same budget, credentials, and, if connections are made alike, connections.
    pub fn succeeded_by(&self, before: &Config, config: &Config, fleet: Arc<Fleet>) -> Scatter {
        let fresh = Scatter::new(config, fleet);
        self.budget.resize(config.limits.total_answer_bytes.as_u64());
        let alike = before.timeouts.connect == config.timeouts.connect && fresh.fleet.is_secured_by(&self.fleet);
        let (clients, names) = if alike {
            self.names.add(&fresh.fleet);
            (self.clients.clone(), self.names.clone())
        } else {
            (fresh.clients, fresh.names)
        };
        Scatter {
            clients,
            names,
            budget: self.budget.clone(),
            accepted: self.accepted.clone(),
            hasher: self.hasher.clone(),
            ..fresh
        }
    }

    /// A new request's share of what all requests may hold.
    pub fn share(&self) -> Arc<Share> {
        self.budget.share()
    }

    /// Every node's whole catalog.
    pub async fn catalogs(&self, ask: &Ask) -> Gathered<Vec<String>> {
        let nodes = self.fleet.nodes();
        self.gather(nodes, ask, Lead::UntilAccepted, ask.terms.partial, |node| self.listing(node, ask)).await
    }

    /// The whole list of tags of a repository on each of some nodes (by their index).
    pub async fn tags(&self, ask: &Ask, holders: &[usize]) -> Gathered<Vec<String>> {
        let nodes = &self.nodes_of(holders);
        self.gather(nodes, ask, Lead::UntilAccepted, ask.terms.partial, |node| self.listing(node, ask)).await
    }

    /// The same request to each of some nodes; a part is an answer with the status 200.
    pub async fn some(&self, ask: &Ask, holders: &[usize]) -> Gathered<NodeAnswer> {
        let nodes = &self.nodes_of(holders);
        self.gather(nodes, ask, Lead::UntilAccepted, ask.terms.partial, |node| async move {
            let answer = self.ask(node, ask, &ask.target, self.answer_bytes).await?;
            let headers = answer.headers.clone();
            Ok(if answer.status == StatusCode::OK { Reply::Part(answer, headers) } else { Reply::Refusal(answer) })
        })
        .await
    }

    fn nodes_of(&self, indexes: &[usize]) -> Vec<Arc<Node>> {
        indexes.iter().filter_map(|&index| self.fleet.nodes().get(index).cloned()).collect()
    }

    /// Whether the owner of `last`, asked for the client's own page, has something behind it. Then it has `last`, too,
    /// though the client may not see it.
    ///
    /// # Errors
    ///
    /// The owner's failure: nobody else knows.
    pub async fn continues_after(&self, ask: &Ask, last: &str, page: &str) -> Result<bool, Failure> {
        let Some(owner) = self.fleet.nodes().get(self.fleet.owner(last).node) else { return Ok(false) };
        let answer = self.ask(owner.clone(), ask, page, self.answer_bytes).await?;
        if answer.status != StatusCode::OK {
            let kind = FailureKind::Refused(answer.status);
            return Err(Failure { node: answer.name, kind, cause: format!("page {page} of its catalog") });
        }
        Ok(listed(owner, &answer.body)?.is_some_and(|names| !names.is_empty()))
    }

    /// The fleet that is asked.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// One node's answer to a request. Where any node would do, those that fail give way to the next. A server error is no
    /// answer: a zot gives none to a document, so that it is the word of something in between, or of a zot that breaks.
    ///
    /// # Errors
    ///
    /// The node's failure; of several, the first one's.
    pub async fn one(&self, to: &To, ask: &Ask) -> Result<NodeAnswer, Failure> {
        let mut first = None;
        for node in to.candidates(&self.fleet).into_iter().filter_map(|index| self.fleet.nodes().get(index)) {
            let answer = self.ask(node.clone(), ask, &ask.target, self.answer_bytes).await;
            match answer.and_then(no_server_error) {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    failure.tell();
                    first.get_or_insert(failure);
                    if !ask.is_read {
                        break;
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| Failure {
            node: String::new(),
            kind: FailureKind::Down,
            cause: "there is no node to ask".to_owned(),
        }))
    }

    /// Every node's answer to a document; `part` says whether an answer is a part.
    pub async fn documents(&self, ask: &Ask, part: impl Fn(NodeAnswer) -> Outcome<NodeAnswer>) -> Gathered<NodeAnswer> {
        let part = &part;
        let nodes = self.fleet.nodes();
        self.gather(nodes, ask, Lead::UntilAccepted, ask.terms.partial, |node| async move {
            part(self.ask(node, ask, &ask.target, self.answer_bytes).await?)
        })
        .await
    }

    /// The answer of the node at an index.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn at(&self, node: usize, ask: &Ask) -> Result<NodeAnswer, Failure> {
        let Some(node) = self.fleet.nodes().get(node) else {
            let cause = "there is no such node".to_owned();
            return Err(Failure { node: String::new(), kind: FailureKind::Down, cause });
        };
        self.ask(node.clone(), ask, &ask.target, self.answer_bytes).await
    }

    /// The same, where a server error is none.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn sound(&self, node: usize, ask: &Ask) -> Result<NodeAnswer, Failure> {
        self.at(node, ask).await.and_then(no_server_error)
    }

    /// The answers of those that have a repository (by their index), to one request. Those that say that they lack what is
    /// asked for have no part, unless all do.
    pub async fn holders(
        &self,
        ask: &Ask,
        holders: &[usize],
        part: impl Fn(NodeAnswer) -> Outcome<NodeAnswer>,
        is_absence: impl Fn(&NodeAnswer) -> bool,
    ) -> Gathered<NodeAnswer> {
        let asks: Vec<(usize, Ask)> = holders.iter().map(|&node| (node, ask.clone())).collect();
        let mut gathered = self.each(&asks, part).await;
        let is_part = |(_, reply): &(Arc<Node>, Outcome<NodeAnswer>)| matches!(reply, Ok(Reply::Part(..)));
        if gathered.replies.iter().any(is_part) {
            gathered.replies.retain(|(_, reply)| !matches!(reply, Ok(Reply::Refusal(answer)) if is_absence(answer)));
        }
        gathered.lead = gathered.replies.iter().position(|(_, reply)| reply.is_ok());
        gathered
    }

    /// The answers of several nodes (by their index), each to a request of its own; `part` says whether an answer is a
    /// part. The credentials have been accepted already, so that no refusal is the client's answer.
    pub async fn each(
        &self,
        asks: &[(usize, Ask)],
        part: impl Fn(NodeAnswer) -> Outcome<NodeAnswer>,
    ) -> Gathered<NodeAnswer> {
        let part = &part;
        let asked = asks.iter().filter_map(|(node, ask)| Some((self.fleet.nodes().get(*node)?, ask)));
        let replies = asked.map(|(node, ask)| async move {
            let answer = self.ask(node.clone(), ask, &ask.target, self.answer_bytes).await;
            (node.clone(), answer.and_then(part))
        });
        Gathered { lead: None, replies: join_all(replies).await }
    }

    /// Whether these credentials (or none) need no trial at one node.
    pub fn accepts(&self, headers: &HeaderMap) -> bool {
        self.credentials(headers).is_none_or(|credentials| self.accepted.contains_key(&credentials))
    }

    /// Notes that a node accepted these credentials.
    pub fn accept(&self, headers: &HeaderMap) {
        if let Some(credentials) = self.credentials(headers) {
            self.accepted.insert(credentials, ());
        }
    }

    /// The same request to every node; a part is an answer below 400.
    pub async fn broadcast(&self, ask: &Ask) -> Gathered<NodeAnswer> {
        self.gather(self.fleet.nodes(), ask, Lead::Always, Partial::Fail, |node| async move {
            let answer = self.ask(node, ask, &ask.target, self.answer_bytes).await?;
            let is_refusal = !answer.status.is_success();
            Ok(if is_refusal {
                Reply::Refusal(answer)
            } else {
                let headers = answer.headers.clone();
                Reply::Part(answer, headers)
            })
        })
        .await
    }

    /// Asks nodes, all within one deadline. A lead that fails settles it, unless `partial` allows for missing nodes:
    /// the rest is not asked any more.
    async fn gather<T, F, R>(&self, nodes: &[Arc<Node>], ask: &Ask, lead: Lead, partial: Partial, one: F) -> Gathered<T>
    where
        F: Fn(Arc<Node>) -> R,
        R: Future<Output = Outcome<T>>,
    {
        let mut replies: Vec<(Arc<Node>, Outcome<T>)> = Vec::with_capacity(nodes.len());
        if lead == Lead::Always || !self.accepts(&ask.headers) {
            for node in nodes {
                let reply = one(node.clone()).await;
                let answered = reply.as_ref().is_ok_and(Reply::is_answer);
                let refused = answered && matches!(reply, Ok(Reply::Refusal(_)));
                replies.push((node.clone(), reply));
                if refused {
                    return Gathered { lead: Some(replies.len() - 1), replies };
                }
                if answered {
                    break;
                }
                if partial == Partial::Fail {
                    return Gathered { lead: None, replies };
                }
            }
        }
        let rest = &nodes[replies.len()..];
        replies.extend(join_all(rest.iter().map(|node| async { (node.clone(), one(node.clone()).await) })).await);
        let lead = replies.iter().position(|(_, reply)| reply.as_ref().is_ok_and(Reply::is_answer));
        let accepted = lead.is_some_and(|lead| matches!(replies[lead].1, Ok(Reply::Part(..))));
        if accepted {
            self.accept(&ask.headers);
        }
        Gathered { lead, replies }
    }

    /// A keyed hash of what a client proves itself with; `None` if it brings nothing.
    pub fn credentials(&self, headers: &HeaderMap) -> Option<u64> {
        let lines = [AUTHORIZATION, COOKIE]
            .map(|name| headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>());
        lines.iter().any(|lines| !lines.is_empty()).then(|| self.hasher.hash_one(&lines))
    }

    /// One node's catalog, or its tags: its own pages are followed to the end (registries other than zot page by
    /// themselves).
    async fn listing(&self, node: Arc<Node>, ask: &Ask) -> Outcome<Vec<String>> {
        let mut left = self.answer_bytes;
        let mut target = ask.target.clone();
        let mut names: Vec<String> = Vec::new();
        let mut first_headers = None;
        loop {
            let answer = self.ask(node.clone(), ask, &target, left).await?;
            if answer.status != StatusCode::OK {
                return match first_headers {
                    None => Ok(Reply::Refusal(answer)),
                    Some(_) => Err(unusable(&node, format!("page {target} of its list: {}", answer.status))),
                };
            }
            left = left.saturating_sub(answer.body.len());
            let page = listed(&node, &answer.body)?.unwrap_or_default();
            let got_further = !page.is_empty();
            names.extend(page);
            let link = answer.headers.get(LINK).and_then(|link| link.to_str().ok()).and_then(page::next_link);
            let next = link.map(|link| {
                // Only the query counts: a node may not send onezot anywhere else.
                let query = link.split_once('?').map_or("", |(_, query)| query);
                let path = ask.target.split('?').next().unwrap_or_default();
                format!("{path}?{query}")
            });
            let headers = first_headers.get_or_insert(answer.headers);
            match next {
                None => return Ok(Reply::Part(names, std::mem::take(headers))),
                Some(next) if got_further && next != target => target = next,
                Some(_) => return Err(unusable(&node, "the Link of its list leads nowhere".to_owned())),
            }
        }
    }

    /// One node's answer to a request that may have effect: it is sent once, and the node may take the time of a write.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn write(&self, node: &Arc<Node>, ask: &Ask) -> Result<NodeAnswer, Failure> {
        let until = Instant::now() + self.write_answer;
        let response = self.begin(node, ask, &ask.target, until).await?;
        self.whole(node, response, ask, self.answer_bytes, Instant::now() + self.total).await
    }

    /// Asks one node; the body of its answer is still to come.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn open(&self, node: &Arc<Node>, ask: &Ask) -> Result<Response<Incoming>, Failure> {
        self.begin(node, ask, &ask.target, Instant::now() + self.headers).await
    }

    /// Sends a node a request whose body comes in pieces. It has no deadline here: the pieces have.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn send(&self, node: &Arc<Node>, ask: &Ask, pieces: Pieces) -> Result<Response<Incoming>, Failure> {
        let _pass = self.admitted(node).await?;
        let mut request = self.request(node, ask, &ask.target)?;
        request.headers_mut().insert(CONTENT_LENGTH, pieces.left().into());
        *request.body_mut() = Either::Right(pieces);
        let began = Began::now();
        let response = self
            .clients
            .pooled
            .request(request)
            .await
            .map_err(|error| self.failed(node, &error, By::Request, began))?;
        self.fleet.was_heard(node);
        Ok(response)
    }

    /// How long a body may stop for, and how long a node that has all of it may take to answer.
    pub fn patience(&self) -> (Duration, Duration) {
        (self.idle, self.write_answer)
    }

    /// Asks one node and reads the whole answer, within the deadlines and at most `limit` bytes of body.
    async fn ask(&self, node: Arc<Node>, ask: &Ask, target: &str, limit: usize) -> Result<NodeAnswer, Failure> {
        let until = ask.terms.until;
        let response = self.begin(&node, ask, target, until.min(Instant::now() + self.headers)).await?;
        self.whole(&node, response, ask, limit, until).await
    }

    /// Leave to send a node a request.
    async fn admitted(&self, node: &Arc<Node>) -> Result<Pass, Failure> {
        node.admit().await.map_err(|denied| Failure::denied(node, denied))
    }

    /// Asks a node for a path in onezot's own name, whatever is known of the node, and looks at the status only.
    ///
    /// # Errors
    ///
    /// The node's failure.
    pub async fn probe(&self, node: &Arc<Node>, path: &str, within: Duration) -> Result<StatusCode, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("onezot/", env!("CARGO_PKG_VERSION"))));
        if let Some(credentials) = node.credentials() {
            headers.insert(AUTHORIZATION, credentials.header().clone());
        }
        let until = Instant::now() + within;
        let ask = Ask {
            method: Method::GET,
            target: path.to_owned(),
            headers,
            sender: Sender::default(),
            body: Bytes::new(),
            is_read: true,
            share: self.share(),
            terms: Terms { partial: Partial::Fail, until },
        };
        let response = self.sent(node, &ask, path, until, By::Check).await?;
        Ok(response.status())
    }

    /// Asks one node and waits for its header.
    ///
    /// A read is sent a second time, on a new connection, when its connection ended without an answer: most likely it came
    /// from the pool, and the node had closed it.
    async fn begin(
        &self,
        node: &Arc<Node>,
        ask: &Ask,
        target: &str,
        until: Instant,
    ) -> Result<Response<Incoming>, Failure> {
        let pass = match timeout_at(until, self.admitted(node)).await {
            Ok(pass) => pass?,
            Err(_) => return Err(Failure::denied(node, Denied::Full)),
        };
        let mut response = self.sent(node, ask, target, until, By::Request).await?;
        // It counts there until all of it has been read.
        response.extensions_mut().insert(Arc::new(pass));
        Ok(response)
    }

    /// The same, whatever is known of the node.
    async fn sent(
        &self,
        node: &Arc<Node>,
        ask: &Ask,
        target: &str,
        until: Instant,
        by: By,
    ) -> Result<Response<Incoming>, Failure> {
        let began = Began::now();
        let mut attempts = 0;
        let response = loop {
            attempts += 1;
            let request = self.request(node, ask, target)?;
            let client = if attempts == 1 { &self.clients.pooled } else { &self.clients.fresh };
            match timeout_at(until, client.request(request)).await {
                Err(_) => {
                    self.fleet.was_late(node, by, began, "no header in time");
                    return Err(late(node, "no header in time"));
                }
                Ok(Ok(response)) => break response,
                Ok(Err(error)) if attempts == 1 && ask.is_read && has_no_answer(&error) => {}
                Ok(Err(error)) => return Err(self.failed(node, &error, by, began)),
            }
        };
        self.fleet.was_heard(node);
        match onward::unusable(response.status(), response.headers()) {
            Some(why) => Err(unusable(node, why.to_owned())),
            None => Ok(response),
        }
    }

    /// Reads the whole answer of a node.
    async fn whole(
        &self,
        node: &Arc<Node>,
        response: Response<Incoming>,
        ask: &Ask,
        limit: usize,
        deadline: Instant,
    ) -> Result<NodeAnswer, Failure> {
        let (parts, body) = response.into_parts();
        if let Some(failure) = ask.sender.presented.forgotten(self, ask, &node.name, &parts.headers).await {
            return Err(failure);
        }
        let began = Began::now();
        let read = timeout_at(deadline, self.read_body(node, body, limit, &ask.share)).await;
        let read = read.unwrap_or_else(|_| Err(late(node, "no end of the body in time")));
        let body = read.inspect_err(|failure| {
            if failure.kind == FailureKind::Late {
                self.fleet.was_late(node, By::Request, began, &failure.cause);
            }
        })?;
        let index = self.fleet.nodes().iter().position(|known| Arc::ptr_eq(known, node)).unwrap_or_default();
        Ok(NodeAnswer { node: index, name: node.name.clone(), status: parts.status, headers: parts.headers, body })
    }

    /// Reads the body of an answer, at most `limit` bytes.
    async fn read_body(&self, node: &Node, mut body: Incoming, limit: usize, share: &Share) -> Result<Bytes, Failure> {
        let failed = |kind, cause: String| Failure { node: node.name.clone(), kind, cause };
        let too_large = || failed(FailureKind::TooLarge, format!("more than {limit} bytes"));
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        loop {
            match timeout(self.idle, body.frame()).await {
                Err(_) => return Err(failed(FailureKind::Late, "the body stopped".to_owned())),
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(error))) => return Err(failed(FailureKind::Down, format!("the body broke off: {error}"))),
                Ok(Some(Ok(frame))) => {
                    self.fleet.was_heard(node);
                    let Ok(data) = frame.into_data() else { continue };
                    if whole.len() + data.len() > limit {
                        return Err(too_large());
                    }
                    if !share.take(data.len()) {
                        return Err(failed(FailureKind::NoRoom, "limits.total_answer_bytes is reached".to_owned()));
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }

    /// The failure of a request, which is noted.
    fn failed(&self, node: &Node, error: &ClientError, by: By, began: Began) -> Failure {
        let failure = failure_of(node, error);
        match failure.kind {
            FailureKind::Late => self.fleet.was_late(node, by, began, &failure.cause),
            _ if error.is_connect() => self.fleet.was_unreachable(node, &failure.cause),
            _ => {}
        }
        failure
    }

    fn request(&self, node: &Node, ask: &Ask, target: &str) -> Result<Request<Outgoing>, Failure> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{}{target}", node.url))
            .body(Either::Left(Full::new(ask.body.clone())))
            .map_err(|error| unusable(node, format!("it names a target that is none: {error}")))?;
        *request.headers_mut() = onward::for_fan_out(node, &ask.sender, &ask.headers);
        if !ask.method.is_safe() {
            request.headers_mut().insert(CONTENT_LENGTH, ask.body.len().into());
        }
        Ok(request)
    }
}

/// A page of a catalog, or of tags.
#[derive(serde::Deserialize)]
struct Listing {
    #[serde(alias = "tags")]
    repositories: Option<Vec<String>>,
}

/// The names in a page of a node's catalog, or of its tags.
fn listed(node: &Node, body: &[u8]) -> Result<Option<Vec<String>>, Failure> {
    let page: Listing =
        serde_json::from_slice(body).map_err(|error| unusable(node, format!("its list is none: {error}")))?;
    Ok(page.repositories)
}

fn late(node: &Node, cause: &str) -> Failure {
    Failure { node: node.name.clone(), kind: FailureKind::Late, cause: cause.to_owned() }
}

fn no_server_error(answer: NodeAnswer) -> Result<NodeAnswer, Failure> {
    if answer.status.is_server_error() {
        let kind = FailureKind::Refused(answer.status);
        return Err(Failure { node: answer.name, kind, cause: format!("status {}", answer.status) });
    }
    Ok(answer)
}

fn unusable(node: &Node, cause: String) -> Failure {
    Failure { node: node.name.clone(), kind: FailureKind::Unusable, cause }
}

fn failure_of(node: &Node, error: &ClientError) -> Failure {
    let mut cause = error.to_string();
    let mut kind = FailureKind::Down;
    let mut source = error.source();
    while let Some(inner) = source {
        cause = format!("{cause}: {inner}");
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            kind = FailureKind::Late;
        }
        source = inner.source();
    }
    Failure { node: node.name.clone(), kind, cause }
}

/// Whether the connection ended without an answer.
fn has_no_answer(error: &ClientError) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        let closed = inner.downcast_ref::<hyper::Error>().is_some_and(|e| e.is_incomplete_message() || e.is_canceled());
        let reset = inner
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| matches!(e.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe));
        if !error.is_connect() && (closed || reset) {
            return true;
        }
        source = inner.source();
    }
    false
}
