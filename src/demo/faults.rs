//! What can go wrong with a node, switched on and off while it runs.

use super::exchange::{Asked, Reply};
use super::refusal;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use std::io;
use std::time::Duration;
use tokio::sync::watch;

/// The body of an answer; it may break off.
pub type Body = BoxBody<Bytes, io::Error>;

/// A way to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens: connections are refused, and those there are are closed.
    Down,
    /// Answers come late.
    Slow(Duration),
    /// Connections are accepted and requests read, and then nothing happens.
    Hang,
    /// The connection breaks in the middle of the body.
    Reset,
    /// Another status, with nothing to it.
    Status(StatusCode),
    /// The answer to a wrong password, whatever the password.
    Unauthorized,
    /// Success, with something that is not JSON.
    BadJson,
    /// The right answer, of which the end is missing although its length says it is all.
    TruncatedJson,
    /// Success, with JSON of about so many bytes.
    Huge(u64),
}

/// The faults of a node.
#[derive(Debug)]
pub struct Faults {
    current: watch::Sender<Option<(String, Fault)>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { current: watch::Sender::new(None) }
    }
}

impl Faults {
    /// Every request fails so from now on.
    pub fn set(&self, fault: Fault) {
        self.set_for("", fault);
    }

    /// Requests whose path begins so fail so from now on, and no others. A node that is down is down for all.
    pub fn set_for(&self, prefix: &str, fault: Fault) {
        self.current.send_replace(Some((prefix.to_owned(), fault)));
    }

    /// All is well again.
    pub fn clear(&self) {
        self.current.send_replace(None);
    }

    /// Tells when that changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<(String, Fault)>> {
        self.current.subscribe()
    }

    /// Whether the node is down.
    pub(super) fn is_down(&self) -> bool {
        matches!(*self.current.borrow(), Some((_, Fault::Down)))
    }

    /// What goes wrong with a request.
    pub(super) fn of(&self, path: &str) -> Option<Fault> {
        let current = self.current.borrow();
        current.as_ref().filter(|(prefix, _)| path.starts_with(prefix.as_str())).map(|(_, fault)| fault.clone())
    }
}

/// Delays or withholds an answer.
pub(super) async fn before(fault: Option<&Fault>) {
    match fault {
        Some(Fault::Slow(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::Hang) => std::future::pending().await,
        _ => {}
    }
}

/// The answer that is given instead of any other.
pub(super) fn instead(fault: Option<&Fault>, asked: &Asked, realm: &str) -> Option<Response<Body>> {
    let reply = match fault? {
        Fault::Status(status) => Reply::empty(*status),
        Fault::Unauthorized => refusal::unauthenticated(asked, realm),
        Fault::BadJson => Reply::data(StatusCode::OK, "application/json", "{bad"),
        Fault::Huge(length) => return Some(huge(*length)),
        _ => return None,
    };
    Some(sent(reply, None))
}

/// The answer as it is sent.
pub(super) fn sent(mut reply: Reply, fault: Option<&Fault>) -> Response<Body> {
    let length = reply.body.len();
    let body = match fault {
        Some(Fault::Reset) => {
            // Promised is at least one byte more than is sent.
            reply.set(CONTENT_LENGTH, &(length + 1).to_string());
            let half = reply.body.slice(..length / 2);
            let breaking = async {
                // Time for the half to leave: without it, the connection would break before the answer begins.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "switched on by a test"))
            };
            BoxBody::new(StreamBody::new(stream::iter([Ok(Frame::data(half))]).chain(stream::once(breaking))))
        }
        Some(Fault::TruncatedJson) => {
            let half = reply.body.slice(..length / 2);
            reply.headers.remove(CONTENT_LENGTH);
            Full::new(half).map_err(|never| match never {}).boxed()
        }
        _ => Full::new(reply.body).map_err(|never| match never {}).boxed(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// JSON without end, almost. It is made as it is read: this side's memory stays flat.
fn huge(length: u64) -> Response<Body> {
    const PIECE: Bytes = Bytes::from_static(&[b'a'; 64 * 1024]);
    let pieces = length.div_ceil(PIECE.len() as u64);
    let filler = stream::iter(0..pieces).map(|_| PIECE);
    let text = stream::iter([Bytes::from_static(br#"{"data":{"filler":""#)])
        .chain(filler)
        .chain(stream::iter([Bytes::from_static(br#""}}"#)]));
    let mut response = Response::new(BoxBody::new(StreamBody::new(text.map(|piece| Ok(Frame::data(piece))))));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
