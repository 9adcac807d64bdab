//! The proxy: carries out the plan of each request. What streams goes through pingora; what is merged is asked through
//! [`crate::scatter`] and answered here.

mod identity;
mod joined;
mod located;
mod refused;

use crate::answer::{self, Answer};
use crate::clients::{Clients, Visit};
use crate::config::{Config, FieldName, Partial};
use crate::door;
use crate::fleet::{By, Fleet, Node, Pass};
use crate::graphql::{GraphQl, Planning};
use crate::identity::Identity;
use crate::mount::{self, Copies};
use crate::onward::{self, Sender};
use crate::path::origin_form;
use crate::plan::{self, CatalogAsk, Mount, Plan, Refusal, To};
use crate::query::DocumentPlan;
use crate::readiness::Readiness;
use crate::room::Room;
use crate::rules::NOWHERE;
use crate::scatter::{Ask, Failure, FailureKind, Scatter, Verdict};
use crate::tls;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{self, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use identity::FORGOTTEN;
use located::{ELSEWHERE, Reading, UNKNOWN};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::{HttpUpstreamRequestPolicy, Peer as _};
use pingora::{ErrorSource, ImmutStr};
use refused::{is_too_large, too_large};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// An idle connection to a node is dropped before the node drops it.
const UPSTREAM_IDLE: Duration = Duration::from_secs(30);

/// Groups of connections that have one member.
static RESENT: AtomicU64 = AtomicU64::new(1);

/// How long a node may take where any would do, as long as there is another.
const HURRY: Duration = Duration::from_secs(5);
/// How much longer a node is waited for than a client that has stopped.
const CLIENT_FIRST: Duration = Duration::from_secs(1);

/// From this size on (bytes), planning a document takes a millisecond or more.
const LARGE_DOCUMENT: usize = 8 << 10;
/// How long the rest of a request's body is read away behind an answer of onezot's own.
const BODY_DRAIN: Duration = Duration::from_secs(5);

/// The gateway, as pingora drives it.
pub struct Gateway {
    config: Arc<Config>,
    fleet: Arc<Fleet>,
    scatter: Arc<Scatter>,
    graphql: Arc<GraphQl>,
    identity: Identity,
    in_flight: TaskTracker,
    clients: Arc<Clients>,
    /// For requests that are answered from what several nodes say.
    merges: Arc<Room>,
    copies: Arc<Copies>,
    readiness: Arc<Readiness>,
}

/// What is known of one request while it is under way.
pub struct Ctx {
    began: Instant,
    /// Nodes that the request may stream to, in the order in which they are tried.
    candidates: Vec<usize>,
    /// How many of them have been tried.
    tried: usize,
    /// Whether any node's answer will do, and takes no node long.
    in_a_hurry: bool,
    /// How many of the node's addresses have been tried.
    addresses_tried: usize,
    /// How often the request has been sent again on a fresh connection.
    resent: u32,
    /// Held as long as the request is under way at the node.
    pass: Option<Pass>,
    /// When it was sent there.
    sent: Instant,
    sender: Option<Sender>,
    /// The target that a node gets instead of the client's.
    in_its_place: Option<String>,
    /// The request, if it is a read that may start again where its repository is.
    reading: Option<Box<Reading>>,
    /// Whether the answer may open an upload session, which stays on its node.
    opens_session: bool,
    class: &'static str,
    /// Why the request failed, for the log and for the client.
    failure: Option<Failure>,
    /// Held as long as the request counts as one of its client's.
    visit: Option<Visit>,
    /// How much of the request's body has come.
    received: u64,
    /// Held as long as the request is in flight.
    _in_flight: TaskTrackerToken,
}

impl Ctx {
    /// Goes on to the next candidate, if there is one.
    fn go_on(&mut self) -> bool {
        let another = self.tried + 1 < self.candidates.len();
        if another {
            self.tried += 1;
            self.addresses_tried = 0;
        }
        another
    }

    /// The node that the request is sent to.
    fn node<'a>(&self, fleet: &'a Fleet) -> Option<&'a Arc<Node>> {
        self.candidates.get(self.tried).and_then(|&index| fleet.nodes().get(index))
    }
}

