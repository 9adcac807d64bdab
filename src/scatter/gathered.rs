//! What nodes said and failed to say, and what that is worth. Pure: nothing is asked here.

use crate::config::Partial;
use crate::fleet::{Denied, Fleet, Node};
use crate::graphql::refusal_kind;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use std::fmt;
use std::sync::Arc;

/// A node's whole answer.
#[derive(Debug, Clone)]
pub struct NodeAnswer {
    /// The index of the node in the configured order.
    pub node: usize,
    /// Its name.
    pub name: String,
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl NodeAnswer {
    /// The failure that this answer is, when it cannot be used.
    pub fn unusable(&self, cause: &str) -> Failure {
        Failure { node: self.name.clone(), kind: FailureKind::Unusable, cause: cause.to_owned() }
    }
}

/// What a node failed to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The node's name.
    pub node: String,
    /// What a client is told.
    pub kind: FailureKind,
    /// What the log is told.
    pub cause: String,
}

/// The kinds of failure that a client can tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// It could not be reached, or broke off.
    Down,
    /// It missed a deadline.
    Late,
    /// It answered what cannot be merged.
    Unusable,
    /// Its answer is over the limit.
    TooLarge,
    /// There is no room for its answer beside those of other requests.
    NoRoom,
    /// Too many requests are under way there.
    Busy,
    /// It refused what another node accepted.
    Refused(StatusCode),
    /// It answered a GraphQL error where another node gave data.
    Said(String),
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Down => f.write_str("cannot be reached"),
            FailureKind::Late => f.write_str("did not answer in time"),
            FailureKind::Unusable => f.write_str("gave an answer that cannot be used"),
            FailureKind::TooLarge => f.write_str("gave an answer that is too large"),
            FailureKind::NoRoom => f.write_str("gave an answer for which there is no room at the moment"),
            FailureKind::Busy => f.write_str("is asked as much as it may be at the moment"),
            FailureKind::Refused(status) => write!(f, "answered {}", status.as_u16()),
            FailureKind::Said(message) => write!(f, "says: {message}"),
        }
    }
}

impl FailureKind {
    /// Whether it is for want of room in onezot, and says nothing of the node.
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, FailureKind::NoRoom | FailureKind::Busy)
    }
}

impl Failure {
    /// Tells the log of a request that failed for it.
    pub fn tell(&self) {
        let Failure { node, kind, cause } = self;
        tracing::warn!(node, %kind, cause, "a node failed a request");
    }

    /// Of a request that is not sent, because of what is known of its node.
    pub fn denied(node: &Node, denied: Denied) -> Failure {
        let (kind, cause) = match denied {
            Denied::Silent => (FailureKind::Late, format!("known to be silent since {}", node.health.since())),
            Denied::Full => (FailureKind::Busy, "limits.node_in_flight is reached".to_owned()),
        };
        Failure { node: node.name.clone(), kind, cause }
    }
}

/// What a node says in a fan-out: its part, or an answer that is none (401, 404 …).
#[derive(Debug)]
pub enum Reply<T> {
    /// Its part, with the header of its (first) answer.
    Part(T, HeaderMap),
    /// An answer with an error status.
    Refusal(NodeAnswer),
}

impl<T> Reply<T> {
    /// Whether it is a word on the request: a server error is none.
    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, Reply::Refusal(answer) if answer.status.is_server_error())
    }
}

/// What became of one node's part.
pub type Outcome<T> = Result<Reply<T>, Failure>;

/// What became of a fan-out, in the order of the nodes.
#[derive(Debug)]
pub struct Gathered<T> {
    /// The node whose refusal may be the client's answer.
    pub(super) lead: Option<usize>,
    pub(super) replies: Vec<(Arc<Node>, Outcome<T>)>,
}

/// What a fan-out is worth.
#[derive(Debug)]
pub enum Verdict<T> {
    /// All parts, or with [`Partial::Warn`] those there are; with the lead's header and what is missing.
    Parts {
        /// The parts, in the order of the nodes.
        parts: Vec<T>,
        /// The header of the first part.
        headers: HeaderMap,
        /// What is missing.
        failures: Vec<Failure>,
    },
    /// The node that was asked first refused: that is the client's answer.
    Refused(NodeAnswer),
    /// Too little to answer with.
    Failed(Vec<Failure>),
}

impl<T> Gathered<T> {
    /// Decides: complete, partial, refused or failed. The one place that does.
    ///
    /// A refusal is the client's answer when the lead (the first node that said anything) refuses the credentials, or
    /// when every node refuses. A refusal of what another node accepted is that node's failure.
    pub fn judge(self, partial: Partial) -> Verdict<T> {
        let (mut parts, mut headers, mut failures) = (Vec::new(), None, Vec::new());
        let all_refuse = self.replies.iter().all(|(_, reply)| matches!(reply, Ok(Reply::Refusal(_))));
        for (index, (node, reply)) in self.replies.into_iter().enumerate() {
            match reply {
                Ok(Reply::Part(part, mut header)) => {
                    if index > 0 {
                        // Whoever signs in does so at the first node: the session of another would take its place.
                        header.remove(SET_COOKIE);
                    }
                    parts.push(part);
                    headers.get_or_insert(header);
                }
                Ok(Reply::Refusal(answer)) => {
                    let about_credentials = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                    // GraphQL errors come with 200. No registry redirects what is asked of all.
                    let is_answer = answer.status.is_client_error() || answer.status == StatusCode::OK;
                    let is_final = is_answer && (all_refuse || about_credentials);
                    if self.lead == Some(index) && is_final {
                        return Verdict::Refused(answer);
                    }
                    failures.push(Failure {
                        node: node.name.clone(),
                        kind: refusal_kind(&answer),
                        cause: format!("status {}", answer.status),
                    });
                }
                Err(failure) => failures.push(failure),
            }
        }
        for Failure { node, kind, cause } in &failures {
            tracing::warn!(node, %kind, cause, "a node failed in a fan-out");
        }
        // What there was no room for is not missing at the node.
        let may_lack = partial == Partial::Warn && !failures.iter().any(|failure| failure.kind.is_want_of_room());
        match headers {
            Some(headers) if failures.is_empty() || may_lack => Verdict::Parts { parts, headers, failures },
            _ => Verdict::Failed(failures),
        }
    }
}

impl Gathered<NodeAnswer> {
    /// The same with the part of another node, which was asked before.
    pub fn with(mut self, fleet: &Fleet, part: NodeAnswer) -> Gathered<NodeAnswer> {
        if let Some(node) = fleet.nodes().get(part.node) {
            let headers = part.headers.clone();
            self.replies.insert(0, (node.clone(), Ok(Reply::Part(part, headers))));
        }
        self
    }
}

impl<T> Gathered<T> {
    /// The names of the nodes that gave a part.
    pub fn accepted(&self) -> Vec<String> {
        let accepted = self.replies.iter().filter(|(_, reply)| matches!(reply, Ok(Reply::Part(..))));
        accepted.map(|(node, _)| node.name.clone()).collect()
    }

    /// What each node said, for those to whom it is a hint that may be missing.
    pub fn into_replies(self) -> impl Iterator<Item = Outcome<T>> {
        self.replies.into_iter().map(|(_, reply)| reply)
    }
}