impl Gateway {
    /// A gateway for `fleet`. `in_flight` counts the requests under way.
    pub fn new(config: Arc<Config>, fleet: Arc<Fleet>, in_flight: TaskTracker) -> Gateway {
        let scatter = Arc::new(Scatter::new(&config, fleet.clone()));
        let graphql = Arc::new(GraphQl::new(&config));
        let identity = Identity::new(&config, &fleet);
        if identity.is_of_this_process() {
            tracing::info!("no identity.seal_keys: sessions of the web UI end with this process, API keys are refused");
        }
        let merges = Arc::new(Room::new(config.limits.in_flight, config.limits.queue));
        let copies = Arc::new(Copies::new(config.limits.mounts));
        let (clients, readiness) = (Arc::default(), Arc::default());
        Gateway { config, fleet, scatter, graphql, identity, in_flight, clients, merges, copies, readiness }
    }

    /// The gateway that takes the place of this one: with another configuration or fleet, and with what is known by
    /// now of credentials and documents. Limits hold over both together.
    pub fn succeeded_by(&self, config: Arc<Config>, fleet: Arc<Fleet>) -> Gateway {
        let scatter = Arc::new(self.scatter.succeeded_by(&self.config, &config, fleet.clone()));
        let graphql = Arc::new(self.graphql.succeeded_by(&config, fleet.has_the_nodes_of(&self.fleet)));
        let identity = Identity::new(&config, &fleet);
        let limits = &config.limits;
        self.merges.resize(limits.in_flight, limits.queue);
        self.copies.resize(limits.mounts);
        let (in_flight, merges, copies) = (self.in_flight.clone(), self.merges.clone(), self.copies.clone());
        let (clients, readiness) = (self.clients.clone(), self.readiness.clone());
        Gateway { config, fleet, scatter, graphql, identity, in_flight, clients, merges, copies, readiness }
    }

    /// Its configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Its nodes.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Whether it wants requests.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What it keeps of documents.
    pub fn graphql(&self) -> &GraphQl {
        &self.graphql
    }

    /// What asks the nodes.
    pub fn scatter(&self) -> Arc<Scatter> {
        self.scatter.clone()
    }

    /// Who sent a request.
    fn sender(&self, session: &Session) -> Sender {
        let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let proxies = &self.config.trusted_proxies;
        let is_trusted = address.is_some_and(|address| proxies.iter().any(|range| range.contains(address)));
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
        let subject = self.config.client_subject_header.as_ref().map(|FieldName(name)| {
            let subject = tls.and_then(|tls| tls::subject(tls));
            (name.clone(), subject.and_then(|subject| HeaderValue::from_str(subject).ok()))
        });
        let header = session.req_header();
        // In HTTP/2, it is the authority.
        let authority = || HeaderValue::from_str(header.uri.authority()?.as_str()).ok();
        let host = header.headers.get(HOST).cloned().or_else(authority);
        let presented = self.identity.presented(&header.headers);
        Sender { address, host, is_secure: tls.is_some(), subject, is_trusted, presented }
    }

    /// A request as it came, without its body.
    fn ask_of(&self, header: &RequestHeader, sender: Sender) -> Ask {
        Ask {
            method: header.method.clone(),
            // What is planned to be asked of nodes is ASCII.
            target: String::from_utf8_lossy(header.raw_path()).into_owned(),
            headers: header.headers.clone(),
            sender,
            body: Bytes::new(),
            is_read: header.method.is_safe(),
            share: self.scatter.share(),
            terms: self.scatter.terms(self.config.partial_for(onward::asked_partial(&header.headers))),
        }
    }

    /// The plan of a request. A mount needs no body: one that has a body streams, and is what the owner makes of it.
    fn plan(&self, header: &RequestHeader, has_body: bool) -> Plan {
        match plan::plan(&self.fleet, &header.method, header.raw_path()) {
            Plan::Mount(route, mount) if has_body => Plan::Forward(route, mount.to()),
            plan => plan,
        }
    }

    async fn answer_catalog(&self, catalog: CatalogAsk, ask: Ask) -> Answer {
        let CatalogAsk { upstream, target, page } = catalog;
        let ask = Ask { target: upstream, ..ask };
        match self.scatter.catalogs(&ask).await.judge(ask.terms.partial) {
            Verdict::Parts { parts, headers, mut failures } => {
                let whole = crate::merge::catalogs(parts);
                let is_missing = !page.last.is_empty() && !whole.contains(&page.last);
                let is_hidden = is_missing
                    && match self.scatter.continues_after(&ask, &page.last, &target).await {
                        Ok(continues) => continues,
                        Err(failure) => {
                            let Failure { node, kind, cause } = &failure;
                            tracing::warn!(node, %kind, cause, "a node failed in a fan-out");
                            if ask.terms.partial == Partial::Fail {
                                return answer::fan_out_failed("the catalog would be incomplete", &[failure]);
                            }
                            if failures.iter().all(|known| known.node != failure.node) {
                                failures.push(failure);
                            }
                            false
                        }
                    };
                let cut = page.cut(&whole, is_hidden);
                answer::catalog(headers, cut.entries, cut.link.as_deref(), self.fleet.nodes().len(), &failures)
            }
            Verdict::Refused(refusal) => answer::relay(refusal),
            Verdict::Failed(failures) => answer::fan_out_failed("the catalog would be incomplete", &failures),
        }
    }

    async fn answer_broadcast(&self, session: &mut Session, ask: Ask) -> Result<Answer> {
        let ask = match self.with_body(session, ask, self.config.limits.body_bytes.as_u64()).await? {
            Ok(ask) => ask,
            Err(refusal) => return Ok(refusal),
        };
        // A broadcast writes: a node that lacks it is always an error, whatever is allowed for reads.
        let gathered = self.scatter.broadcast(&ask).await;
        let accepted = gathered.accepted();
        Ok(match gathered.judge(Partial::Fail) {
            Verdict::Parts { mut parts, .. } => {
                parts.drain(..).next().map_or_else(answer::internal_error, answer::relay)
            }
            Verdict::Refused(refusal) => answer::relay(refusal),
            Verdict::Failed(failures) => {
                let nodes: Vec<&str> = self.fleet.nodes().iter().map(|node| node.name.as_str()).collect();
                answer::not_everywhere(&failures, &nodes, &accepted)
            }
        })
    }

    /// Answers a request for a mount. A client that goes away is not waited for: its copy is dropped.
    async fn answer_mount(&self, session: &mut Session, mount: &Mount, ask: &Ask) -> Result<Answer> {
        let idle = session.as_mut().read_body_or_idle(false);
        let gone = async { idle.await.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed)) };
        mount::answer(&self.scatter, &self.copies, mount, ask, gone).await.map_err(Error::into_down)
    }

    /// Answers a GraphQL request; `None` if it streams as it came to the node that the context then names.
    async fn documents(&self, session: &mut Session, ask: Ask, ctx: &mut Ctx) -> Result<Option<Answer>> {
        let limit = self.config.limits.graphql_bytes.as_u64();
        // The body of a GET does not count, and is left alone.
        let ask = match ask.method {
            Method::GET => ask,
            _ => match self.with_body(session, ask, limit).await? {
                Ok(ask) => Ask { is_read: true, ..ask },
                Err(refusal) => return Ok(Some(refusal)),
            },
        };
        let mut planning = self.plan_document(&ask).await;
        if self.fleet.locates()
            && let Planning::Plan(_, plan) = &planning
        {
            match self.locate_all(plan, &ask).await {
                Ok(false) => {}
                Ok(true) => planning = self.plan_document(&ask).await,
                Err(failure) => return Ok(Some(answer::document_failed(&[failure]))),
            }
        }
        match planning {
            Planning::Answer(answer) => Ok(Some(answer)),
            Planning::Plan(request, plan) => match plan {
                // A WebSocket would go on asking the one node: its handshake does not stream.
                DocumentPlan::Whole { to, must_fail: None, .. }
                    if ask.method == Method::GET
                        && !request.is_by_hash
                        && !ask.headers.contains_key(header::UPGRADE) =>
                {
                    ctx.candidates = to.candidates(&self.fleet);
                    ctx.sender = Some(ask.sender);
                    Ok(None)
                }
                plan => Ok(Some(self.graphql.carry_out(&self.scatter, &ask, &request, &plan).await)),
            },
        }
    }

    /// Plans a GraphQL request; a large one beside the event loop, which others wait for.
    async fn plan_document(&self, ask: &Ask) -> Planning {
        if ask.body.len() + ask.target.len() < LARGE_DOCUMENT {
            return self.graphql.plan(&self.fleet, ask);
        }
        let (graphql, fleet, ask) = (self.graphql.clone(), self.fleet.clone(), ask.clone());
        let planned = tokio::task::spawn_blocking(move || graphql.plan(&fleet, &ask)).await;
        planned.unwrap_or_else(|error| {
            tracing::error!(%error, "planning a document failed");
            Planning::Answer(answer::internal_error())
        })
    }

    /// Reads the whole body of a request, or says why it is not read.
    async fn read_body(&self, session: &mut Session, limit: u64) -> Result<Result<Bytes, Answer>> {
        match tokio::time::timeout(self.config.timeouts.total, read_body(session, limit)).await {
            Ok(read) => Ok(read?.ok_or_else(|| answer::body_too_large(limit))),
            Err(_) => Ok(Err(answer::client_too_slow())),
        }
    }

    /// A request with its whole body, or why that is not read. The time that the client took is its own.
    async fn with_body(&self, session: &mut Session, ask: Ask, limit: u64) -> Result<Result<Ask, Answer>> {
        let body = self.read_body(session, limit).await?;
        Ok(body.map(|body| Ask { body, terms: self.scatter.terms(ask.terms.partial), ..ask }))
    }

    /// Notes that a node failed what was sent to it.
    fn note(&self, node: &Node, failure: &Failure, sent: Instant) {
        if failure.kind == FailureKind::Late {
            self.fleet.was_late(node, By::Request, sent, &failure.cause);
        } else {
            self.fleet.was_unreachable(node, &failure.cause);
        }
    }

    /// What an answer's `Location` is for the client, when it is at a node.
    fn relative_location(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        HeaderValue::from_str(&without_node(&self.fleet, location)?).ok()
    }

    fn peer(&self, node: &Node, method: &Method, ctx: &Ctx) -> Option<HttpPeer> {
        let mut peer = tls::peer(node, node.address()?)?;
        let timeouts = &self.config.timeouts;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        // One timer for the wait for the header and for the body; it starts again with each piece in either direction.
        // When a client stops in the middle of its body, the timer for that ends first: the node is not to blame.
        let answer = if method.is_safe() { timeouts.headers } else { timeouts.write_answer };
        let patience = answer.max(timeouts.idle).saturating_add(CLIENT_FIRST);
        // A node that hangs does not hold up what the next one can answer.
        let is_brief = ctx.in_a_hurry && ctx.tried + 1 < ctx.candidates.len() && method.is_safe();
        peer.options.read_timeout = Some(if is_brief { timeouts.headers.min(HURRY) } else { patience });
        peer.options.write_timeout = Some(timeouts.idle);
        peer.options.idle_timeout = Some(UPSTREAM_IDLE);
        if ctx.resent > 0 {
            // Of a node that has closed one connection of the pool, all may be dead: none is in this group.
            peer.group_key = RESENT.fetch_add(1, Ordering::Relaxed);
        }
        // No registry changes the protocol, and who did would be out of sight.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Some(peer)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx {
            began: Instant::now(),
            candidates: Vec::new(),
            tried: 0,
            in_a_hurry: false,
            addresses_tried: 0,
            resent: 0,
            pass: None,
            sent: Instant::now(),
            sender: None,
            in_its_place: None,
            reading: None,
            opens_session: false,
            class: "refused",
            failure: None,
            visit: None,
            received: 0,
            _in_flight: self.in_flight.token(),
        }
    }

    /// No module: what a node sends is not compressed or changed here.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut Ctx) -> Result<()> {
        door::request_began();
        let timeouts = &self.config.timeouts;
        let downstream = session.as_mut();
        // pingora has decided by now whether the connection may stay open; that is left as it is.
        if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(timeouts.keepalive.as_secs().max(1)));
        }
        // What a client sends early is its next request, and no reason to break off this one.
        downstream.set_pipelining_enabled(true);
        downstream.set_read_timeout(Some(timeouts.idle));
        downstream.set_write_timeout(Some(timeouts.idle));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some(refusal) = self.refuse(session) {
            return send(session, refusal).await;
        }
        // pingora has seen to it that the authority of such a target is the Host.
        if let Some(target) = std::str::from_utf8(session.req_header().raw_path()).ok().and_then(origin_form) {
            session.req_header_mut().set_raw_path(target.as_bytes())?;
        }
        let sender = self.sender(session);
        let asker = sender.clone();
        let has_body = !session.as_mut().is_body_done();
        let header = session.req_header();
        let mut plan = self.plan(header, has_body);
        if !matches!(plan, Plan::Probe(_)) {
            match self.visit(&sender, &header.headers) {
                Ok(visit) => ctx.visit = Some(visit),
                Err(refusal) => return send(session, *refusal).await,
            }
        }
        if self.fleet.nodes().is_empty() && !matches!(plan, Plan::Probe(_) | Plan::Refuse(_)) {
            return send(session, answer::no_nodes()).await;
        }
        if self.fleet.locates() {
            match self.locate(&plan, header, &sender).await {
                Ok(false) => {}
                Ok(true) => plan = self.plan(session.req_header(), has_body),
                Err(failure) => return send(session, failed(&failure)).await,
            }
        }
        let is_merged =
            matches!(plan, Plan::Catalog(..) | Plan::Broadcast(_) | Plan::Documents(_) | Plan::Identity(..));
        let seat = if is_merged { self.merges.enter().await } else { None };
        if is_merged && seat.is_none() {
            return send(session, answer::busy()).await;
        }
        let mut own = match plan {
            Plan::Forward(route, to) => {
                ctx.class = "route-once";
                ctx.candidates = to.candidates(&self.fleet);
                ctx.in_a_hurry = matches!(to, To::Any);
                ctx.sender = Some(sender.clone());
                if !self.fleet.locates() {
                    return Ok(false);
                }
                let ask = self.ask_of(session.req_header(), sender);
                match self.pushed(session, route, &to, &ask).await? {
                    Some(answer) => answer,
                    None => match self.located(route, &to, ask, ctx).await {
                        Ok(None) => return Ok(false),
                        Ok(Some(answer)) => answer,
                        Err(failure) => failed(&failure),
                    },
                }
            }
            Plan::Mount(_, mount) => {
                ctx.class = "mount";
                ctx.candidates = vec![mount.owner.node];
                let ask = self.ask_of(session.req_header(), sender);
                let mut answer = self.answer_mount(session, &mount, &ask).await?;
                if let Some(marked) = self.marked_session(mount.owner.node, &answer.headers) {
                    answer.headers.insert(LOCATION, marked);
                }
                answer
            }
            Plan::Unrouted => {
                ctx.class = "unrouted";
                ctx.candidates = To::Any.candidates(&self.fleet);
                ctx.in_a_hurry = true;
                ctx.sender = Some(sender);
                ctx.in_its_place = Some(NOWHERE.to_owned());
                return Ok(false);
            }
            Plan::Catalog(_, catalog) => {
                ctx.class = "fan-out";
                self.answer_catalog(catalog, self.ask_of(session.req_header(), sender)).await
            }
            Plan::Broadcast(_) => {
                ctx.class = "broadcast";
                let ask = self.ask_of(session.req_header(), sender);
                self.answer_broadcast(session, ask).await?
            }
            Plan::Documents(_) => {
                ctx.class = "documents";
                let ask = self.ask_of(session.req_header(), sender);
                match self.documents(session, ask, ctx).await? {
                    Some(answer) => answer,
                    None => return Ok(false),
                }
            }
            Plan::Identity(_, act) => {
                ctx.class = "identity";
                let ask = self.ask_of(session.req_header(), sender);
                match self.answer_identity(session, act, ask, ctx).await? {
                    Some(answer) => answer,
                    None => return Ok(false),
                }
            }
            Plan::Probe(route) => {
                ctx.class = "probe";
                self.readiness.why_not(route.path, &self.fleet).map_or_else(answer::healthy, answer::not_ready)
            }
            Plan::Refuse(Refusal::Redirect(location)) => answer::redirect(&location),
            Plan::Refuse(Refusal::Malformed) => answer::bad_request(""),
        };
        if let Some(relative) = self.relative_location(&own.headers) {
            own.headers.insert(LOCATION, relative);
        }
        let own = self.settle_own(session.req_header(), asker, own).await;
        send(session, own).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        // Nothing has been sent to a node that is not asked, so that any request may go to the next.
        while let Some(node) = ctx.node(&self.fleet).cloned() {
            let Some(peer) = self.peer(&node, &session.req_header().method, ctx) else {
                let cause = "its name has not been resolved, or the files for TLS to it cannot be read";
                self.fleet.was_unreachable(&node, cause);
                ctx.failure = Some(down(&node, cause));
                ctx.tried += 1;
                continue;
            };
            if ctx.pass.as_ref().is_none_or(|pass| !pass.is_for(&node)) {
                ctx.pass = None;
                match node.admit().await {
                    Ok(pass) => ctx.pass = Some(pass),
                    Err(denied) => {
                        ctx.failure = Some(Failure::denied(&node, denied));
                        ctx.tried += 1;
                        continue;
                    }
                }
            }
            ctx.sent = Instant::now();
            return Ok(Box::new(peer));
        }
        let mut error = Error::explain(ErrorType::ConnectError, "no node is left to try");
        error.as_up();
        Err(error)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let Some(node) = ctx.node(&self.fleet) else { return error };
        let failure = failure_of(node, &error);
        if let Some(&address) = peer.address().as_inet() {
            node.address_failed(address);
        }
        // Nothing has been sent, so that any request may go to the next address. Where any node would do, a read goes
        // on to the next node after that.
        ctx.addresses_tried += 1;
        let retry = if ctx.addresses_tried < node.addresses().len() {
            true
        } else {
            self.note(node, &failure, ctx.sent);
            session.req_header().method.is_safe() && ctx.go_on()
        };
        ctx.failure = Some(failure);
        error.set_retry(retry);
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        client_reused: bool,
    ) -> Box<Error> {
        let upstream = *error.esource() == ErrorSource::Upstream;
        // pingora has no timer for a body that comes in HTTP/2: the node is waited for in vain, and is not to blame.
        let is_clients = upstream && session.is_http2() && *error.etype() == ErrorType::ReadTimedout;
        if is_clients && !session.as_mut().is_body_done() {
            error.as_down();
            return error;
        }
        let is_told = [UNKNOWN, FORGOTTEN].map(ErrorType::new).contains(error.etype());
        if let Some(node) = ctx.node(&self.fleet).filter(|_| upstream && !is_told) {
            ctx.failure = Some(failure_of(node, &error));
        }
        // What may have had effect is never repeated. A read is, once, when the pooled connection was dead; and where
        // any node would do, it goes on to the next, as long as the client has seen nothing.
        let untouched = !is_answered(session) && !session.as_ref().retry_buffer_truncated();
        let may_repeat = upstream && untouched && session.req_header().method.is_safe();
        if *error.etype() == ErrorType::new(ELSEWHERE) {
            error.set_retry(true);
            return error;
        }
        error.retry.decide_reuse(client_reused);
        let stale = error.retry() && ctx.resent == 0;
        if may_repeat && stale {
            ctx.resent += 1;
        } else {
            let failed = ctx.node(&self.fleet).filter(|_| upstream && *error.etype() != ErrorType::new(FORGOTTEN));
            let go_on = may_repeat && ctx.go_on();
            if let (Some(node), Some(failure)) = (failed, &ctx.failure)
                && (go_on || failure.kind == FailureKind::Late)
            {
                self.note(node, failure, ctx.sent);
            }
            error.set_retry(go_on);
        }
        error
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.received += body.as_ref().map_or(0, Bytes::len) as u64;
        if self.is_over(ctx.received) { Err(too_large()) } else { Ok(()) }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let (Some(node), Some(sender)) = (ctx.node(&self.fleet), &ctx.sender) else {
            return Err(Error::explain(ErrorType::InternalError, "a request without a plan"));
        };
        if let Some(target) = &ctx.in_its_place {
            upstream.set_raw_path(target.as_bytes())?;
        }
        for (name, value) in onward::edits(node, sender, &session.req_header().headers) {
            match value {
                Some(value) => upstream.insert_header(name, value)?,
                None => drop(upstream.remove_header(&name)),
            }
        }
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, upstream: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if let Some(why) = onward::unusable(upstream.status, &upstream.headers) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
        }
        if let Some(node) = ctx.node(&self.fleet) {
            self.fleet.was_heard(node);
        }
        self.absent(upstream.status, ctx).await?;
        self.settle_streamed(session.req_header(), upstream, ctx).await?;
        close_when_stopping(session);
        for name in onward::of_the_connection(&upstream.headers) {
            upstream.remove_header(&name);
        }
        let mut lengths = upstream.headers.get_all(header::CONTENT_LENGTH).iter();
        if let (Some(length), Some(_)) = (lengths.next().cloned(), lengths.next()) {
            // pingora has seen to it that they are the same.
            upstream.insert_header(header::CONTENT_LENGTH, length)?;
        }
        if session.req_header().version < Version::HTTP_11 {
            // Chunks are unknown to it: without a length, the end of the connection is the end of the body.
            if upstream.remove_header(&header::TRANSFER_ENCODING).is_some() {
                session.set_keepalive(None);
            }
        }
        if let Some(relative) = self.relative_location(&upstream.headers) {
            upstream.insert_header(LOCATION, relative)?;
        }
        if ctx.opens_session
            && let Some(&node) = ctx.candidates.get(ctx.tried)
            && let Some(marked) = self.marked_session(node, &upstream.headers)
        {
            upstream.insert_header(LOCATION, marked)?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if let Some(node) = ctx.node(&self.fleet).filter(|_| body.is_some()) {
            self.fleet.was_heard(node);
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        if let Some(failure) = &ctx.failure {
            failure.tell();
        }
        let answer = match error.esource() {
            _ if is_answered(session) => None,
            ErrorSource::Upstream => Some(match &ctx.failure {
                Some(failure) => answer::node_failed(failure),
                None => answer::internal_error(),
            }),
            ErrorSource::Downstream => match error.etype() {
                ErrorType::ReadTimedout => Some(answer::client_too_slow()),
                ErrorType::WriteError
                | ErrorType::WriteTimedout
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed => None,
                _ => Some(answer::bad_request("")),
            },
            ErrorSource::Internal | ErrorSource::Unset => {
                tracing::error!(%error, "a request failed in the gateway itself");
                Some(answer::internal_error())
            }
        };
        let answer = if is_too_large(error) && !is_answered(session) { self.too_large() } else { answer };
        let error_code = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        if let Some(answer) = answer {
            // The rest of the request's body is not read, so the connection cannot go on.
            session.set_keepalive(None);
            if let Err(error) = send(session, answer).await {
                tracing::debug!(%error, "a client did not wait for its error");
            }
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        door::request_ended();
        let status = session.response_written().map_or(0, |header| header.status.as_u16());
        let header = session.req_header();
        // The query may be a secret, as the code of a sign-in is.
        let path = header.raw_path().split(|&byte| byte == b'?').next().unwrap_or_default();
        tracing::debug!(
            method = %header.method,
            path = %String::from_utf8_lossy(path),
            class = ctx.class,
            node = ctx.node(&self.fleet).map(|node| node.name.as_str()),
            status,
            sent = session.body_bytes_sent(),
            took = ?ctx.began.elapsed(),
            error = error.map(tracing::field::display),
            "request"
        );
    }
}

/// Whether the client has seen the beginning of its answer. `100 Continue` is none.
fn is_answered(session: &Session) -> bool {
    let seen = session.response_written();
    seen.is_some_and(|header| !header.status.is_informational() || header.status == StatusCode::SWITCHING_PROTOCOLS)
}

/// Tells the client of an answer to come that its connection is of no use any more.
fn close_when_stopping(session: &mut Session) {
    if session.is_process_shutting_down() {
        session.set_keepalive(None);
    }
}

/// Writes an answer of onezot's own. Always `Ok(true)`: the request is answered.
async fn send(session: &mut Session, answer: Answer) -> Result<bool> {
    close_when_stopping(session);
    let Answer { status, headers, body } = answer;
    let mut header = ResponseHeader::build(status, Some(headers.len() + 1))?;
    for (name, value) in &headers {
        if name == header::CONNECTION {
            session.set_keepalive(None);
        } else {
            header.append_header(canonical(name), value)?;
        }
    }
    let is_head = session.req_header().method == Method::HEAD;
    // Go does not say of an empty body to a HEAD that it is empty.
    if !(is_head && body.is_empty()) {
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let bodiless = body.is_empty() || is_head;
    session.write_response_header(Box::new(header), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    drain(session).await;
    Ok(true)
}

/// Reads away what the client still sends, for a while: closing now would reset the connection, and the answer be lost
/// (Go `net/http`, `rstAvoidanceDelay`).
async fn drain(session: &mut Session) {
    session.set_total_drain_timeout(Some(BODY_DRAIN));
    // Who waits to be asked for the body does not send it after an answer.
    if !session.req_header().headers.contains_key(header::EXPECT)
        && let Err(error) = session.as_mut().drain_request_body().await
    {
        tracing::debug!(%error, "a client was cut off while it sent the rest of its request");
    }
}

/// A header name as Go writes it on the wire: `Content-Type` (Go `net/textproto`, `CanonicalMIMEHeaderKey`).
fn canonical(name: &header::HeaderName) -> String {
    let capitalise = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.as_str().split('-').map(capitalise).collect::<Vec<_>>().join("-")
}

/// Reads the whole body of a request; `None` if it is larger than `limit` bytes.
async fn read_body(session: &mut Session, limit: u64) -> Result<Option<Bytes>> {
    let headers = &session.req_header().headers;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Ok(None);
    }
    // Nobody else tells the client to go on.
    if headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && let ServerSession::H1(downstream) = session.as_mut()
    {
        downstream.write_continue_response().await.map_err(Error::into_down)?;
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = session.as_mut().read_request_body().await.map_err(Error::into_down)? {
        if (whole.len() + piece.len()) as u64 > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

/// The path and query of a `Location` whose authority is a node; `None` if it is anywhere else (nodes may redirect
/// blobs to an object storage) or relative already.
fn without_node(fleet: &Fleet, location: &str) -> Option<String> {
    let url = url::Url::parse(location).ok()?;
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    fleet.node_at(&authority)?;
    origin_form(location)
}

/// What a client is told of a node that failed.
fn failed(failure: &Failure) -> Answer {
    failure.tell();
    answer::node_failed(failure)
}

fn down(node: &Node, cause: &str) -> Failure {
    Failure { node: node.name.clone(), kind: FailureKind::Down, cause: cause.to_owned() }
}

fn failure_of(node: &Node, error: &Error) -> Failure {
    let kind = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => FailureKind::Late,
        ErrorType::InvalidHTTPHeader => FailureKind::Unusable,
        _ => FailureKind::Down,
    };
    Failure { node: node.name.clone(), kind, cause: format!("{}: {}", error.etype().as_str(), context(error)) }
}

fn context(error: &Error) -> String {
    let text = error.context.as_ref().map(ImmutStr::as_str).unwrap_or_default();
    match &error.cause {
        Some(cause) => format!("{text}: {cause}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{NodeUrl, Placement};

    #[test]
    fn only_a_location_at_a_node_is_made_relative() {
        let url = |text: &str| NodeUrl::try_from(text.to_owned()).unwrap();
        let nodes = vec![Node::new("a".into(), url("http://zot-0:5000")), Node::new("b".into(), url("http://zot-1"))];
        let fleet = Fleet::new(nodes, Placement::default());
        for (location, relative) in [
            ("http://zot-0:5000/v2/a/blobs/uploads/1?_state=x%2F", Some("/v2/a/blobs/uploads/1?_state=x%2F")),
            ("http://ZOT-0:5000/v2/", Some("/v2/")),
            ("http://zot-1/v2/?a=b", Some("/v2/?a=b")),
            ("http://zot-1:80?x", Some("/?x")),
            ("http://zot-0:5001/v2/", None),
            ("https://bucket.example/layer?sig=1", None),
            ("/v2/a/blobs/uploads/1", None),
            ("//zot-0:5000/x", None),
        ] {
            assert_eq!(without_node(&fleet, location).as_deref(), relative, "{location}");
        }
    }
}
